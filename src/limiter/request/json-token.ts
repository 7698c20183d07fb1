// Limiter, request stage: the tokens of JSON (RFC 8259) as bytes. In: bytes and a place in them; out: which token
// begins or where it ends. No look goes further than a token may be long.

/** Longer numbers are refused by some parsers (Python: 4300 digits), and rounded by others. */
export const MAX_NUMBER_BYTES = 1000;

export const QUOTE = 0x22;
export const BACKSLASH = 0x5c;
export const OPEN_ARRAY = 0x5b;
export const OPEN_OBJECT = 0x7b;
export const CLOSE_OBJECT = 0x7d;

/** Classes of bytes that can begin a token. */
export const OTHER = 0;
export const WHITE = 1;
export const OPEN = 2;
export const CLOSE = 3;
export const STRING = 4;
export const NUMBER = 5;
export const LITERAL = 6;
export const COLON = 7;
export const COMMA = 8;
export const CLASS = new Uint8Array(256).fill(OTHER);
for (const [characters, kind] of [
  [' \t\n\r', WHITE],
  ['{[', OPEN],
  ['}]', CLOSE],
  ['"', STRING],
  ['-0123456789', NUMBER],
  ['tfn', LITERAL],
  [':', COLON],
  [',', COMMA],
] as const) {
  for (const byte of Buffer.from(characters)) CLASS[byte] = kind;
}

/** Bytes of a string that stand for themselves: neither quote, backslash nor control character. */
export const PLAIN = new Uint8Array(256).fill(1, 0x20);
PLAIN[QUOTE] = 0;
PLAIN[BACKSLASH] = 0;
/** Bytes that may follow a backslash, "u" apart. */
const ESCAPES: ReadonlySet<number> = new Set(Buffer.from('"\\/bfnrt'));
/** The words of JSON and their kinds. */
export const LITERALS = [
  ['true', 'boolean'],
  ['false', 'boolean'],
  ['null', 'null'],
] as const;

/** Length of the escape whose backslash is at this place; 0 when it is none. */
export function escapeLength(bytes: Buffer, at: number): number {
  const next = bytes[at + 1] ?? 0;
  if (ESCAPES.has(next)) return 2;
  return next === 0x75 && isHex4(bytes, at + 2) ? 6 : 0;
}

function isHex4(bytes: Buffer, at: number): boolean {
  for (let index = at; index < at + 4; index += 1) {
    const byte = bytes[index] ?? 0;
    const letter = byte | 0x20;
    if (!(byte >= 0x30 && byte <= 0x39) && !(letter >= 0x61 && letter <= 0x66)) return false;
  }
  return true;
}

/** Whether `text` (ASCII) stands at this place. */
export function standsAt(bytes: Buffer, at: number, text: string): boolean {
  for (let index = 0; index < text.length; index += 1) {
    if (bytes[at + index] !== text.charCodeAt(index)) return false;
  }
  return true;
}

/** Behind the number that begins at `start`; -1 when it is none. Looks no further than a number may be long. */
export function endOfNumber(bytes: Buffer, start: number): number {
  const limit = start + MAX_NUMBER_BYTES + 1;
  let at = bytes[start] === 0x2d ? start + 1 : start;
  const whole = bytes[at] === 0x30 ? at + 1 : endOfDigits(bytes, at, limit);
  if (whole === at) return -1;
  at = whole;
  if (bytes[at] === 0x2e) {
    const fraction = endOfDigits(bytes, at + 1, limit);
    if (fraction === at + 1) return -1;
    at = fraction;
  }
  return ((bytes[at] ?? 0) | 0x20) === 0x65 ? endOfExponent(bytes, at + 1, limit) : at;
}

function endOfExponent(bytes: Buffer, start: number, limit: number): number {
  const sign = bytes[start];
  const from = sign === 0x2b || sign === 0x2d ? start + 1 : start;
  const end = endOfDigits(bytes, from, limit);
  return end === from ? -1 : end;
}

function endOfDigits(bytes: Buffer, start: number, limit: number): number {
  let at = start;
  while (at < limit) {
    const byte = bytes[at] ?? 0;
    if (byte < 0x30 || byte > 0x39) break;
    at += 1;
  }
  return at;
}
