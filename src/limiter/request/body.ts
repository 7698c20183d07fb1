// Limiter, request stage: reads a request body. In: the incoming message; out: the bytes as they came and their
// decoded form (this is read), both bounded, and both counted in the budget of the process until the hold is
// released.
import type { IncomingMessage } from 'node:http';
import { WeirError } from '../../lib/errors.ts';
import { GrowingBytes } from '../../lib/growing-bytes.ts';
import { pace } from '../../lib/http/paced-reading.ts';
import { decode, codingsOf } from './body-decoder.ts';
import type { BodyHold } from './body-budget.ts';

const NOTHING = Buffer.alloc(0);
/** How often in an idle deadline it is looked whether anything came. */
const LOOKS_PER_IDLE = 4;

/** A request body, until it is released. */
export class RequestBody {
  readonly #hold: BodyHold;
  #raw: Buffer;
  #decoded: Buffer;

  constructor(raw: Buffer, decoded: Buffer, hold: BodyHold) {
    this.#raw = raw;
    this.#decoded = decoded;
    this.#hold = hold;
  }

  /** As it was sent; empty once released. */
  get raw(): Buffer {
    return this.#raw;
  }

  /** The same as `raw` when nothing was encoded. */
  get decoded(): Buffer {
    return this.#decoded;
  }

  /** Lets go of the bytes, and of the room that they take in the budget. */
  release(): void {
    this.#raw = NOTHING;
    this.#decoded = NOTHING;
    this.#hold.release();
  }
}

export interface BodyBounds {
  /** Of the body as sent and, apart from it, as decoded. */
  readonly maxBytes: number;
  /** The longest pause between two pieces of a body. */
  readonly idleMs: number;
}

/**
 * Reads a whole body, and decodes it for reading.
 * @param hold counts its bytes; the caller releases it when the body is not needed any more, also after an error
 * @throws WeirError body_too_large, body_timeout, over_capacity, unsupported_encoding or invalid_request
 */
export async function readBody(request: IncomingMessage, bounds: BodyBounds, hold: BodyHold): Promise<RequestBody> {
  const transferCoding = request.headers['transfer-encoding'];
  if (transferCoding !== undefined && transferCoding.trim().toLowerCase() !== 'chunked') {
    throw new WeirError('invalid_request', 'the only Transfer-Encoding that can be read is chunked');
  }
  const codings = codingsOf(request.headers['content-encoding']);
  const raw = await collect(request, bounds, hold);
  const isEncoded = raw.length > 0 && codings.length > 0;
  return new RequestBody(raw, isEncoded ? await decode(raw, codings, bounds.maxBytes, hold) : raw, hold);
}

function collect(request: IncomingMessage, { maxBytes, idleMs }: BodyBounds, hold: BodyHold): Promise<Buffer> {
  const announced = request.headers['content-length'];
  const expected = announced === undefined ? undefined : Number(announced);
  if (expected !== undefined && expected > maxBytes) return Promise.reject(tooLarge(maxBytes));
  if (expected === 0 || (expected === undefined && request.headers['transfer-encoding'] === undefined)) {
    request.resume();
    return Promise.resolve(NOTHING);
  }
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const body = new GrowingBytes(expected);
  const take = (chunk: Buffer): void => {
    if (body.length + chunk.length > maxBytes) throw tooLarge(maxBytes);
    hold.take(chunk.length);
    body.append(chunk);
  };
  const stop = receive(request, idleMs, take, (error) => {
    hold.received();
    if (error === undefined) {
      resolve(body.bytes());
      return;
    }
    body.discard();
    reject(error);
  });
  hold.receive(stop);
  return promise;
}

/**
 * Passes each chunk to `take`, and calls `onEnd` once: at the end, or with what `take` threw, or why no more will come.
 * @returns ends it with an error
 */
function receive(
  request: IncomingMessage,
  idleMs: number,
  take: (chunk: Buffer) => void,
  onEnd: (error?: Error) => void,
): (error: Error) => void {
  const { socket } = request;
  const reading = pace(request);
  let [chunks, seenChunks, quietLooks] = [0, 0, 0];
  const finish = (error?: Error): void => {
    clearInterval(idle);
    request.off('data', onData).off('end', finish).off('close', onLost);
    socket.off('close', onLost);
    onEnd(error);
  };
  const onData = (chunk: Buffer): void => {
    chunks += 1;
    if (reading.isShredded) {
      finish(new WeirError('invalid_request', 'the body comes in pieces of a few bytes: send larger ones'));
      return;
    }
    try {
      take(chunk);
    } catch (error) {
      finish(error as Error);
    }
  };
  const onLost = (): void => {
    finish(new WeirError('invalid_request', 'the connection closed before the body was complete'));
  };
  const idle = setInterval(() => {
    quietLooks = chunks === seenChunks ? quietLooks + 1 : 0;
    seenChunks = chunks;
    if (quietLooks < LOOKS_PER_IDLE) return;
    finish(new WeirError('body_timeout', `no byte of the request body came for ${idleMs} ms`));
  }, idleMs / LOOKS_PER_IDLE);
  // A request that was answered meanwhile hears nothing of its connection any more: its socket does.
  request.on('data', onData).once('end', finish).once('close', onLost);
  socket.once('close', onLost);
  // Only told to who listens; `close` follows.
  request.on('error', () => undefined);
  return finish;
}

function tooLarge(maxBytes: number): WeirError {
  return new WeirError('body_too_large', `the request body is larger than ${maxBytes} bytes`);
}
