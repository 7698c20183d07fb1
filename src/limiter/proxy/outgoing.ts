// Limiter, proxy: the body that goes on. In: a body as sent and as decoded, and edits of it; out: the bytes for the
// upstream, and the headers that are not true of them.
import type { IncomingHttpHeaders } from 'node:http';
import { Readable } from 'node:stream';
import { SMALL_BODY_BYTES } from '../request/body-budget.ts';
import type { RequestBody } from '../request/body.ts';

/** An edit: `bytes` in place of those from `from` up to `to`. Everything between two edits goes on as it was sent. */
export interface BodyEdit {
  readonly from: number;
  readonly to: number;
  readonly bytes: Buffer;
}

export interface OutgoingBody {
  /** null: none. A large one is a stream, because undici keeps a buffer until the answer is complete. */
  readonly content: Buffer | Readable | null;
  /** Name and value, where undici does not write it by itself. */
  readonly lengthHeader: readonly string[];
  /** Lower case: headers to take off. */
  readonly untrue: readonly string[];
}

/** Headers about bytes that do not go on. */
const OF_BYTES: readonly string[] = ['content-encoding', 'content-md5', 'content-digest', 'repr-digest', 'digest'];

/**
 * What an object limits goes on as it was read: decoded, so that no other decoder can find something else in it. What
 * no object claims goes on byte for byte.
 * @param splices of the body as it was read; ascending, none overlaps another
 */
export function outgoingBody(
  body: RequestBody,
  headers: IncomingHttpHeaders,
  isClaimed: boolean,
  splices: readonly BodyEdit[] = [],
): OutgoingBody {
  const isAsSent = splices.length === 0 && (!isClaimed || headers['content-encoding'] === undefined);
  const pieces = splices.length > 0 ? spliced(body.decoded, splices) : [isAsSent ? body.raw : body.decoded];
  const length = pieces.reduce((sum, { length: bytes }) => sum + bytes, 0);
  const content = contentOf(pieces, length);
  const lengthHeader = content instanceof Readable ? ['Content-Length', String(length)] : [];
  return { content, lengthHeader, untrue: isAsSent ? [] : OF_BYTES };
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

/** Copies nothing. @throws RangeError for splices that overlap or lie outside */
function spliced(bytes: Buffer, splices: readonly BodyEdit[]): Buffer[] {
  const pieces: Buffer[] = [];
  let at = 0;
  for (const { from, to, bytes: inserted } of splices) {
    if (from < at || to < from || to > bytes.length) throw new RangeError('the edits of a body overlap');
    pieces.push(bytes.subarray(at, from), inserted);
    at = to;
  }
  pieces.push(bytes.subarray(at));
  return pieces.filter(({ length }) => length > 0);
}

function contentOf(pieces: readonly Buffer[], length: number): Buffer | Readable | null {
  if (length === 0) return null;
  if (length > SMALL_BODY_BYTES) return Readable.from(slices(pieces), { objectMode: false });
  return pieces.length === 1 ? (pieces[0] ?? null) : Buffer.concat(pieces);
}

/** Keeps nothing once it is read to its end. */
function* slices(pieces: readonly Buffer[]): Generator<Buffer> {
  for (const piece of pieces) {
    for (let at = 0; at < piece.length; at += SMALL_BODY_BYTES) yield piece.subarray(at, at + SMALL_BODY_BYTES);
  }
}
