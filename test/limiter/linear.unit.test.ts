// Every reader of what a caller sends takes time in proportion to it, whatever the text: 256 KiB of each pattern
// through each of them. A reader that looks at a text again for each of its characters would take half a minute and
// more for one.
import { describe, expect, test } from '@jest/globals';
import { canonicalText, normalisePath, pathBelow } from '../../src/lib/values/path.ts';
import { clientAddressOf } from '../../src/limiter/identity/client-address.ts';
import { requestHeaders, type ForwardedHeaders } from '../../src/limiter/proxy/http-headers.ts';
import { shapeOf } from '../../src/limiter/refusal/dialects.ts';
import { codingsOf } from '../../src/limiter/request/body-decoder.ts';
import { endpointOf } from '../../src/limiter/request/endpoints.ts';
import { readJsonBody } from '../../src/limiter/request/json-body.ts';
import { readMcpRequest } from '../../src/limiter/request/mcp-request.ts';
import { charsetProblem, mediaTypeOf, readDisposition, readMediaType } from '../../src/limiter/request/media-type.ts';
import { canonicalModel, modelName } from '../../src/limiter/request/model-request.ts';
import { multipartField } from '../../src/limiter/request/multipart.ts';
import { isOneName, readHeaders, unclearQuery } from '../../src/limiter/request/one-value.ts';
import { readRequestTarget } from '../../src/limiter/request/request-target.ts';
import { urlFormField } from '../../src/limiter/request/url-form.ts';
import { modelRouting, request, setOf } from './fixtures.ts';

const SIZE = 256 * 1024;
const LONGEST_MS = 5_000;

const UNITS: readonly string[] = [
  ...[
    'a',
    ' ',
    '\t',
    '/',
    '//',
    '/./',
    '/../',
    '..;/',
    '%41',
    '%2F',
    '%',
    ';',
    '; ',
    ' ;',
    ';a=b',
    '=',
    ',',
    ', ',
    'a,',
  ],
  ...[
    '/models/',
    ':a',
    '/models/:a',
    '/v2/models/a/versions/',
    '/deployments/',
    '1.',
    'a.',
    '.',
    '[',
    ']',
    '@',
    '#',
    '?a=',
  ],
  ...[
    '"',
    '\\',
    '\\"',
    '"\\',
    '"a"',
    '&model=',
    '&',
    '&modelx',
    '=?base64?',
    'charset=',
    ';charset=a',
    '; charset="a"',
  ],
  ...[
    'boundary=',
    '\r\n',
    '\r\n--A',
    '--A\r\n',
    '--A--',
    '-',
    'name="',
    '; name="model"',
    'upgrade,',
    '\u00e9',
    ':latest',
  ],
  ...['{', '[', '{}', '{},', '"",', '1,', '1', 'e1', '-', '\\u0041', '{"a":', '"a":1,', '[[]],', 'null,'],
];

const index = setOf(
  { mode: 'shared' },
  { routing: modelRouting({ hostnames: ['*.a.b.c.d'], pathPrefix: '/a/b/c' }) },
).index;
const caught = (read: () => unknown): unknown => {
  try {
    return read();
  } catch {
    return undefined;
  }
};

const READERS: readonly (readonly [name: string, read: (text: string) => unknown])[] = [
  ['the request line', (text) => readRequestTarget(text, undefined)],
  ['an absolute request line', (text) => readRequestTarget(`http://${text}`, undefined)],
  ['Host', (text) => readRequestTarget('/', text)],
  ['a path', (text) => normalisePath(`/${text}`)],
  ['a path of a config', canonicalText],
  ['a path below a prefix', (text) => pathBelow('/a', `/a${text}`)],
  ['an endpoint', (text) => endpointOf('POST', `/${text}`)],
  ['the dialect of an answer', (text) => shapeOf('Auto', { path: `/${text}`, headers: {} })],
  ['a route by its path', (text) => index.resolve(request({ path: `/a/b/c/${text}`, model: 'm' }), () => 0)],
  ['a route by its host', (text) => index.resolve(request({ host: `${text}.a.b.c.d`, model: 'm' }), () => 0)],
  ['a name of a model', (text) => canonicalModel(modelName(text) ?? '')],
  ['headers', (text) => readHeaders(['X-User', text, 'Accept', text, 'accept', text])],
  ['a name that is one value', isOneName],
  ['a query', (text) => unclearQuery(new URLSearchParams(text))],
  ['X-Forwarded-For', (text) => clientAddressOf(9, { headers: { 'x-forwarded-for': text }, peerAddress: '192.0.2.1' })],
  ['Connection', (text) => requestHeaders(['A', text], { connection: text }, FORWARDED)],
  ['Content-Encoding', codingsOf],
  ['Content-Type', (text) => charsetProblem(mediaTypeOf(['Content-Type', `a/b${text}`]))],
  ['a media type', (text) => readMediaType(`a/b; c="${text}`)],
  ['a disposition', (text) => readDisposition(`form-data; name="model"${text}`)],
  ['a JSON body', (text) => readJsonBody(Buffer.from(`[${text}`))],
  ['a JSON text', (text) => readJsonBody(Buffer.from(`{"model":"${text}`))],
  ['Mcp-Name', (text) => readMcpRequest(CALL, { 'mcp-name': `=?base64?${text}?=` }, undefined)],
  ['a form of URLs', (text) => urlFormField(Buffer.from(text), 'model')],
  ['an upload', (text) => multipartField(Buffer.from(`${PART}${text}`), FORM, 'model')],
  ['the head of a part', (text) => multipartField(Buffer.from(`--A\r\n${text}`), FORM, 'model')],
];
const FORWARDED: ForwardedHeaders = {
  host: 'stated',
  authority: 'h',
  peerAddress: '192.0.2.1',
  requestId: 'r',
  strip: new Set(),
};
const CALL = readJsonBody(Buffer.from('{"jsonrpc":"2.0","method":"tools/call","params":{"name":"t"}}'));
const FORM = readMediaType('multipart/form-data; boundary=A')!;
const PART = '--A\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n';

describe('what a caller sends is read in linear time', () => {
  test.each(READERS)('%s', async (_name, read) => {
    for (const unit of UNITS) {
      const text = unit.repeat(Math.ceil(SIZE / unit.length));
      const start = performance.now();
      await caught(() => read(text));
      expect([unit, performance.now() - start < LONGEST_MS]).toEqual([unit, true]);
    }
  });
});
