// Lib, HTTP servers: what is wrong with a request before a handler sees it. In: errors of the parser, heads
// of requests; out: an error of the table, or undefined. Pure.
import type { IncomingMessage } from 'node:http';
import { WeirError, type ErrorName } from '../errors.ts';

/** An error that Node's HTTP parser reports; `reason` is a constant text of the parser. */
export interface ParserError extends Error {
  readonly code?: string;
  readonly reason?: string;
  readonly rawPacket?: Buffer;
}

/** What is known of a request whose head could not be read. */
export interface RawHead {
  readonly method: string;
  /** As it came, without its query; '' when it is unknown. */
  readonly path: string;
}

/** An answer that the server gives by itself. Header names are lower case. */
export interface OwnAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Whom an answer is for: a request, or what could be read of one. */
export interface AnsweredRequest extends RawHead {
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly requestId: string;
}

const CODES: Readonly<Record<string, ErrorName>> = {
  HPE_HEADER_OVERFLOW: 'headers_too_large',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 'body_too_large',
  HPE_PAUSED_H2_UPGRADE: 'http_version_not_supported',
  ERR_HTTP_REQUEST_TIMEOUT: 'request_timeout',
};
const TLS_HANDSHAKE = 0x16;
/** uri-host [ ":" port ] of RFC 9110, 7.2; an empty one is allowed. */
const HOST = /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::\d{0,5})?$/;
const REQUEST_LINE = /^(?:\r?\n)*([A-Z]{1,20}) (?:https?:\/\/[^/?# ]*)?(\/[^?# \r\n]{0,4096})/;

/** The fault behind an error of the parser; undefined for an error of the connection: there is nobody to answer. */
export function faultOfParser(error: ParserError): WeirError | undefined {
  const { code = '', reason } = error;
  const known = CODES[code];
  if (known === 'body_too_large') return new WeirError(known, 'the chunk extensions of the body are too large');
  if (known !== undefined) return new WeirError(known);
  return code.startsWith('HPE_') ? syntaxFault(code, reason ?? code, error.rawPacket) : undefined;
}

function syntaxFault(code: string, reason: string, rawPacket: Buffer | undefined): WeirError {
  if (reason === 'Invalid HTTP version') return new WeirError('http_version_not_supported');
  const isTls = code === 'HPE_INVALID_METHOD' && rawPacket?.[0] === TLS_HANDSHAKE;
  const problem = isTls ? 'this port serves plain HTTP, not TLS' : `the request is not valid HTTP: ${reason}`;
  return new WeirError('invalid_request', problem);
}

/** The fault of a head that the parser accepts and that servers must refuse, or read differently; undefined: none. */
export function faultOfHead(request: IncomingMessage, maxHeaders: number): WeirError | undefined {
  const { httpVersion, rawHeaders } = request;
  if (httpVersion !== '1.1' && httpVersion !== '1.0') return new WeirError('http_version_not_supported');
  if (rawHeaders.length / 2 > maxHeaders)
    return new WeirError('headers_too_large', `the request has more than ${maxHeaders} headers`);
  return hostFault(request) ?? transferFault(request);
}

function hostFault({ httpVersion, rawHeaders }: IncomingMessage): WeirError | undefined {
  const hosts = valuesOf(rawHeaders, 'host');
  if (hosts.length > 1) return new WeirError('invalid_request', 'the request has more than one Host header');
  const [host] = hosts;
  if (host === undefined)
    return httpVersion === '1.0' ? undefined : new WeirError('invalid_request', 'the Host header is missing');
  return HOST.test(host) ? undefined : new WeirError('invalid_request', 'the Host header is not host[:port]');
}

/** Another coding than chunked would reach the upstream without its name. */
function transferFault({ httpVersion, headers }: IncomingMessage): WeirError | undefined {
  const coding = headers['transfer-encoding'];
  if (coding === undefined) return undefined;
  if (httpVersion === '1.0') return new WeirError('invalid_request', 'HTTP/1.0 has no Transfer-Encoding');
  if (coding.trim().toLowerCase() === 'chunked') return undefined;
  return new WeirError('invalid_request', 'the only Transfer-Encoding that is read is chunked');
}

/** Method and path of what arrived of a head: enough to answer in the caller's dialect. */
export function rawHeadOf(rawPacket: Buffer | undefined): RawHead {
  const [, method = '', path = ''] = REQUEST_LINE.exec(rawPacket?.toString('latin1', 0, 8192) ?? '') ?? [];
  return { method, path };
}

/** Whether a body follows the head (RFC 9112, 6.3). */
export function expectsBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

function valuesOf(rawHeaders: readonly string[], name: string): string[] {
  return rawHeaders.filter((_value, index) => index % 2 === 1 && rawHeaders[index - 1]?.toLowerCase() === name);
}
