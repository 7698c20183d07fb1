// Lib, before routing: the path of a request line -> its one normal form, or undefined when it is ambiguous. Routes
// and conditions look at this form, and the upstream is sent it: what was matched is what is served.

const PCHAR = /[A-Za-z0-9\-._~!$&'()*+,;=:@/]/;
const AMBIGUOUS_SEGMENT = /^\.{1,2};/;
/** By byte: how a normal path writes it; undefined for control characters and the backslash. */
const WRITTEN: readonly (string | undefined)[] = Array.from({ length: 256 }, (_byte, byte) => {
  if (byte < 0x20 || byte === 0x7f || byte === 0x5c) return undefined;
  const character = String.fromCharCode(byte);
  return PCHAR.test(character) ? character : `%${byte.toString(16).toUpperCase()}`;
});
const FOLDER_ENDS = new Set(['', '.', '..']);

/**
 * The rules, in order:
 * 1. It begins with "/"; anything else is refused ("*" is for the caller to keep).
 * 2. Every %XX is decoded once, "%2F" included: servers that decode before they route see the same segments that were
 *    matched here. A malformed escape, a control character and a backslash are refused: servers disagree on them.
 * 3. Bytes that a path may hold literally (RFC 3986 pchar) are written literally, all others as upper-case %XX: so
 *   "%3A"
 *    is ":", "%61" is "a", and a literal "%" stays "%25".
 * 4. "//" is "/"; "." and ".." segments are resolved and never leave the root; "..;" segments are refused.
 * 5. A slash at the end stays (servers redirect on it), but no match depends on it, see {@link pathForms}.
 * @returns undefined when the path is refused (the answer is 400).
 */
export function normalisePath(raw: string): string | undefined {
  if (!raw.startsWith('/')) return undefined;
  const canonical = canonicalText(raw);
  if (canonical === undefined) return undefined;
  const segments = canonical.split('/');
  if (segments.some((segment) => AMBIGUOUS_SEGMENT.test(segment))) return undefined;
  const kept = resolveDots(segments);
  const endsInFolder = kept.length > 0 && FOLDER_ENDS.has(segments.at(-1) ?? '');
  return `/${kept.join('/')}${endsInFolder ? '/' : ''}`;
}

function resolveDots(segments: readonly string[]): readonly string[] {
  const kept: string[] = [];
  for (const segment of segments) {
    if (segment === '..') kept.pop();
    else if (segment !== '' && segment !== '.') kept.push(segment);
  }
  return kept;
}

/** Text in the escapes of a normal path: rules 2 and 3 alone; for the paths of a config (exact, prefix). */
export function canonicalText(raw: string): string | undefined {
  if (isPlain(raw)) return raw;
  const bytes = Buffer.from(raw);
  const parts: string[] = [];
  for (let at = 0; at < bytes.length; at += 1) {
    let byte = bytes[at] ?? 0;
    if (byte === 0x25) {
      const hex = bytes.toString('latin1', at + 1, at + 3);
      if (!/^[0-9a-fA-F]{2}$/.test(hex)) return undefined;
      byte = parseInt(hex, 16);
      at += 2;
    }
    const written = WRITTEN[byte];
    if (written === undefined) return undefined;
    parts.push(written);
  }
  return parts.join('');
}

/** The two spellings of a path that no match may tell apart: without and with a slash at its end. */
export function pathForms(path: string): readonly [string, string] {
  if (path === '/') return ['/', '/'];
  return path.endsWith('/') ? [path.slice(0, -1), path] : [path, `${path}/`];
}

/** The path below `prefix`, or undefined when it is not below it: "/a/b" holds "/a/b" and "/a/b/c", not "/a/bc". */
export function pathBelow(prefix: string, path: string): string | undefined {
  if (prefix === '/') return path;
  if (!path.startsWith(prefix)) return undefined;
  if (path.length === prefix.length) return '/';
  return path[prefix.length] === '/' ? path.slice(prefix.length) : undefined;
}

function isPlain(raw: string): boolean {
  return /^[A-Za-z0-9\-._~!$&'()*+,;=:@/]*$/.test(raw);
}
