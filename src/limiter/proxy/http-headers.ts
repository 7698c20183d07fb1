// Limiter, proxy: what becomes of headers on their way through. In: headers of one hop; out: headers of the next.
import type { IncomingHttpHeaders } from 'node:http';

/** Headers that belong to one connection (RFC 9110, 7.6.1), and what undici writes itself. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);
const WRITTEN_ANEW: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'expect',
  'x-forwarded-for',
  'x-request-id',
]);

/** What the limiter adds to, or takes from, a request on its way. */
export interface ForwardedHeaders {
  readonly peerAddress: string;
  readonly requestId: string;
  /** Lower case: headers that the caller may not pass on. */
  readonly strip: ReadonlySet<string>;
}

/**
 * The headers of the request to the upstream, flat (name, value, name, value …), in the caller's order and spelling.
 * @param raw `rawHeaders` of the incoming message
 */
export function requestHeaders(raw: readonly string[], incoming: IncomingHttpHeaders, add: ForwardedHeaders): string[] {
  const dropped = namedByConnection(incoming.connection);
  const headers: string[] = [];
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = raw[index] ?? '';
    const lower = name.toLowerCase();
    if (HOP_BY_HOP.has(lower) || WRITTEN_ANEW.has(lower) || dropped.has(lower) || add.strip.has(lower)) continue;
    headers.push(name, raw[index + 1] ?? '');
  }
  const before = incoming['x-forwarded-for'];
  const chain = before === undefined ? '' : `${Array.isArray(before) ? before.join(', ') : before}, `;
  headers.push('X-Forwarded-For', `${chain}${add.peerAddress}`, 'X-Request-Id', add.requestId);
  return headers;
}

/**
 * The headers of the answer to the caller: the upstream's, less those of its connection; `own` replaces those of the same
 * name, except that the Retry-After of an upstream's own 429 stays.
 */
export function responseHeaders(
  upstream: IncomingHttpHeaders,
  status: number,
  own: Readonly<Record<string, string>>,
): Record<string, string | string[]> {
  const dropped = namedByConnection(upstream.connection);
  const headers: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(upstream)) {
    if (value === undefined || HOP_BY_HOP.has(name) || dropped.has(name)) continue;
    headers[name] = value;
  }
  for (const [name, value] of Object.entries(own)) {
    const lower = name.toLowerCase();
    if (status === 429 && lower.startsWith('retry-after') && headers['retry-after'] !== undefined) continue;
    headers[lower] = value;
  }
  return headers;
}

function namedByConnection(connection: string | undefined): ReadonlySet<string> {
  return new Set((connection ?? '').split(',').map((name) => name.trim().toLowerCase()));
}
