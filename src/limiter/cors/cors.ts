// Limiter, CORS: what an upstream lets pages of other origins read. In: requests and answers of upstreams; out: a
// grant, and the headers by which a browser shows a page an answer of the limiter (Fetch, 3.3: CORS protocol). Pure.
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { expectsBody } from '../../lib/http/http-faults.ts';

/** What an upstream allows an origin. */
export interface CorsGrant {
  /** `*`, or the origin. */
  readonly allowOrigin: string;
  readonly withCredentials: boolean;
}

/** A serialised origin, or `null`; longer ones are nobody's. */
const ORIGIN = /^[\x21-\x7e]{1,256}$/;
/** What a page may read without being allowed to. */
const SAFELISTED: ReadonlySet<string> = new Set([
  'cache-control',
  'content-language',
  'content-length',
  'content-type',
  'expires',
  'last-modified',
  'pragma',
]);

/** The origin of a page that asks; undefined: the request is none of a page. */
export function originOf({ headers }: Pick<IncomingMessage, 'headers'>): string | undefined {
  const { origin } = headers;
  return origin !== undefined && ORIGIN.test(origin) ? origin : undefined;
}

/** true: a browser asks whether a page may send a request. It has no body, and names the method of that request. */
export function isPreflight(request: IncomingMessage): boolean {
  if (request.method !== 'OPTIONS' || expectsBody(request) || originOf(request) === undefined) return false;
  return /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}$/.test(request.headers['access-control-request-method'] ?? '');
}

/** What an answer of an upstream grants an origin; undefined: nothing. */
export function grantOf(headers: IncomingHttpHeaders, origin: string): CorsGrant | undefined {
  const allowOrigin = headers['access-control-allow-origin'];
  if (allowOrigin !== '*' && allowOrigin !== origin) return undefined;
  const withCredentials = headers['access-control-allow-credentials'] === 'true' && allowOrigin !== '*';
  return { allowOrigin, withCredentials };
}

/** The headers by which a page of the granted origin reads an answer with headers of these names. */
export function grantingHeaders(grant: CorsGrant, names: readonly string[]): Record<string, string> {
  const exposed = exposable(names);
  return {
    'access-control-allow-origin': grant.allowOrigin,
    ...(grant.withCredentials ? { 'access-control-allow-credentials': 'true' } : {}),
    ...(exposed.length === 0 ? {} : { 'access-control-expose-headers': exposed.join(', ') }),
    ...(grant.allowOrigin === '*' ? {} : { vary: 'Origin' }),
  };
}

/**
 * What an upstream's answer exposes, and the headers that the limiter adds to it; undefined: it is for no page of
 * another origin, or exposes all.
 */
export function exposedWith(headers: IncomingHttpHeaders, names: readonly string[]): string | undefined {
  if (headers['access-control-allow-origin'] === undefined) return undefined;
  const before = [headers['access-control-expose-headers'] ?? []].flat();
  if (before.includes('*') && headers['access-control-allow-credentials'] !== 'true') return undefined;
  const known = new Set(
    before
      .join(',')
      .toLowerCase()
      .split(/\s*,\s*/),
  );
  const added = exposable(names).filter((name) => !known.has(name));
  return added.length === 0 ? undefined : [...before, ...added].join(', ');
}

function exposable(names: readonly string[]): string[] {
  return names.map((name) => name.toLowerCase()).filter((name) => !SAFELISTED.has(name));
}

const OF_BROWSERS =
  /^(origin|user-agent|referer|accept|accept-.*|access-control-request-.*|sec-.*|cache-control|pragma)$/i;

/** The headers of a preflight as browsers and proxies send them, flat: nothing else passes without an identity. */
export function preflightHeaders(raw: readonly string[]): string[] {
  return raw.filter((_text, index) => OF_BROWSERS.test(raw[index - (index % 2)] ?? ''));
}
