// Limiter, request stage: exactly one value, in one text form. In: header lines and query as they came; out: one text
// per name, and the names that have no one text. What reads such a name refuses the request.
import { isAscii, plainText } from '../../lib/values/text.ts';

/** Where a value comes from, in the words of messages: `header x-user`, `query parameter tenant`. */
export type Source = `header ${string}` | `query parameter ${string}`;

export const headerSource = (name: string): Source => `header ${name.toLowerCase()}`;
export const querySource = (name: string): Source => `query parameter ${name}`;

/** One text per header name (lower case). */
export interface HeaderValues {
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** Came in several lines, or in bytes that are not UTF-8. Nothing may act on their text in `headers`. */
  readonly unclear: readonly Source[];
}

/** Headers that HTTP defines as lists: their lines are one text, joined in order. Every other one has one line. */
const LISTS: ReadonlySet<string> = new Set([
  ...['accept', 'accept-charset', 'accept-encoding', 'accept-language', 'access-control-request-headers', 'allow'],
  ...['anthropic-beta', 'baggage', 'cache-control', 'connection', 'content-encoding', 'content-language', 'cookie'],
  ...['forwarded', 'if-match', 'if-none-match', 'keep-alive', 'openai-beta', 'pragma', 'prefer', 'proxy-connection'],
  ...['te', 'trailer', 'tracestate', 'transfer-encoding', 'upgrade', 'via', 'warning', 'x-forwarded-for'],
]);
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** `undefined`: bytes that are not UTF-8. */
type Line = readonly [name: string, text: string | undefined];

/**
 * Reads header lines. Their bytes are UTF-8, as manifests are (node hands them out as Latin-1).
 * @param raw name, value, name, value …, as node's `rawHeaders`
 */
export function readHeaders(raw: readonly string[]): HeaderValues {
  const lines: Line[] = [];
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const bytes = raw[index + 1] ?? '';
    lines.push([raw[index] ?? '', isAscii(bytes) ? bytes : decoded(bytes)]);
  }
  return readValues(lines);
}

/** The same for lines that are text already. */
export function readValues(lines: readonly Line[]): HeaderValues {
  const texts = new Map<string, string>();
  const unclear = new Set<Source>();
  for (const [written, value] of lines) {
    const name = written.toLowerCase();
    const before = texts.get(name);
    const isDoubled = before !== undefined && !LISTS.has(name);
    if (value === undefined || isDoubled) unclear.add(headerSource(name));
    texts.set(name, joined(name, before, plainText(value?.trim() ?? '')));
  }
  return { headers: Object.fromEntries(texts), unclear: [...unclear] };
}

function joined(name: string, before: string | undefined, text: string): string {
  if (before === undefined) return text;
  return `${before}${name === 'cookie' ? ';' : ','} ${text}`;
}

/** The names of a query that come more than once, or with bytes that are not UTF-8. */
export function unclearQuery(query: URLSearchParams): readonly Source[] {
  const seen = new Set<string>();
  const unclear = new Set<Source>();
  for (const [name, value] of query) {
    // What is not UTF-8 is read as this character: many byte sequences would be one text.
    if (seen.has(name) || value.includes('\ufffd')) unclear.add(querySource(name));
    seen.add(name);
  }
  return [...unclear];
}

/** What a message says of a source without one value. */
export function unclearText(source: Source): string {
  if (source === 'header host') return 'the Host header and the request target must name one host';
  return `${source} must have exactly one value, in UTF-8`;
}

const QUOTED = /^"(?:[^"\\]|\\.)*"$/;

/**
 * Whether the text of a header that names somebody is one value. Proxies may join two lines to one with a comma (RFC
 * 9110, 5.3), so a comma makes two of it, unless the whole value is a quoted string.
 */
export function isOneName(text: string): boolean {
  return !text.includes(',') || QUOTED.test(text);
}

function decoded(bytes: string): string | undefined {
  try {
    return UTF8.decode(Buffer.from(bytes, 'latin1'));
  } catch {
    return undefined;
  }
}
