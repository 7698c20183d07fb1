// Limiter, proxy: the body that goes on. In: a body as sent and as decoded; out: the bytes for the upstream, and the headers
// that are not true of them.
import type { IncomingHttpHeaders } from 'node:http';
import type { RequestBody } from '../request/body.ts';

export interface OutgoingBody {
  readonly bytes: Buffer;
  /** Lower case: headers to take off. */
  readonly untrue: readonly string[];
}

/** Headers that speak of the encoded bytes. */
const OF_ENCODED: readonly string[] = ['content-encoding', 'content-md5', 'content-digest', 'repr-digest', 'digest'];

/**
 * What an object limits goes on as it was read: decoded, so that no other decoder can find something else in it. What no
 * object claims goes on byte for byte.
 */
export function outgoingBody(
  { raw, decoded }: RequestBody,
  headers: IncomingHttpHeaders,
  isClaimed: boolean,
): OutgoingBody {
  if (!isClaimed || headers['content-encoding'] === undefined) return { bytes: raw, untrue: [] };
  return { bytes: decoded, untrue: OF_ENCODED };
}
