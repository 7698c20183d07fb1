// The record of a request: exactly one for every way in which a request ends.
import { afterEach, describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import type { LimiterConfig } from '../../../src/contract/limiter-config.ts';
import { RequestNotes, type RequestRecord } from '../../../src/limiter/record/request-record.ts';
import { startSidecar, WireClient } from '../front/wire.ts';
import { webSocketEcho } from '../front/web-socket-echo.ts';
import { limit, rule } from '../fixtures.ts';
import { post, routeTo, startLimiter, until, type Running } from '../running.ts';
import { HOUR, tokens } from '../store/fixtures.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const OBJECT = 'ModelRoute/serving/chat';
const CHAT = { model: 'm', messages: [] };

async function upstreamOf(serve: RequestListener): Promise<string> {
  const server = createServer(serve).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A limiter in front of an upstream, and the records of what it served. */
async function recorded(
  serve: RequestListener,
  change: Partial<LimiterConfig> = {},
): Promise<[string, RequestRecord[], Running]> {
  const url = await upstreamOf(serve);
  const records: RequestRecord[] = [];
  const observers = [
    () => {
      throw new Error('an observer that fails');
    },
    (record: RequestRecord) => records.push(record),
  ];
  const running = await startLimiter(
    [routeTo(url, { limits: [limit({ rule: tokens(1, HOUR) })], ...change })],
    {},
    { observers },
  );
  closers.push(() => running.close());
  return [running.traffic, records, running];
}

const answering: RequestListener = (_request, response) => response.end('{}');

describe('a request has one record, when it', () => {
  test('is admitted, and when a limit refuses it', async () => {
    const [traffic, records] = await recorded(answering);
    await (await post(`${traffic}/v1/chat/completions`, CHAT)).text();
    expect((await post(`${traffic}/v1/chat/completions`, CHAT)).status).toBe(429);
    await until(() => records.length === 2);
    const common = { placing: 'object', object: OBJECT, endpoint: 'openai.chat' };
    expect(records).toMatchObject([
      { ...common, ending: 'answered', status: 200, source: 'upstream', decision: { kind: 'allowed' } },
      { ...common, ending: 'refused', status: 429, source: 'limiter', decision: { kind: 'denied' } },
    ]);
    for (const record of records) {
      expect(record.durationMs).toBeGreaterThanOrEqual(record.decisionMs ?? Infinity);
      expect(record).not.toHaveProperty('inputTokens');
      expect(record).not.toHaveProperty('code');
    }
  });

  test('is refused before routing, or belongs nowhere', async () => {
    const [traffic, records, running] = await recorded(answering);
    expect((await post(`${traffic}/v1/chat/completions`, { ...CHAT, model: 'n' })).status).toBe(404);
    expect((await post(`${traffic}/v1/chat/completions`, '{"model":"m","model":"n"}')).status).toBe(400);
    const client = await WireClient.dial(traffic);
    await client
      .send('GET /v1/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
      .take('HTTP/1.1 426 ');
    client.socket.destroy();
    await until(() => records.length === 3);
    expect(records.map(({ status, code, source, ending }) => [status, code, source, ending])).toEqual([
      [404, expect.any(String), 'limiter', 'refused'],
      [400, 'invalid_request', 'limiter', 'refused'],
      [426, 'upgrade_required', 'limiter', 'refused'],
    ]);
    expect(records.every(({ decision }) => decision === undefined)).toBe(true);
    const text = await (await fetch(`${running.admin}/metrics`)).text();
    expect(text).toContain('weir_unrouted_requests_total{outcome="not_found"} 1');
  });

  test('loses its client', async () => {
    let isReached = false;
    const [traffic, records] = await recorded(() => {
      isReached = true;
    });
    const { hostname, port } = new URL(traffic);
    const socket = connect(Number(port), hostname);
    const body = JSON.stringify(CHAT);
    const head = `Host: a\r\nContent-Type: application/json\r\nContent-Length: ${body.length}`;
    socket.write(`POST /v1/chat/completions HTTP/1.1\r\n${head}\r\n\r\n${body}`);
    await until(() => isReached);
    socket.destroy();
    await until(() => records.length === 1);
    expect(records).toMatchObject([{ object: OBJECT, ending: 'client_left', decision: { kind: 'allowed' } }]);
    expect(records[0]).not.toHaveProperty('status');
  });

  test.each<[string, RequestListener, Partial<RequestRecord>]>([
    [
      'gets no answer',
      (request) => request.socket.destroy(),
      { ending: 'refused', status: 502, source: 'limiter', code: 'upstream_unreachable' },
    ],
    [
      'gets half an answer',
      (request, response) => {
        response.write('half');
        setImmediate(() => request.socket.destroy());
      },
      { ending: 'cut', status: 200, source: 'upstream' },
    ],
  ])('%s of its upstream', async (_name, serve, expected) => {
    const [traffic, records] = await recorded(serve);
    await post(`${traffic}/v1/chat/completions`, CHAT).then(
      (answer) => answer.text().catch(() => undefined),
      () => undefined,
    );
    await until(() => records.length === 1);
    expect(records).toMatchObject([{ object: OBJECT, ...expected }]);
  });

  test('is upgraded, and names a model that no route claims', async () => {
    const server = await webSocketEcho();
    closers.push(() => {
      server.close();
    });
    const records: RequestRecord[] = [];
    const claimed = routeTo(`http://127.0.0.1:${server.port}`, {}, { models: ['m'], rules: [rule({ targets: [] })] });
    const observers = [(record: RequestRecord) => records.push(record)];
    const running = await startSidecar(server.port, [claimed], {}, { observers });
    closers.push(() => running.close());
    const client = await WireClient.dial(running.traffic);
    const key = 'Sec-WebSocket-Key: eA==\r\n';
    await client
      .send(
        `GET /v1/realtime?model=other HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${key}\r\n`,
      )
      .take('101 ');
    await until(() => records.length === 1);
    expect(records).toMatchObject([
      { placing: 'forwarded', endpoint: 'openai.realtime', ending: 'upgraded', status: 101, unclaimedModel: 'other' },
    ]);
    const text = await (await fetch(`${running.admin}/metrics`)).text();
    expect(text).toContain('weir_unclaimed_requests_total{endpoint="openai.realtime"} 1');
    client.socket.destroy();
  });
});

test('callers are hashed: the same one has the same text, and none is readable', () => {
  const whoIs = (user?: string): RequestRecord['who'] => {
    const notes = new RequestNotes();
    notes.identity = { attributes: {}, clientAddress: '192.0.2.1', ...(user === undefined ? {} : { user }) };
    return notes.record({ requestId: 'r', object: undefined, method: 'GET', path: '/', durationMs: 1 }).who;
  };
  expect(whoIs('ann')).toEqual({ user: expect.stringMatching(/^[0-9a-f]{16}$/) });
  expect(whoIs('ann')).toEqual(whoIs('ann'));
  expect(whoIs('ann')).not.toEqual(whoIs('bob'));
  expect(whoIs()).toBeUndefined();
});
