// Answers that come while the client still sends: of the upstream and of the limiter, on every port. The client can
// read them, the connection closes within bounds, and what was reserved is settled by the answer.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { exchange, requestBytes, type WireAnswer } from '../hostile/wire.ts';
import { startRawUpstream, type RawUpstream } from '../rig/upstream/raw-upstream.ts';
import type { LimiterSettings } from '../../src/limiter/settings.ts';
import { limit } from './fixtures.ts';
import { post, routeTo, startLimiter, until, type Running } from './running.ts';
import { HOUR, tokens } from './store/fixtures.ts';

let upstream: RawUpstream;
let running: Running;
/** Called for each connection to the upstream, with its first bytes. */
let onBytes: (socket: Socket) => void;
const LIMITS = [limit({ rule: tokens(50, HOUR) })];
const MIB = 1024 * 1024;

beforeEach(async () => {
  upstream = await startRawUpstream(
    () => 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
    (socket) => {
      onBytes(socket);
    },
  );
  onBytes = () => undefined;
  running = await startLimiter([routeTo(upstream.url, { limits: LIMITS })]);
});
afterEach(async () => {
  await running.close();
  await upstream.close();
});

const PATH = '/v1/chat/completions';
const large = (bytes: number): string => JSON.stringify({ model: 'm', padding: 'x'.repeat(bytes) });

async function remaining(): Promise<number> {
  const object = { kind: 'ModelRoute', namespace: 'serving', name: 'chat' };
  const answer = await post(`${running.decision}/v1/decide`, { object, request: {}, mode: 'peek' });
  return ((await answer.json()) as { limits: { remaining: number }[] }).limits[0]!.remaining;
}

/** Sends bytes over a connection of its own; `rest` when the answer's head is there. */
async function open(bytes: string | Buffer, base = running.traffic): Promise<{ socket: Socket; seen: () => string }> {
  const { hostname, port } = new URL(base);
  const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
  let seen = '';
  socket.on('data', (chunk: Buffer) => (seen += chunk.toString('latin1')));
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  socket.write(bytes);
  return { socket, seen: () => seen };
}

describe('of the upstream, which does not read the body', () => {
  const head = (status: string, more = ''): string => `HTTP/1.1 ${status}\r\nContent-Length: 5\r\n${more}\r\nearly`;
  test.each<[string, number, (socket: Socket) => void]>([
    [
      'and closes',
      413,
      (socket) => socket.write(head('413 Too Large', 'Connection: close\r\n'), () => socket.destroy()),
    ],
    ['and resets', 413, (socket) => socket.write(head('413 Too Large'), () => socket.resetAndDestroy())],
    ['and stays', 413, (socket) => socket.write(head('413 Too Large', 'Connection: keep-alive\r\n'))],
    ['and ends', 401, (socket) => socket.end(head('401 Unauthorized'))],
    ['and answers until it closes', 413, (socket) => socket.end('HTTP/1.1 413 Too Large\r\n\r\nearly')],
    ['and says that all is well', 200, (socket) => socket.write(head('200 OK'), () => socket.destroy())],
  ])('%s', async (_name, status, answer) => {
    onBytes = (socket) => {
      socket.pause();
      answer(socket);
    };
    const before = await remaining();
    for (let round = 0; round < 3; round += 1) {
      const reply = await post(`${running.traffic}${PATH}`, large(8 * MIB));
      expect([reply.status, await reply.text()]).toEqual([status, 'early']);
    }
    expect(before - (await remaining())).toBe(status < 400 ? 3 : 0);
  });

  test('and gives none at all: 502, refunded', async () => {
    onBytes = (socket) => {
      socket.resetAndDestroy();
    };
    const before = await remaining();
    expect((await post(`${running.traffic}${PATH}`, large(8 * MIB))).status).toBe(502);
    expect(await remaining()).toBe(before);
  });
});

describe('of the limiter, to a client that writes all before it reads', () => {
  const { length } = large(20 * MIB);
  const sizes: [string, Record<string, string>, boolean][] = [
    ['with a length', {}, false],
    ['in chunks', {}, true],
  ];
  test.each(sizes)('a body that is too large, %s', async (_name, headers, chunked) => {
    const { host } = new URL(running.traffic);
    const answer = await exchange(requestBytes({ path: PATH, headers, body: large(20 * MIB), chunked }, host), host);
    expect(answer).toMatchObject({ status: 413, headers: { connection: 'close' } });
    expect(JSON.parse(answer.body)).toMatchObject({ error: { code: 'body_too_large' } });
  });

  test.each<[string, string, Record<string, string>, number]>([
    ['a path that is refused', '/a%00b', {}, 400],
    ['an upgrade', PATH, { Connection: 'Upgrade', Upgrade: 'websocket' }, 426],
    ['an expectation', PATH, { Expect: 'x' }, 417],
    ['too many headers', PATH, Object.fromEntries(Array.from({ length: 120 }, (_, at) => [`X-${at}`, 'a'])), 431],
  ])('%s', async (_name, path, headers, status) => {
    const { host } = new URL(running.traffic);
    const answer = await exchange(requestBytes({ path, headers, body: large(10 * MIB) }, host), host);
    expect(answer.status).toBe(status);
    expect(answer.headers['connection']).toMatch(/close|upgrade/);
  });

  test('the decision API and the admin port do the same', async () => {
    const answers: WireAnswer[] = [];
    for (const [base, path] of [
      [running.decision, '/v1/decide'],
      [running.decision, '/nothing'],
      [running.admin, '/livez'],
      [running.admin, '/nothing'],
    ] as const) {
      const { host } = new URL(base);
      answers.push(await exchange(requestBytes({ path, body: large(10 * MIB) }, host), host));
    }
    expect(answers.map(({ status }) => status)).toEqual([413, 404, 405, 404]);
    for (const { headers } of answers) expect(headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
  });

  test('its answer is complete before the rest of the body is read', async () => {
    const head = `POST ${PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n`;
    const { socket, seen } = await open(head);
    await until(() => seen().endsWith('}'));
    expect(seen()).toMatch(/^HTTP\/1.1 413 .*connection: close/is);
    // Who sees it stops, and closes: the limiter follows at once.
    const closed = once(socket, 'close');
    socket.end();
    await closed;
  });
});

describe('Expect: 100-continue', () => {
  const head = (path: string, length: number, more = ''): string =>
    `POST ${path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: ${length}\r\n${more}\r\n`;

  test('the body is asked for when somebody reads it', async () => {
    const body = large(10);
    const { socket, seen } = await open(head(PATH, body.length, 'Connection: close\r\n'));
    await until(() => seen() === 'HTTP/1.1 100 Continue\r\n\r\n');
    socket.write(body);
    await until(() => seen().endsWith('ok'));
    expect(seen()).toMatch(/^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200 OK\r\n/);
    socket.destroy();
  });

  test.each<[string, string, number, number, string]>([
    ['a body that is too large', PATH, 20 * MIB, 413, ''],
    ['a path that is refused', '/a%00b', 10, 400, ''],
    ['an upgrade', PATH, 10, 426, 'Connection: Upgrade\r\nUpgrade: websocket\r\n'],
    ['a coding that cannot be read', PATH, 10, 415, 'Content-Encoding: compress\r\n'],
  ])('%s is refused without asking for it', async (_name, path, length, status, more) => {
    const { socket, seen } = await open(head(path, length, more));
    await until(() => seen().includes('\r\n\r\n'));
    expect(seen()).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(seen()).not.toContain('100 Continue');
    socket.destroy();
  });

  test('at the decision API as well', async () => {
    const { socket, seen } = await open(head('/v1/decide', 20 * MIB), running.decision);
    await until(() => seen().includes('\r\n\r\n'));
    expect(seen()).toMatch(/^HTTP\/1.1 413 /);
    socket.destroy();
  });
});

describe('deadlines', () => {
  /** Starts the limiter again, with deadlines that only a client or an upstream that stalls can miss. */
  const withDeadlines = async (settings: Partial<LimiterSettings>): Promise<void> => {
    await running.close();
    running = await startLimiter([routeTo(upstream.url, { limits: LIMITS })], settings);
  };

  test.each(['traffic', 'decision', 'admin'] as const)('a head that does not come is 408 on %s', async (port) => {
    await withDeadlines({ requestHeadersTimeoutMs: 100 });
    const { socket, seen } = await open('POST /v1/decide HTTP/1.1\r\nHost: ', running[port]);
    await until(() => seen().includes('\r\n\r\n'));
    expect(seen()).toMatch(/^HTTP\/1.1 408 Request Timeout\r\n.*x-request-id: [0-9a-f-]{36}\r\n/s);
    expect(seen()).toMatch(/request_timeout/);
    socket.destroy();
    const text = await (await fetch(`${running.admin}/metrics`)).text();
    expect(text).toContain(`weir_http_faults_total{listener="${port}",code="request_timeout"} 1`);
  });

  test('a body that does not come is 408, in the dialect of its path', async () => {
    await withDeadlines({ requestTimeoutMs: 100 });
    for (const [base, path] of [
      [running.traffic, PATH],
      [running.decision, '/v1/decide'],
    ] as const) {
      const { socket, seen } = await open(`POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{`, base);
      await until(() => seen().includes('request_timeout'));
      expect(seen()).toMatch(/^HTTP\/1.1 408 Request Timeout\r\n/);
      socket.destroy();
    }
  });

  test('who connects and says nothing is not counted, and gets no answer', async () => {
    await withDeadlines({ requestHeadersTimeoutMs: 100 });
    const { socket, seen } = await open('');
    await once(socket, 'end');
    expect(seen()).toBe('');
    const text = await (await fetch(`${running.admin}/metrics`)).text();
    expect(text).not.toContain('weir_http_faults_total{');
    socket.destroy();
  });

  test('trap 58: an answer that pauses for too long is cut, and charged', async () => {
    await withDeadlines({ streamIdleTimeoutMs: 50 });
    onBytes = (socket) => {
      socket.pause();
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart');
    };
    const before = await remaining();
    const answer = await post(`${running.traffic}${PATH}`, large(10));
    await expect(answer.text()).rejects.toThrow();
    expect(before - (await remaining())).toBe(1);
    const text = await (await fetch(`${running.admin}/metrics`)).text();
    expect(text).toContain('weir_upstream_faults_total{kind="idle_answer"} 1');
  });

  test('a client that stops to read is cut like an answer that pauses', async () => {
    await withDeadlines({ streamIdleTimeoutMs: 200 });
    let closed = false;
    onBytes = (socket) => {
      socket.once('close', () => (closed = true));
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      const more = (): void => {
        while (!socket.destroyed && socket.write(Buffer.alloc(64 * 1024)));
      };
      socket.on('drain', more);
      more();
    };
    const body = large(10);
    const { socket } = await open(`POST ${PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    socket.pause();
    await until(() => closed);
    socket.destroy();
  });
});

describe('requests on one connection', () => {
  test('what is not HTTP is answered behind the answer to the request before it', async () => {
    const body = large(10);
    const good = `POST ${PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    const { socket, seen } = await open(`${good}GARBAGE\r\n\r\n`);
    await once(socket, 'end');
    const statuses = [...seen().matchAll(/HTTP\/1.1 (\d+)/g)].map(([, status]) => status);
    expect(statuses).toEqual(['200', '400']);
    socket.destroy();
  });

  test('go on over the connection of one that was refused whole', async () => {
    const body = large(10).replace('"m"', '"nobody"');
    const refused = `POST ${PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    const { socket, seen } = await open(refused + refused);
    await until(() => seen().match(/HTTP\/1.1 404/g)?.length === 2);
    socket.destroy();
  });
});
