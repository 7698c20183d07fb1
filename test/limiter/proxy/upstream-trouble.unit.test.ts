// What is reported as trouble of an upstream: connections that fail, and nothing else. Each case is sent more often
// than it takes to be reported; a fault of the request, or of an answer, never is.
import type { Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { LimiterReport } from '../../../src/contract/limiter-report.ts';
import { StaticConfigSource } from '../../../src/limiter/config/config-source.ts';
import { FAILURES_TO_TELL } from '../../../src/limiter/health/upstream-health.ts';
import { freePorts } from '../../../tools/node-cluster/ports.ts';
import { exchange, requestBytes, type WireAnswer } from '../../hostile/wire.ts';
import { startRawUpstream, type RawAnswer, type RawUpstream } from '../../rig/upstream/raw-upstream.ts';
import { limit, mcpRouting } from '../fixtures.ts';
import { LOOPBACK_FLEET, mcpTo, routeTo, startLimiter, until, versioned, type Running } from '../running.ts';
import { HOUR, tokens } from '../store/fixtures.ts';

/** Hands on what the limiter reports to the operator. */
class ReportedSource extends StaticConfigSource {
  last: LimiterReport | undefined;
  report(report: LimiterReport): void {
    this.last = report;
  }
}

let upstream: RawUpstream;
let running: Running;
let source: ReportedSource;
let told: RawAnswer;
let deadPort: number;

const LIMITS = [limit({ rule: tokens(1000, HOUR) })];
const EVERYWHERE = { kind: 'Fleet', knownLimiters: 1, egressAllow: ['*', '127.0.0.0/8'] } as const;

/** Objects before `url`, and one before a port that nobody listens on. */
async function start(url: string, settings: object = {}): Promise<void> {
  [deadPort = 0] = await freePorts(1);
  const objects = versioned(
    routeTo(url, { limits: LIMITS }),
    mcpTo(url, { routing: mcpRouting({ targets: [{ url, weight: 1 }], hostnames: ['tools'] }) }),
    routeTo(`http://127.0.0.1:${deadPort}`, { name: 'dead' }, { models: ['dead'] }),
  );
  source = new ReportedSource([{ ...LOOPBACK_FLEET, resource: EVERYWHERE }, ...objects]);
  running = await startLimiter([], { source, ...settings });
}

beforeEach(async () => {
  upstream = await startRawUpstream(() => told);
});
afterEach(async () => {
  await running.close();
  await upstream.close();
});

function send(bytes?: string, model = 'm'): Promise<WireAnswer> {
  const { host } = new URL(running.traffic);
  const request = { path: '/v1/chat/completions', body: JSON.stringify({ model }) };
  return exchange(bytes === undefined ? requestBytes(request, host) : Buffer.from(bytes), host);
}

/**
 * Sends as often as must be, and once more. @returns what is reported by then, but for an upstream that is really
 * dead
 */
async function reportAfter(request?: string): Promise<LimiterReport['upstreams']> {
  for (let round = 0; round <= FAILURES_TO_TELL; round += 1) await send(request).catch(() => undefined);
  for (let round = 0; round <= FAILURES_TO_TELL; round += 1) expect((await send(undefined, 'dead')).status).toBe(502);
  const isDead = ({ object }: { readonly object: string }): boolean => object === 'ModelRoute/serving/dead';
  await until(() => source.last?.upstreams.some(isDead) === true);
  return source.last?.upstreams.filter((trouble) => !isDead(trouble)) ?? [];
}

describe('trouble', () => {
  test('a port that nobody listens on', async () => {
    const [port] = await freePorts(1);
    await start(`http://127.0.0.1:${port}`);
    expect(await reportAfter()).toMatchObject([
      { object: 'ModelRoute/serving/chat', detail: 'accepts no connections' },
    ]);
  });

  test('a name that nobody knows', async () => {
    await start('http://nobody.invalid');
    expect(await reportAfter()).toMatchObject([{ detail: 'its name cannot be resolved' }]);
  });

  test('a server that does not speak TLS', async () => {
    await upstream.close();
    const noTls = (socket: Socket): void => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
    upstream = await startRawUpstream(() => told, noTls);
    await start(upstream.url.replace('http', 'https'));
    expect(await reportAfter()).toMatchObject([{ detail: 'the TLS handshake fails' }]);
  });

  test.each<[string, RawAnswer]>([
    ['closes', (socket) => socket.end()],
    ['resets', (socket) => socket.resetAndDestroy()],
  ])('a server that %s every connection before it answers', async (_name, answer) => {
    told = answer;
    await start(upstream.url);
    expect(await reportAfter()).toMatchObject([{ detail: 'closes connections before it answers' }]);
  });
});

describe('no trouble: a fault of the request', () => {
  const head = (line: string, more = '', body = ''): string =>
    `${line} HTTP/1.1\r\nHost: tools\r\nContent-Length: ${body.length}\r\nConnection: close\r\n${more}\r\n${body}`;
  test.each<[string, string, number]>([
    ['OPTIONS *', head('OPTIONS *'), 400],
    ['a method that undici does not send', head('CONNECT tools:80'), 501],
    ['a path that ends nowhere', head('GET /%'), 400],
    ['a header that cannot go on', head('POST /', 'Upgrade: websocket\r\nConnection: upgrade\r\n'), 426],
    ['a body that does not come', head('POST /', '', 'x').replace('Length: 1', 'Length: 5'), 408],
    ['a request that the upstream refuses', head('POST /', 'x-refuse: 1\r\n', '{}'), 500],
  ])('%s', async (_name, bytes, status) => {
    told = 'HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n';
    await start(upstream.url, status === 408 ? { requestTimeoutMs: 500 } : {});
    expect((await send(bytes)).status).toBe(status);
    expect(await reportAfter(bytes)).toEqual([]);
  });
});

describe('no trouble: what came about', () => {
  test.each<[string, RawAnswer]>([
    ['an answer that is not HTTP', 'hello\r\n\r\n'],
    ['an answer that breaks off in its head', (socket) => socket.end('HTTP/1.1 200 OK\r\nX')],
    ['an answer that breaks off in its body', (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nX')],
    [
      'an upgrade that nobody asked for',
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n',
    ],
    ['a server that is slow', () => undefined],
  ])('%s', async (_name, answer) => {
    told = answer;
    await start(upstream.url, { headersTimeoutMs: 30 });
    expect(await reportAfter()).toEqual([]);
  });

  test('a client that leaves before the answer', async () => {
    told = () => undefined;
    await start(upstream.url);
    for (let round = 0; round <= FAILURES_TO_TELL; round += 1) {
      const abort = new AbortController();
      const call = fetch(`${running.traffic}/v1/chat/completions`, {
        method: 'POST',
        body: '{"model":"m"}',
        signal: abort.signal,
      });
      await until(() => upstream.count() > round);
      abort.abort();
      await call.catch(() => undefined);
    }
    await until(async () =>
      (await (await fetch(`${running.admin}/metrics`)).text()).includes('weir_requests_in_flight 0'),
    );
    told = 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n';
    expect(await reportAfter()).toEqual([]);
  });
});
