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

/** What proxies say of the original request; `forwarded` (RFC 7239) is read before the others by some servers. */
const OF_PROXIES: readonly string[] = ['x-forwarded-host', 'x-forwarded-proto', 'forwarded'];

/**
 * What the upstream is told of the address that the caller used.
 * kept: it sees the caller's Host, and whatever proxies said, as if the limiter were not there.
 * stated: it sees its own Host; X-Forwarded-Host and -Proto say what the limiter saw, in place of what the caller sent.
 * believed: the same, but what a trusted proxy in front said stays.
 */
export type HostRule = 'kept' | 'stated' | 'believed';

/** What the limiter adds to, or takes from, a request on its way. */
export interface ForwardedHeaders {
  readonly host: HostRule;
  /** {@link authorityOf} the request. */
  readonly authority: string;
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
  const taken = add.host === 'stated' ? [...add.strip, ...OF_PROXIES] : add.strip;
  for (const name of taken) dropped.add(name);
  const headers: string[] = [];
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = raw[index] ?? '';
    const lower = name.toLowerCase();
    if (HOP_BY_HOP.has(lower) || WRITTEN_ANEW.has(lower) || dropped.has(lower)) continue;
    headers.push(name, raw[index + 1] ?? '');
  }
  const chain = [incoming['x-forwarded-for'] ?? [], add.peerAddress].flat().join(', ');
  headers.push(...hostHeaders(incoming, add), 'X-Forwarded-For', chain, 'X-Request-Id', add.requestId);
  return headers;
}

function hostHeaders(incoming: IncomingHttpHeaders, { host, authority }: ForwardedHeaders): string[] {
  if (host === 'kept') return authority === '' ? [] : ['Host', authority];
  const isSaid = (name: string): boolean => host === 'believed' && incoming[name] !== undefined;
  return [
    ...(authority === '' || isSaid('x-forwarded-host') ? [] : ['X-Forwarded-Host', authority]),
    ...(isSaid('x-forwarded-proto') ? [] : ['X-Forwarded-Proto', 'http']),
  ];
}

/**
 * The host and port that the caller used, as it wrote them: of an absolute target, which wins, or of Host; '' without
 * both.
 */
export function authorityOf(url: string, hostHeader: string | undefined): string {
  const absolute = /^https?:\/\/([^/?#]*)/i.exec(url)?.[1];
  return absolute === undefined ? (hostHeader ?? '').trim() : absolute.slice(absolute.lastIndexOf('@') + 1);
}

/** Headers about the bytes of an answer, which are not true of others. */
const OF_ANSWER_BYTES = ['content-length', 'content-md5', 'content-digest', 'repr-digest', 'digest', 'etag'];

/**
 * The headers of the answer to the caller, flat: the upstream's, less those of its connection; `own` replaces those
 * of the same name, except that the Retry-After of an upstream's own 429 stays.
 * @param upstream names in lower case
 * @param isRewritten the bytes that follow may be others than the upstream's
 */
export function responseHeaders(
  upstream: readonly (readonly [name: string, value: string])[],
  status: number,
  own: Readonly<Record<string, string>>,
  isRewritten = false,
): string[] {
  const connection = upstream.filter(([name]) => name === 'connection').map(([, value]) => value);
  const untrue = isRewritten ? OF_ANSWER_BYTES : [];
  const dropped = new Set([...namedByConnection(connection.join(',')), ...untrue]);
  const keepsWait = status === 429 && upstream.some(([name]) => name === 'retry-after');
  const added: string[] = [];
  for (const [given, value] of Object.entries(own)) {
    const name = given.toLowerCase();
    if (keepsWait && name.startsWith('retry-after')) continue;
    added.push(name, value);
    dropped.add(name);
  }
  const headers: string[] = [];
  for (const [name, value] of upstream) if (!HOP_BY_HOP.has(name) && !dropped.has(name)) headers.push(name, value);
  headers.push(...added);
  return headers;
}

function namedByConnection(connection: string | undefined): Set<string> {
  if (connection === undefined || connection === '') return new Set();
  return new Set(connection.split(',').map((name) => name.trim().toLowerCase()));
}
