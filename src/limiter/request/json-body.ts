// Limiter, proxy: reads a body as JSON so that what the limiter reads is what any upstream reads. In: decoded bytes; out:
// the value, or "no JSON", or why it cannot be trusted (then the request is refused, never forwarded uncounted).

/** What a body is to the limiter. */
export type JsonBody =
  | { readonly kind: 'empty' }
  | { readonly kind: 'json'; readonly value: unknown }
  /** Does not look like JSON to any parser: a form, an upload. */
  | { readonly kind: 'other' }
  /** Looks like JSON to some parsers, but not to all, or not the same to all. */
  | { readonly kind: 'ambiguous'; readonly problem: string };

/** Members that decide. Which of them count depends on where they stand: see {@link frameRole}. */
const READ_MEMBERS: ReadonlySet<string> = new Set(['model', 'stream', 'method', 'params', 'id', 'name', 'uri']);
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
/** Deeper than any request in earnest; parsers differ in where they give up. */
const MAX_DEPTH = 200;

/**
 * Reads a body. Ambiguous are: bytes that begin like JSON (in UTF-8, UTF-16 or UTF-32) and are not strict JSON in UTF-8,
 * a member named twice, and a member that differs from one the limiter reads only in case (some parsers ignore case).
 */
export function readJsonBody(bytes: Buffer): JsonBody {
  if (bytes.length === 0) return { kind: 'empty' };
  if (jsonStartOf(bytes) !== 'json') return { kind: 'other' };
  try {
    const text = UTF8.decode(bytes);
    const problem = ambiguousMember(text);
    if (problem !== undefined) return { kind: 'ambiguous', problem };
    return { kind: 'json', value: JSON.parse(text) };
  } catch {
    return { kind: 'ambiguous', problem: 'the body is not valid JSON in UTF-8' };
  }
}

const BYTE_ORDER_MARKS: readonly (readonly number[])[] = [
  [0xff, 0xfe, 0, 0],
  [0, 0, 0xfe, 0xff],
  [0xef, 0xbb, 0xbf],
  [0xff, 0xfe],
  [0xfe, 0xff],
];
const WHITE_SPACE: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d]);

/**
 * Whether the first character opens an object or a list, in whichever Unicode encoding (seen by the NULs, as in RFC 4627, 3).
 * `blank`: there is none but white space.
 */
export function jsonStartOf(bytes: Buffer): 'json' | 'other' | 'blank' {
  const mark = BYTE_ORDER_MARKS.find((candidate) => candidate.every((byte, index) => bytes[index] === byte));
  const text = bytes.subarray(mark?.length ?? 0);
  const [width, low] = unitOf(text);
  for (let at = 0; at + width <= text.length; at += width) {
    const unit = text.subarray(at, at + width);
    if (unit.some((byte, index) => index !== low && byte !== 0)) return 'other';
    const character = unit[low] ?? 0;
    if (!WHITE_SPACE.has(character)) return character === 0x7b || character === 0x5b ? 'json' : 'other';
  }
  return 'blank';
}

/** Bytes per character, and which of them is the lowest. */
function unitOf(text: Buffer): readonly [width: number, low: number] {
  const zeros = [0, 1, 2, 3].map((index) => text[index] === 0);
  if (zeros[0] === true) return zeros[1] === true ? [4, 3] : [2, 1];
  if (zeros[1] === true) return zeros[2] === true && zeros[3] === true ? [4, 0] : [2, 0];
  return [1, 0];
}

/** `message`: the root object or an element of a root array. `params`: the params of one. */
type Role = 'batch' | 'message' | 'params' | 'unread';

interface Frame {
  readonly role: Role;
  readonly seen: Set<string>;
  lastName: string;
}

/** Walks the text once; strings are skipped at the speed of indexOf, so a large image costs next to nothing. */
function ambiguousMember(text: string): string | undefined {
  const frames: Frame[] = [];
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at];
    if (character === '{' || character === '[') {
      if (frames.length === MAX_DEPTH) return `the body is nested deeper than ${MAX_DEPTH}`;
      frames.push({ role: frameRole(frames.at(-1), character), seen: new Set(), lastName: '' });
    } else if (character === '}' || character === ']') {
      frames.pop();
    } else if (character === '"') {
      const end = endOfString(text, at);
      const problem = checkMember(text, at, end, frames.at(-1));
      if (problem !== undefined) return problem;
      at = end;
    }
  }
  return undefined;
}

function frameRole(parent: Frame | undefined, opening: '{' | '['): Role {
  if (parent === undefined) return opening === '[' ? 'batch' : 'message';
  if (opening === '[') return 'unread';
  if (parent.role === 'batch') return 'message';
  return parent.role === 'message' && parent.lastName === 'params' ? 'params' : 'unread';
}

/** Index of the quote that closes the string opened at `start`; the end of a text that never closes it. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end > 0; end = text.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (text[end - 1 - backslashes] === '\\') backslashes += 1;
    if (backslashes % 2 === 0) return end;
  }
  return text.length;
}

function checkMember(text: string, start: number, end: number, frame: Frame | undefined): string | undefined {
  if (frame === undefined || frame.role === 'unread' || frame.role === 'batch' || !isName(text, end)) return undefined;
  const name = JSON.parse(text.slice(start, end + 1)) as string;
  if (frame.seen.has(name)) return `the member ${JSON.stringify(name)} occurs twice`;
  frame.seen.add(name);
  frame.lastName = name;
  const folded = name.toUpperCase().toLowerCase();
  if (folded === name || !READ_MEMBERS.has(folded)) return undefined;
  return `the member ${JSON.stringify(name)} must be written "${folded}"`;
}

/** A string is a member's name when a colon follows it. */
function isName(text: string, end: number): boolean {
  let next = end + 1;
  while (text[next] === ' ' || text[next] === '\n' || text[next] === '\r' || text[next] === '\t') next += 1;
  return text[next] === ':';
}

/** The value as an object with members, or undefined. */
export function asRecord(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : undefined;
}
