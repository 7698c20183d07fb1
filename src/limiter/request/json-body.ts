// Limiter, request stage: reads a body as JSON so that what the limiter reads is what any upstream reads. In: decoded
// bytes; out: what was read, or "no JSON", or why it cannot be trusted (then the request is refused, never forwarded
// uncounted).
import type { ErrorName } from '../../lib/errors.ts';
import { nextTurn } from '../../lib/turns.ts';
import type { JsonMember, JsonObject } from './json-members.ts';
import { JsonScan, type JsonRoot } from './json-scan.ts';

/** What a body is to the limiter. */
export type JsonBody =
  | { readonly kind: 'empty' }
  | {
      readonly kind: 'json';
      /** What is read, in its places: an object, or a list of objects (of null for elements that are none). */
      readonly value: unknown;
      /** The same with the offsets in the body. */
      readonly root: JsonRoot;
    }
  /** Does not look like JSON to any parser: a form, an upload. */
  | { readonly kind: 'other' }
  /** Looks like JSON to some parsers, but not to all, or not the same to all. */
  | { readonly kind: 'ambiguous'; readonly problem: string; readonly code?: ErrorName };

/** Scanned in one turn of the event loop: a few ms. */
const SLICE_BYTES = 256 * 1024;
/** White space before a JSON text; nobody sends more. */
const MAX_LEADING_BYTES = 4096;

/**
 * Reads a body, no more than 256 KiB of it in one turn of the event loop. Ambiguous are: bytes that begin like JSON
 * (in UTF-8, UTF-16 or UTF-32) and are not strict JSON in UTF-8; and, in an object of which members are read, a
 * member named twice, or one that differs from a read one only in case (some parsers ignore case).
 */
export async function readJson(bytes: Buffer): Promise<JsonBody> {
  const known = beginning(bytes);
  if (known !== undefined) return known;
  const scan = new JsonScan(bytes);
  while (!scan.advance(SLICE_BYTES)) await nextTurn();
  return bodyOf(scan);
}

/** {@link readJson} in one turn: for bodies that are known to be small. */
export function readJsonBody(bytes: Buffer): JsonBody {
  const known = beginning(bytes);
  if (known !== undefined) return known;
  const scan = new JsonScan(bytes);
  scan.advance(bytes.length);
  return bodyOf(scan);
}

function bodyOf(scan: JsonScan): JsonBody {
  if (scan.problem !== undefined) return { kind: 'ambiguous', problem: scan.problem };
  const { root } = scan;
  const values = root.objects.map((object) => (object === undefined ? null : valueOf(object)));
  return { kind: 'json', root, value: root.length === undefined ? values[0] : values };
}

function valueOf({ members }: JsonObject): Record<string, unknown> {
  return Object.fromEntries([...members].map(([name, member]) => [name, memberValue(member)]));
}

function memberValue({ kind, value, object }: JsonMember): unknown {
  if (kind === 'array') return [];
  if (kind === 'object') return object === undefined ? {} : valueOf(object);
  return value;
}

/** What the first bytes say; undefined: it is JSON in UTF-8, if it is anything. */
function beginning(bytes: Buffer): JsonBody | undefined {
  if (bytes.length === 0) return { kind: 'empty' };
  const { start, isUtf8 } = jsonStart(bytes);
  if (start === 'none' || start === 'blank') return { kind: 'other' };
  if (start === 'too far') return ambiguous(`the body begins with more than ${MAX_LEADING_BYTES} bytes of white space`);
  if (isUtf8) return undefined;
  return ambiguous('the body is JSON, but not in UTF-8 without a byte order mark');
}

function ambiguous(problem: string): JsonBody {
  return { kind: 'ambiguous', problem };
}

const BYTE_ORDER_MARKS: readonly (readonly number[])[] = [
  [0xff, 0xfe, 0, 0],
  [0, 0, 0xfe, 0xff],
  [0xef, 0xbb, 0xbf],
  [0xff, 0xfe],
  [0xfe, 0xff],
];
const WHITE_SPACE: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d]);

/** `json`: an object or a list begins. `none`: something else does. `blank`: nothing but white space so far. */
export type JsonStart = 'json' | 'none' | 'blank' | 'too far';

/** How a body, or what has come of it, begins. `isUtf8`: if it is JSON it is in UTF-8, without a byte order mark. */
export function jsonStart(bytes: Buffer): { readonly start: JsonStart; readonly isUtf8: boolean } {
  const mark = BYTE_ORDER_MARKS.find((candidate) => candidate.every((byte, index) => bytes[index] === byte));
  const text = bytes.subarray(mark?.length ?? 0);
  const [width, low] = unitOf(text);
  return { start: firstCharacter(text, width, low), isUtf8: mark === undefined && width === 1 };
}

/** What the first character that is not white space opens. */
function firstCharacter(text: Buffer, width: number, low: number): JsonStart {
  for (let at = 0; at + width <= text.length; at += width) {
    if (at > MAX_LEADING_BYTES) return 'too far';
    const character = text[at + low] ?? 0;
    for (let index = 0; index < width; index += 1) {
      if (index !== low && text[at + index] !== 0) return 'none';
    }
    if (!WHITE_SPACE.has(character)) return character === 0x7b || character === 0x5b ? 'json' : 'none';
  }
  return 'blank';
}

/** Bytes per character, and which of them is the lowest: told by the NULs, as in RFC 4627, 3. */
function unitOf(text: Buffer): readonly [width: number, low: number] {
  const zeros = [0, 1, 2, 3].map((index) => text[index] === 0);
  if (zeros[0] === true) return zeros[1] === true ? [4, 3] : [2, 1];
  if (zeros[1] === true) return zeros[2] === true && zeros[3] === true ? [4, 0] : [2, 0];
  return [1, 0];
}

/** The value as an object with members, or undefined. */
export function asRecord(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : undefined;
}
