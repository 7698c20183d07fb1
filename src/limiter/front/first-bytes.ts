// Limiter, front: the first bytes of a connection -> the protocol that they begin. Pure; nothing is guessed: what is
// not a request line of HTTP/1 is not HTTP/1.

/** `undecided`: too few bytes to tell. `other`: neither HTTP nor TLS (Redis, SSH, a binary protocol …). */
export type Protocol = 'http1' | 'http2' | 'tls' | 'other' | 'undecided';

/** A longer first line is left to the HTTP server, which refuses it in HTTP. */
export const MAX_FIRST_LINE = 16 * 1024;

const CARRIAGE_RETURN = 0x0d;
const LINE_FEED = 0x0a;
const TLS_HANDSHAKE = 0x16;
const TLS_MAJOR = 0x03;
/** A token of RFC 9110, as far as it has come, before a space. */
const METHOD = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}(?: |$)/;
const HTTP_1_LINE = / HTTP\/\d\.\d\r?$/;
const HTTP_2_PREFACE = /^PRI \* HTTP\/2\.0\r?$/;

/**
 * Tells the protocol by the first bytes; empty lines before a request line count as part of it, as servers take them.
 */
export function protocolOf(bytes: Buffer): Protocol {
  const start = bytes.findIndex((byte) => byte !== CARRIAGE_RETURN && byte !== LINE_FEED);
  if (start < 0) return bytes.length > MAX_FIRST_LINE ? 'other' : 'undecided';
  if (bytes[start] === TLS_HANDSHAKE) return tlsOf(bytes[start + 1]);
  const end = bytes.indexOf(LINE_FEED, start);
  return protocolOfLine(bytes.toString('latin1', start, end < 0 ? bytes.length : end), end >= 0);
}

function protocolOfLine(line: string, isWhole: boolean): Protocol {
  if (!METHOD.test(line)) return 'other';
  if (line.length >= MAX_FIRST_LINE) return 'http1';
  if (!isWhole) return 'undecided';
  if (HTTP_2_PREFACE.test(line)) return 'http2';
  return HTTP_1_LINE.test(line) ? 'http1' : 'other';
}

function tlsOf(major: number | undefined): Protocol {
  if (major === undefined) return 'undecided';
  return major === TLS_MAJOR ? 'tls' : 'other';
}

/**
 * What a refused client is told in its own protocol before the connection closes. TLS: the alert handshake_failure.
 * HTTP/2: SETTINGS and GOAWAY with HTTP_1_1_REQUIRED. Nothing to others: bytes of HTTP would be garbage to them.
 */
export function farewellOf(protocol: Protocol): Buffer {
  if (protocol === 'tls') return Buffer.from([0x15, 0x03, 0x01, 0, 2, 2, 40]);
  if (protocol !== 'http2') return Buffer.alloc(0);
  const text = Buffer.from('this port is rate limited: use HTTP/1.1 without TLS');
  const settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
  const goAway = [0, 0, 8 + text.length, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0d];
  return Buffer.concat([Buffer.from([...settings, ...goAway]), text]);
}
