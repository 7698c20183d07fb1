// Fuzz: what is decided by the first bytes of a connection or a body must hold for the whole of it, wherever it was
// cut.
import assert from 'node:assert/strict';
import { protocolOf } from '../../src/limiter/front/first-bytes.ts';
import { jsonStart, readJsonBody } from '../../src/limiter/request/json-body.ts';
import type { FuzzTarget } from './fuzz.ts';

/** A request line as servers take it, whatever its target, after empty lines. */
const HTTP_1 = /^[\r\n]*[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}(?: [^\n]*)? HTTP\/\d\.\d\r?\n/;

export const CONNECTION_START: FuzzTarget = {
  name: 'connection-start',
  words: [
    ...['GET ', 'POST ', '/', ' HTTP/1.1', ' HTTP/1.0', ' HTTP/2.0', '\r\n', '\n', '\r', ' ', 'Host: a'],
    ...['PRI * HTTP/2.0', 'SM', '\x16\x03\x01', '\x16', '\0', '*1', 'PING', 'SSH-2.0-', '\xff', ':', '(', 'get '],
  ],
  check(bytes, draw) {
    const whole = protocolOf(bytes);
    const early = protocolOf(bytes.subarray(0, draw.below(bytes.length + 1)));
    if (early !== 'undecided') assert.equal(whole, early, 'more bytes change nothing');
    const text = bytes.toString('latin1');
    if (whole === 'http1') assert.match(text, HTTP_1);
    if (whole === 'http2') assert.match(text, /^[\r\n]*PRI \* HTTP\/2\.0\r?\n/);
    if (whole === 'tls') assert.ok(text.replace(/^[\r\n]*/, '').startsWith('\x16\x03'));
    if (whole === 'other') assert.doesNotMatch(text, HTTP_1);
    return whole;
  },
};

/** Fewer do not show the encoding. */
const LEAST_BYTES = 4;

export const BODY_START: FuzzTarget = {
  name: 'body-start',
  words: [
    ' ',
    '\n',
    '\0',
    '{',
    '[',
    '"model":"m"',
    '}',
    'x',
    '\xff\xfe',
    '\xfe\xff',
    '\xef\xbb\xbf',
    '\0\0',
    ' \0',
    '{\0',
  ],
  check(bytes, draw) {
    const { kind } = readJsonBody(bytes);
    const { start } = jsonStart(bytes.subarray(0, LEAST_BYTES + draw.below(bytes.length + 1)));
    // A body that goes on unread must be one that names nothing.
    if (start === 'none' && bytes.length >= LEAST_BYTES) assert.equal(kind, 'other');
    if (start === 'json') assert.ok(kind === 'json' || kind === 'ambiguous');
    return `${start} ${kind}`;
  },
};
