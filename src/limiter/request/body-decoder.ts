// Limiter, request stage: Content-Encoding. In: bytes as sent and the header; out: the bytes that they stand for,
// bounded, off the event loop, and given up as soon as they exceed the bound.
import type { Transform } from 'node:stream';
import { constants, createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from 'node:zlib';
import { WeirError } from '../../lib/errors.ts';
import { GrowingBytes } from '../../lib/growing-bytes.ts';
import { Slots } from '../../lib/slots.ts';
import type { BodyHold } from './body-budget.ts';

/** Decoders differ in what they do with bytes behind the end: here these are an error. */
const OPTIONS = { rejectGarbageAfterEnd: true } as const;
/** 8 MiB, which RFC 8878 asks of every decoder; a frame of a few bytes may ask for 128 MiB. */
const ZSTD_WINDOW_LOG = 23;
const DECODERS: ReadonlyMap<string, () => Transform> = new Map([
  ['gzip', () => createGunzip(OPTIONS)],
  ['x-gzip', () => createGunzip(OPTIONS)],
  ['deflate', () => createInflate(OPTIONS)],
  ['br', () => createBrotliDecompress(OPTIONS)],
  ['zstd', () => createZstdDecompress({ ...OPTIONS, params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG } })],
]);
/** A decoder of brotli takes up to 16 MiB for its window, whatever was sent: only so many work at once. */
const decoders = new Slots(2);
/** More layers of compression than anyone sends. */
const MAX_CODINGS = 2;
/** Text that repeats itself compresses 20- to 50-fold; beyond this a body is made to be large. */
const MAX_RATIO = 100;
/** Up to here the ratio does not matter. */
const RATIO_FLOOR_BYTES = 64 * 1024;

/** The codings that must be undone, the last one applied first. @throws WeirError unsupported_encoding */
export function codingsOf(header: string | undefined): readonly string[] {
  const codings = (header ?? '')
    .split(',')
    .map((coding) => coding.trim().toLowerCase())
    .filter((coding) => coding !== '' && coding !== 'identity');
  if (codings.length > MAX_CODINGS || codings.some((coding) => !DECODERS.has(coding))) {
    throw new WeirError('unsupported_encoding', `Content-Encoding ${JSON.stringify(header)} cannot be read`);
  }
  return codings.reverse();
}

/**
 * Undoes codings.
 * @param maxBytes bound of what comes out; so is 100 times what was sent (or 64 KiB, whichever is more)
 * @throws WeirError body_too_large, invalid_request (not that coding, cut off, or with bytes behind its end),
 * over_capacity
 */
export async function decode(
  raw: Buffer,
  codings: readonly string[],
  maxBytes: number,
  hold: BodyHold,
): Promise<Buffer> {
  const ratioBound = Math.max(RATIO_FLOOR_BYTES, MAX_RATIO * raw.length);
  let bytes = raw;
  for (const coding of codings) {
    const encoded = bytes;
    const decoded = await decoders.run(() =>
      decodeOne(encoded, coding, Math.min(maxBytes, ratioBound), maxBytes, hold),
    );
    if (bytes !== raw) hold.give(bytes.length);
    bytes = decoded;
  }
  return bytes;
}

async function decodeOne(
  bytes: Buffer,
  coding: string,
  boundBytes: number,
  maxBytes: number,
  hold: BodyHold,
): Promise<Buffer> {
  const decoder = DECODERS.get(coding)?.();
  if (decoder === undefined) throw new WeirError('unsupported_encoding');
  const decoded = new GrowingBytes();
  decoder.end(bytes);
  try {
    for await (const chunk of decoder as AsyncIterable<Buffer>) {
      if (decoded.length + chunk.length > boundBytes) throw tooLarge(boundBytes, maxBytes);
      hold.take(chunk.length);
      decoded.append(chunk);
    }
  } catch (error) {
    decoded.discard();
    throw error instanceof WeirError ? error : new WeirError('invalid_request', `the body is not valid ${coding}`);
  }
  return decoded.bytes();
}

function tooLarge(boundBytes: number, maxBytes: number): WeirError {
  const why =
    boundBytes < maxBytes
      ? `the request body decodes to more than ${boundBytes} bytes, ${MAX_RATIO} times what was sent`
      : `the decoded request body is larger than ${maxBytes} bytes`;
  return new WeirError('body_too_large', why);
}
