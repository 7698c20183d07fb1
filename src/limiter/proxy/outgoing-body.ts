// Limiter, proxy: the body that goes on. In: a body as sent and as decoded; out: the bytes for the upstream, and the
// headers that are not true of them.
import type { IncomingHttpHeaders } from 'node:http';
import { Readable } from 'node:stream';
import { SMALL_BODY_BYTES } from '../request/body-budget.ts';
import type { RequestBody } from '../request/body.ts';

export interface OutgoingBody {
  /** null: none. A large one is a stream, because undici keeps a buffer until the answer is complete. */
  readonly content: Buffer | Readable | null;
  /** Name and value, where undici does not write it by itself. */
  readonly lengthHeader: readonly string[];
  /** Lower case: headers to take off. */
  readonly untrue: readonly string[];
}

/** Headers that speak of the encoded bytes. */
export const OF_ENCODED: readonly string[] = [
  'content-encoding',
  'content-md5',
  'content-digest',
  'repr-digest',
  'digest',
];

/**
 * What an object limits goes on as it was read: decoded, so that no other decoder can find something else in it. What
 * no object claims goes on byte for byte.
 */
export function outgoingBody(body: RequestBody, headers: IncomingHttpHeaders, isClaimed: boolean): OutgoingBody {
  const isAsSent = !isClaimed || headers['content-encoding'] === undefined;
  const bytes = isAsSent ? body.raw : body.decoded;
  const content = contentOf(bytes);
  const lengthHeader = content instanceof Readable ? ['Content-Length', String(bytes.length)] : [];
  return { content, lengthHeader, untrue: isAsSent ? [] : OF_ENCODED };
}

/**
 * Gives the room of a body back, as soon as it is sent: a stream of the answer may last for hours.
 * Called when the answer has begun.
 */
export function releaseSent(body: RequestBody, { content }: OutgoingBody): void {
  const isBeingSent = content instanceof Readable && !content.destroyed;
  if (!isBeingSent) body.release();
  else
    content.once('close', () => {
      body.release();
    });
}

function contentOf(bytes: Buffer): Buffer | Readable | null {
  if (bytes.length === 0) return null;
  return bytes.length <= SMALL_BODY_BYTES ? bytes : Readable.from(slices(bytes), { objectMode: false });
}

/** Keeps nothing once it is read to its end. */
function* slices(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += SMALL_BODY_BYTES) yield bytes.subarray(at, at + SMALL_BODY_BYTES);
}
