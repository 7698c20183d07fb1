// Answers of an upstream, written byte by byte: none of them ends the limiter, none goes on unchecked, and each is
// settled by what the caller got.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { startRawUpstream, type RawAnswer, type RawUpstream } from '../../rig/upstream/raw-upstream.ts';
import { exchange, requestBytes, type WireAnswer } from '../../hostile/wire.ts';
import { HOUR, tokens } from '../store/fixtures.ts';
import { limit } from '../fixtures.ts';
import { post, routeTo, startLimiter, type Running } from '../running.ts';

let upstream: RawUpstream;
let running: Running;
let told: RawAnswer;

beforeEach(async () => {
  upstream = await startRawUpstream((head) => (head.includes('x-well: 1') ? OK : told));
  running = await startLimiter([routeTo(upstream.url, { limits: [limit({ rule: tokens(100, HOUR) })] })]);
});
afterEach(async () => {
  await running.close();
  await upstream.close();
});

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const BODY = JSON.stringify({ model: 'm', messages: [] });
const CHUNKS = '2\r\nok\r\n0\r\n\r\n';

async function send(method = 'POST', headers: Record<string, string> = {}): Promise<WireAnswer> {
  const { host } = new URL(running.traffic);
  const path = '/v1/chat/completions';
  const body = method === 'POST' ? { body: BODY } : {};
  return exchange(requestBytes({ method, path, headers, ...body }, host), host);
}

async function remaining(): Promise<number> {
  const object = { kind: 'ModelRoute', namespace: 'serving', name: 'chat' };
  const answer = await post(`${running.decision}/v1/decide`, { object, request: {}, mode: 'peek' });
  return ((await answer.json()) as { limits: { remaining: number }[] }).limits[0]!.remaining;
}

async function metric(line: string): Promise<number> {
  const text = await (await fetch(`${running.admin}/metrics`)).text();
  return Number(
    text
      .split('\n')
      .find((each) => each.startsWith(line))
      ?.slice(line.length) ?? 0,
  );
}

/** The limiter lives, serves the next request, and has none in flight. */
async function checkAlive(): Promise<void> {
  expect(await send('POST', { 'x-well': '1' })).toMatchObject({ status: 200, body: 'ok' });
  expect(await metric('weir_requests_in_flight ')).toBe(0);
  expect(await metric('weir_internal_errors_total')).toBe(0);
}

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');

describe('an answer that may go on', () => {
  test.each<[string, RawAnswer, Partial<WireAnswer>]>([
    [
      'a reason in Cyrillic',
      Buffer.from('HTTP/1.1 200 Всё\r\nContent-Length: 2\r\n\r\nok'),
      { status: 200, body: 'ok' },
    ],
    ['a reason in Latin-1', bytes('HTTP/1.1 200 caf\xe9\r\nContent-Length: 2\r\n\r\nok'), { status: 200, body: 'ok' }],
    ['no reason', 'HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok', { status: 200, body: 'ok' }],
    ['a reason of its own', 'HTTP/1.1 200 Fine by me\r\nContent-Length: 2\r\n\r\nok', { status: 200, body: 'ok' }],
    ['a status without a name', 'HTTP/1.1 599\r\nContent-Length: 2\r\n\r\nok', { status: 599, body: 'ok' }],
    ['no length, until it closes', (socket) => socket.end('HTTP/1.1 200 OK\r\n\r\nok'), { status: 200, body: 'ok' }],
    ['HTTP/1.0', (socket) => socket.end('HTTP/1.0 200 OK\r\n\r\nok'), { status: 200, body: 'ok' }],
    ['chunks', `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${CHUNKS}`, { status: 200, body: 'ok' }],
    [
      'Chunked in another case',
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n${CHUNKS}`,
      { status: 200, body: 'ok' },
    ],
    [
      'trailers',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-a\r\n\r\n2\r\nok\r\n0\r\nx-a: 1\r\n\r\n',
      { status: 200, body: 'ok' },
    ],
    [
      'Connection twice',
      `HTTP/1.1 200 OK\r\nConnection: x-a\r\nConnection: x-b\r\nX-A: 1\r\nX-B: 1\r\nContent-Length: 2\r\n\r\nok`,
      { status: 200, body: 'ok' },
    ],
    [
      'a header named __proto__',
      'HTTP/1.1 200 OK\r\n__proto__: a\r\n__proto__: b\r\nContent-Length: 2\r\n\r\nok',
      { status: 200, body: 'ok' },
    ],
    ['early hints before it', `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${OK}`, { status: 200, body: 'ok' }],
    ['204 with a body', 'HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok', { status: 204, body: '' }],
    [
      '204 in chunks',
      `HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n${CHUNKS}`,
      { status: 204, body: '' },
    ],
    ['304 with a body', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nok', { status: 304, body: '' }],
    [
      'more than its length',
      'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and HTTP/1.1 200 OK\r\n\r\n',
      { status: 200, body: 'ok' },
    ],
    [
      'bytes after its chunks',
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${CHUNKS}HTTP/1.1 500 No\r\n\r\n`,
      { status: 200, body: 'ok' },
    ],
  ])('%s', async (_name, answer, expected) => {
    told = answer;
    const before = await remaining();
    expect(await send()).toMatchObject(expected);
    expect(before - (await remaining())).toBe((expected.status ?? 0) < 400 ? 1 : 0);
    await checkAlive();
  });

  test('to a HEAD, with a body that must not be', async () => {
    told = OK;
    expect(await send('HEAD')).toMatchObject({ status: 200, body: '', headers: { 'content-length': '2' } });
    await checkAlive();
  });

  test('has a valid reason, or the standard one', async () => {
    const { host } = new URL(running.traffic);
    for (const [given, goes] of [
      ['Всё', 'OK'],
      ['Fine by me', 'Fine by me'],
      ['a'.repeat(100_000), 'OK'],
    ] as const) {
      told = Buffer.from(`HTTP/1.1 200 ${given}\r\nContent-Length: 2\r\n\r\nok`);
      const answer = await fetch(`http://${host}/v1/chat/completions`, { method: 'POST', body: BODY });
      expect(answer.statusText).toBe(goes);
    }
  });

  test('keeps bytes from 0x80 in a value, and each of several values', async () => {
    told = bytes(
      'HTTP/1.1 200 OK\r\nX-Name: caf\xe9\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nok',
    );
    expect((await send()).headers['x-name']).toBe('caf\xe9');
    const answer = await post(`${running.traffic}/v1/chat/completions`, BODY);
    expect(answer.headers.getSetCookie()).toEqual(['a=1', 'b=2']);
  });

  test('has no Content-Length beside 204', async () => {
    told = 'HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n';
    expect((await send()).headers).not.toHaveProperty('content-length');
  });
});

describe('an answer that is none: 502, refunded, and no trouble of the upstream', () => {
  const many = (count: number, line: (index: number) => string): string =>
    Array.from({ length: count }, (_, index) => line(index)).join('');
  test.each<[string, RawAnswer]>([
    ['not HTTP', 'hello\r\n\r\n'],
    ['a status of two digits', 'HTTP/1.1 20 OK\r\n\r\n'],
    ['a status below 100', 'HTTP/1.1 099 Low\r\nContent-Length: 2\r\n\r\nok'],
    ['a status of 0', 'HTTP/1.1 000 Zero\r\nContent-Length: 2\r\n\r\nok'],
    ['a status above 599', 'HTTP/1.1 600 High\r\nContent-Length: 2\r\n\r\nok'],
    ['999', 'HTTP/1.1 999 Denied\r\nContent-Length: 2\r\n\r\nok'],
    ['a status of four digits', 'HTTP/1.1 2000 OK\r\n\r\n'],
    [
      'an upgrade that nobody asked for',
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nok',
    ],
    ['a 101 without an upgrade', `HTTP/1.1 101 Switching Protocols\r\n\r\n${OK}`],
    ['a 100 that nobody asked for', `HTTP/1.1 100 Continue\r\n\r\n${OK}`],
    ['informational answers without an end', many(100, () => 'HTTP/1.1 102 Processing\r\n\r\n')],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok'],
    ['a list of lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok'],
    ['a negative length', 'HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok'],
    ['a length in hex', 'HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok'],
    ['a length beyond numbers', `HTTP/1.1 200 OK\r\nContent-Length: ${'9'.repeat(30)}\r\n\r\nok`],
    ['a length and chunks', `HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n${CHUNKS}`],
    ['another coding before chunks', `HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n${CHUNKS}`],
    ['another coding', (socket) => socket.end('HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok')],
    ['NUL in a value', 'HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 2\r\n\r\nok'],
    ['a control character in a value', 'HTTP/1.1 200 OK\r\nX-A: a\x01b\r\nContent-Length: 2\r\n\r\nok'],
    ['a folded header', 'HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 2\r\n\r\nok'],
    ['a name that is no token', 'HTTP/1.1 200 OK\r\nX(A): a\r\nContent-Length: 2\r\n\r\nok'],
    ['a space before the colon', 'HTTP/1.1 200 OK\r\nX-A : a\r\nContent-Length: 2\r\n\r\nok'],
    [
      'headers without an end',
      many(3000, (index) => `X-${index}: ${'a'.repeat(50)}\r\n`).replace(/^/, 'HTTP/1.1 200 OK\r\n'),
    ],
    ['a header of a megabyte', `HTTP/1.1 200 OK\r\nX-A: ${'a'.repeat(1_000_000)}\r\n\r\n`],
    ['half a head', (socket) => socket.end('HTTP/1.1 200 OK\r\nX-A: a')],
    ['lines that end in LF alone', 'HTTP/1.1 200 OK\nContent-Length: 2\n\nok'],
  ])('%s', async (_name, answer) => {
    told = answer;
    const before = await remaining();
    const { status, body, headers } = await send();
    expect([status, JSON.parse(body)]).toMatchObject([502, { error: { type: 'server_error' } }]);
    expect(headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
    expect(await remaining()).toBe(before);
    await checkAlive();
  });
});

describe('an answer that breaks off', () => {
  test.each<[string, RawAnswer]>([
    ['before its length', (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok')],
    ['between chunks', (socket) => socket.end('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n')],
    [
      'by a reset',
      (socket) => {
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok', () => socket.resetAndDestroy());
      },
    ],
    ['in a bad chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n'],
  ])('%s looks broken to the client, and is charged', async (_name, answer) => {
    told = answer;
    const before = await remaining();
    await expect(post(`${running.traffic}/v1/chat/completions`, BODY).then((reply) => reply.text())).rejects.toThrow();
    expect(before - (await remaining())).toBe(1);
    await checkAlive();
  });
});
