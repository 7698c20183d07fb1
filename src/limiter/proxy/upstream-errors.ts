// Limiter, proxy: why a call to an upstream gave no answer. In: what undici, the system or TLS threw; out: the error
// for the client, and whether it is trouble of the upstream: only connections that fail are, never a fault of the
// request or of its answer.
import { WeirError } from '../../lib/errors.ts';
import { errorCode } from '../../lib/thrown.ts';

/** How connections to an upstream fail. */
export type ConnectionFault = 'refused' | 'reset' | 'timeout' | 'unresolved' | 'tls';

/** A call that failed. `isUnforeseen`: a fault of the limiter's own code. */
export interface UpstreamFailure {
  readonly error: WeirError;
  readonly trouble?: ConnectionFault;
  readonly isUnforeseen?: true;
}

const TROUBLES: Readonly<Record<string, ConnectionFault>> = {
  ECONNREFUSED: 'refused',
  EHOSTUNREACH: 'refused',
  EHOSTDOWN: 'refused',
  ENETUNREACH: 'refused',
  ENETDOWN: 'refused',
  ECONNRESET: 'reset',
  ECONNABORTED: 'reset',
  EPIPE: 'reset',
  UND_ERR_SOCKET: 'reset',
  ETIMEDOUT: 'timeout',
  UND_ERR_CONNECT_TIMEOUT: 'timeout',
  ENOTFOUND: 'unresolved',
  EPROTO: 'tls',
};
const TROUBLE_CODES: readonly (readonly [pattern: RegExp, trouble: ConnectionFault])[] = [
  [/^EAI_/, 'unresolved'],
  [/^(ERR_TLS_|ERR_SSL_|CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|HOSTNAME_MISMATCH)/, 'tls'],
];
const MESSAGES: Readonly<Record<ConnectionFault, string>> = {
  refused: 'the upstream refuses connections',
  reset: 'the upstream closed the connection before it answered',
  timeout: 'the upstream does not accept connections',
  unresolved: 'the name of the upstream cannot be resolved',
  tls: 'the TLS handshake with the upstream failed',
};
/**
 * undici's words for an answer that HTTP/1.1 does not know: a 100 or a 101 that nobody asked for, bytes without a
 * request.
 */
const BAD_ANSWERS = new Set(['bad response', 'bad upgrade']);
const INVALID_ANSWER = /^(HPE_|UND_ERR_HEADERS_OVERFLOW$|UND_ERR_RES_|ERR_ASSERTION$)/;
const INVALID_REQUEST = /^UND_ERR_(INVALID_ARG|NOT_SUPPORTED)$/;
const CLOSING = /^UND_ERR_(DESTROYED|CLOSED)$/;

/** What a failed call means. */
export function failureOf(thrown: unknown): UpstreamFailure {
  if (thrown instanceof WeirError) return { error: thrown };
  const code = errorCode(thrown) ?? parserCode(thrown);
  if (code === undefined) return { error: new WeirError('internal_error'), isUnforeseen: true };
  const known = knownError(code, thrown);
  if (known !== undefined) return { error: known };
  const trouble = troubleOf(code);
  if (trouble === undefined) return { error: new WeirError('upstream_unreachable') };
  const error = new WeirError(trouble === 'timeout' ? 'upstream_timeout' : 'upstream_unreachable', MESSAGES[trouble]);
  // A connection that served before is one that came about: it may be closed between two requests.
  return trouble === 'reset' && bytesRead(thrown) > 0 ? { error } : { error, trouble };
}

/** What is no failure of a connection. */
function knownError(code: string, thrown: unknown): WeirError | undefined {
  if (code === 'UND_ERR_HEADERS_TIMEOUT') return new WeirError('upstream_timeout');
  if (INVALID_REQUEST.test(code)) return unsendable(thrown);
  if (CLOSING.test(code)) return new WeirError('draining');
  return INVALID_ANSWER.test(code) || isBadAnswer(thrown) ? new WeirError('invalid_upstream_answer') : undefined;
}

function troubleOf(code: string): ConnectionFault | undefined {
  return TROUBLES[code] ?? TROUBLE_CODES.find(([pattern]) => pattern.test(code))?.[1];
}

/** undici refused to write the request; its message names the part, not the value. */
function unsendable(thrown: unknown): WeirError {
  const detail = textOf(thrown)
    .replace(/[^\x20-\x7e]/g, '?')
    .slice(0, 100);
  return new WeirError('invalid_request', `the request cannot be sent to the upstream: ${detail}`);
}

/** undici's parser error has a code for some of its reasons only. */
function parserCode(thrown: unknown): string | undefined {
  const isOfParser = typeof thrown === 'object' && thrown !== null && 'name' in thrown;
  return isOfParser && thrown.name === 'HTTPParserError' ? 'HPE_INVALID' : undefined;
}

function isBadAnswer(thrown: unknown): boolean {
  return BAD_ANSWERS.has(textOf(thrown));
}

/** Asks the shape, not the class: realms differ. */
function textOf(thrown: unknown): string {
  if (typeof thrown !== 'object' || thrown === null || !('message' in thrown)) return '';
  return typeof thrown.message === 'string' ? thrown.message : '';
}

/** What the connection had received in its life, as undici's SocketError says; 0 when it is not known. */
function bytesRead(thrown: unknown): number {
  if (typeof thrown !== 'object' || thrown === null || !('socket' in thrown)) return 0;
  const { socket } = thrown;
  if (typeof socket !== 'object' || socket === null || !('bytesRead' in socket)) return 0;
  return typeof socket.bytesRead === 'number' ? socket.bytesRead : 0;
}
