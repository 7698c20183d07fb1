// Limiter, proxy: reads a request body. In: the incoming message; out: the bytes as they came (these are forwarded) and
// their decoded form (this is read), both bounded.
import type { IncomingMessage } from 'node:http';
import { promisify } from 'node:util';
import { brotliDecompress, gunzip, inflate, zstdDecompress, type ZlibOptions } from 'node:zlib';
import { WeirError } from '../../lib/errors.ts';

/** A request body. `decoded` is `raw` when it has no Content-Encoding. */
export interface RequestBody {
  readonly raw: Buffer;
  readonly decoded: Buffer;
}

type Decoder = (bytes: Buffer, options: ZlibOptions) => Promise<Buffer>;

const DECODERS: Readonly<Record<string, Decoder>> = {
  gzip: promisify<Buffer, ZlibOptions, Buffer>(gunzip),
  'x-gzip': promisify<Buffer, ZlibOptions, Buffer>(gunzip),
  deflate: promisify<Buffer, ZlibOptions, Buffer>(inflate),
  br: promisify<Buffer, ZlibOptions, Buffer>(brotliDecompress),
  zstd: (bytes, { maxOutputLength }) =>
    promisify(zstdDecompress)(bytes, maxOutputLength === undefined ? {} : { maxOutputLength }),
};
/** More layers of compression than anyone sends in earnest. */
const MAX_CODINGS = 2;

/**
 * Reads a whole body, and decodes it for reading.
 * @param maxBytes bound of the body as sent and, apart from it, as decoded (a compressed bomb costs no more than that)
 * @throws WeirError body_too_large, unsupported_encoding or invalid_request (corrupt compression)
 */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<RequestBody> {
  const raw = await collect(request, maxBytes);
  const encoding = request.headers['content-encoding'];
  if (raw.length === 0 || encoding === undefined) return { raw, decoded: raw };
  return { raw, decoded: await decode(raw, encoding, maxBytes) };
}

function collect(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) {
    request.resume();
    return Promise.reject(tooLarge(maxBytes));
  }
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= maxBytes) chunks.push(chunk);
      else {
        // The rest is read and dropped, so that a client that writes all before it reads still gets the answer.
        chunks.length = 0;
        reject(tooLarge(maxBytes));
      }
    });
    request.once('end', () => {
      resolve(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks));
    });
    const onLost = (): void => {
      reject(new WeirError('invalid_request', 'the connection closed before the body was complete'));
    };
    request.once('error', onLost);
    request.once('close', onLost);
  });
}

async function decode(raw: Buffer, encoding: string, maxBytes: number): Promise<Buffer> {
  const codings = encoding
    .split(',')
    .map((coding) => coding.trim().toLowerCase())
    .filter((coding) => coding !== '' && coding !== 'identity');
  if (codings.length > MAX_CODINGS) throw unsupported(encoding);
  let bytes = raw;
  for (const coding of codings.reverse()) {
    const decoder = Object.hasOwn(DECODERS, coding) ? DECODERS[coding] : undefined;
    if (decoder === undefined) throw unsupported(encoding);
    bytes = await decoder(bytes, { maxOutputLength: maxBytes }).catch((error: unknown) => {
      throw isOverflow(error) ? tooLarge(maxBytes) : corrupt(coding);
    });
  }
  return bytes;
}

function isOverflow(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE';
}

function tooLarge(maxBytes: number): WeirError {
  return new WeirError('body_too_large', `the request body is larger than ${maxBytes} bytes`);
}

function unsupported(encoding: string): WeirError {
  return new WeirError('unsupported_encoding', `Content-Encoding ${JSON.stringify(encoding)} cannot be read`);
}

function corrupt(coding: string): WeirError {
  return new WeirError('invalid_request', `the body is not valid ${coding}`);
}
