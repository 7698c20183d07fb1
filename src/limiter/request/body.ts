// Limiter, request stage: reads a request body. In: the incoming message; out: the bytes as they came and their decoded form
// (this is read), both bounded, and both counted in the budget of the process until the hold is released.
import type { IncomingMessage } from 'node:http';
import { WeirError } from '../../lib/errors.ts';
import { GrowingBytes } from '../../lib/growing-bytes.ts';
import { decode, codingsOf } from './body-decoder.ts';
import type { BodyHold } from './body-budget.ts';

const NOTHING = Buffer.alloc(0);

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
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const body = new GrowingBytes(expected);
  let isOver = false;
  const finish = (error?: WeirError): void => {
    if (isOver) return;
    isOver = true;
    clearTimeout(idle);
    request.off('data', onData);
    hold.received();
    if (error === undefined) resolve(body.bytes());
    else reject(error);
  };
  const idle = setTimeout(() => {
    finish(new WeirError('body_timeout', `no byte of the request body came for ${idleMs} ms`));
  }, idleMs);
  const onData = (chunk: Buffer): void => {
    if (body.length + chunk.length > maxBytes) {
      finish(tooLarge(maxBytes));
      return;
    }
    try {
      hold.take(chunk.length);
    } catch (error) {
      finish(error as WeirError);
      return;
    }
    body.append(chunk);
    idle.refresh();
  };
  const onLost = (): void => {
    finish(new WeirError('invalid_request', 'the connection closed before the body was complete'));
  };
  hold.receive(finish);
  request.on('data', onData);
  request.once('end', () => {
    finish();
  });
  request.once('error', onLost);
  request.once('close', onLost);
  return promise;
}

function tooLarge(maxBytes: number): WeirError {
  return new WeirError('body_too_large', `the request body is larger than ${maxBytes} bytes`);
}
