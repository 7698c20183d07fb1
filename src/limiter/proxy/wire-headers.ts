// Limiter, proxy: the headers of what nobody claims. In: raw headers as they came (name, value, name, value …); out:
// the same, less what would open a way around the judging of later requests, and with what the framing of the other
// hop demands.
import { OF_BYTES } from './outgoing.ts';

type RawHeaders = readonly string[];

/**
 * Protocols in which a client could send requests that are never looked at: HTTP/2, HTTP/1 again, and either over
 * TLS.
 */
const TUNNEL = /^(?:h2|http|tls)/i;
/** Requests that have no body unless they say so. */
const BODILESS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE', 'CONNECT']);

/** How a request goes on. */
export interface WireRequestHead {
  readonly method: string;
  readonly rawHeaders: RawHeaders;
  /** Of the server; for requests of HTTP/1.0, which need not have one. */
  readonly host: string;
  /** false: the client was already asked for its body. */
  readonly keepsExpect: boolean;
  /** The body goes on decoded, in so many bytes; absent: as it came. */
  readonly decodedBytes?: number | undefined;
}

/** The request's headers, byte for byte and in their order: nothing of the limiter's is added. */
export function wireRequestHeaders(head: WireRequestHead): string[] {
  const { method, rawHeaders, host, keepsExpect, decodedBytes } = head;
  const kept = keepsExpect ? rawHeaders : without(rawHeaders, 'expect');
  const headers = withoutTunnels(decodedBytes === undefined ? kept : ofDecoded(kept, decodedBytes));
  if (!has(headers, 'host')) headers.push('Host', host);
  const isFramed = has(headers, 'content-length') || has(headers, 'transfer-encoding');
  if (!isFramed && !BODILESS.has(method)) headers.push('Content-Length', '0');
  return headers;
}

/** How an answer goes on. */
export interface WireAnswerHead {
  readonly rawHeaders: RawHeaders;
  /** The client speaks HTTP/1.0: it knows no chunks. */
  readonly isOldClient: boolean;
  /** The client's connection ends with this answer. */
  readonly closes: boolean;
}

/** The answer's headers, byte for byte and in their order. */
export function wireAnswerHeaders({ rawHeaders, isOldClient, closes }: WireAnswerHead): string[] {
  const headers = isOldClient ? without(rawHeaders, 'transfer-encoding') : [...rawHeaders];
  return closes ? [...without(headers, 'connection', 'keep-alive'), 'Connection', 'close'] : headers;
}

/** Trailers as pairs. */
export function pairsOf(raw: RawHeaders): [string, string][] {
  return namesOf(raw).map((name, index) => [name, raw[index * 2 + 1] ?? '']);
}

/** The protocols that an Upgrade header offers, as written. */
export function offeredProtocols(upgrade: string | undefined): readonly string[] {
  return (upgrade ?? '')
    .split(',')
    .map((protocol) => protocol.trim())
    .filter((protocol) => protocol !== '');
}

/** true: requests could be sent in it unseen. */
export function isTunnel(protocol: string): boolean {
  return TUNNEL.test(protocol);
}

/** A server may always pass over an offer to upgrade, so a proxy may take it out. */
function withoutTunnels(raw: RawHeaders): string[] {
  const offers = valuesOf(raw, 'upgrade').flatMap(offeredProtocols);
  if (!offers.some(isTunnel)) return [...raw];
  const left = offers.filter((protocol) => !isTunnel(protocol));
  const rest = without(raw, 'upgrade', 'http2-settings', 'connection');
  const options = valuesOf(raw, 'connection')
    .flatMap(offeredProtocols)
    .filter((option) => !/^http2-settings$/i.test(option) && (left.length > 0 || !/^upgrade$/i.test(option)));
  if (options.length > 0) rest.push('Connection', options.join(', '));
  if (left.length > 0) rest.push('Upgrade', left.join(', '));
  return rest;
}

function ofDecoded(raw: RawHeaders, bytes: number): string[] {
  const framing = ['content-length', 'transfer-encoding', 'trailer'];
  return [...without(raw, ...OF_BYTES, ...framing), 'Content-Length', String(bytes)];
}

function has(raw: RawHeaders, name: string): boolean {
  return valuesOf(raw, name).length > 0;
}

function valuesOf(raw: RawHeaders, name: string): string[] {
  return namesOf(raw).flatMap((each, index) => (each.toLowerCase() === name ? [raw[index * 2 + 1] ?? ''] : []));
}

function without(raw: RawHeaders, ...names: readonly string[]): string[] {
  return namesOf(raw).flatMap((name, index) =>
    names.includes(name.toLowerCase()) ? [] : [name, raw[index * 2 + 1] ?? ''],
  );
}

function namesOf(raw: RawHeaders): string[] {
  return raw.filter((_, index) => index % 2 === 0);
}
