// A throw at every stage of a request, on every port: the process lives (Jest fails a test for what nobody catches),
// the client gets an answer or a cut connection, the reservation is settled exactly once, nothing stays in flight,
// and the next request is served.
import { ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import type { LimitConfig } from '../../src/contract/limiter-config.ts';
import { capturingLogger } from '../lib/capturing-logger.ts';
import { exchange, requestBytes, type WireAnswer } from '../hostile/wire.ts';
import { startRawUpstream, type RawUpstream } from '../rig/upstream/raw-upstream.ts';
import { limit, mcpRouting } from './fixtures.ts';
import type { Running } from './running.ts';
import { HOUR, tokens, window } from './store/fixtures.ts';

/** The function that throws now, as `file.name`; and how often it did. */
let faulty = '';
let thrown = 0;

function throwIf(name: string): void {
  if (name !== faulty) return;
  thrown += 1;
  throw new Error(`injected into ${name}`);
}

/** Replaces functions of a module by ones that throw when they are told to, and else do what they did. */
async function withThrows(path: string, ...names: readonly string[]): Promise<void> {
  const real = (await import(path)) as Record<string, (...args: unknown[]) => unknown>;
  const wrapped = names.map((name) => {
    const throwing = (...args: unknown[]): unknown => {
      throwIf(name);
      return real[name]!(...args);
    };
    return [name, throwing] as const;
  });
  jest.unstable_mockModule(path, () => ({ ...real, ...Object.fromEntries(wrapped) }));
}

interface Class {
  readonly prototype: object;
}

/** Calls `hook` before each call of a method. @returns undoes it */
function before(type: Class, name: string, hook: (...args: unknown[]) => void): () => void {
  const methods = type.prototype as Record<string, (...args: unknown[]) => unknown>;
  const real = methods[name]!;
  methods[name] = function (this: unknown, ...args: unknown[]): unknown {
    hook(...args);
    return Reflect.apply(real, this, args);
  };
  return () => {
    methods[name] = real;
  };
}

/** Calls `hook` with the object and the result after each call of a method that resolves. */
function after(type: Class, name: string, hook: (target: unknown, result: unknown) => void): void {
  const methods = type.prototype as Record<string, (...args: unknown[]) => unknown>;
  const real = methods[name]!;
  methods[name] = async function (this: unknown, ...args: unknown[]): Promise<unknown> {
    const result = await Reflect.apply(real, this, args);
    hook(this, result);
    return result;
  };
}

function methodsThrow(type: Class, ...names: readonly string[]): void {
  for (const name of names) {
    before(type, name, () => {
      throwIf(name);
    });
  }
}

const SOURCE = '../../src/limiter';
await withThrows(`${SOURCE}/request/body.ts`, 'readBody');
await withThrows(`${SOURCE}/proxy/incoming.ts`, 'readHead', 'readIncoming');
await withThrows(`${SOURCE}/identity/identity.ts`, 'establishIdentity', 'factsOf');
await withThrows(`${SOURCE}/proxy/http-headers.ts`, 'requestHeaders', 'responseHeaders');
await withThrows(`${SOURCE}/proxy/answer-head.ts`, 'checkHead');
await withThrows(`${SOURCE}/refusal/render.ts`, 'allowedHeaders', 'renderRefusal', 'renderError');
await withThrows(`${SOURCE}/decision-api/decision-subject.ts`, 'subjectOf');
await withThrows(`${SOURCE}/decision-api/decision-answers.ts`, 'decideAnswer', 'errorAnswer', 'explainAnswer');
const { RouteIndex } = await import('../../src/limiter/route/route-index.ts');
const { Decider } = await import('../../src/limiter/decide/decide.ts');
const { Admission } = await import('../../src/limiter/decide/admission.ts');
const { MemoryStore } = await import('../../src/limiter/store/memory-store.ts');
const { Dialer } = await import('../../src/limiter/proxy/dialer.ts');
const { Upstreams } = await import('../../src/limiter/proxy/upstream.ts');
const { UpstreamHealth } = await import('../../src/limiter/health/upstream-health.ts');
const { McpSessions } = await import('../../src/limiter/proxy/sessions.ts');
const { Configured } = await import('../../src/limiter/config/configured.ts');
const { ConfigApplier } = await import('../../src/limiter/config/config-applier.ts');
const { Unclaimed } = await import('../../src/limiter/proxy/unclaimed.ts');
const { LimiterMetrics } = await import('../../src/limiter/metrics.ts');
const { mcpTo, post, routeTo, startLimiter, until } = await import('./running.ts');
methodsThrow(RouteIndex, 'resolve', 'claim');
methodsThrow(Decider, 'decide', 'explain', 'report');
methodsThrow(Dialer, 'dial');
methodsThrow(Upstreams, 'relay');
methodsThrow(UpstreamHealth, 'answered', 'unreachable');
methodsThrow(McpSessions, 'opened', 'versionOf');
methodsThrow(Configured, 'whenDecided');
methodsThrow(ConfigApplier, 'versions');
methodsThrow(Unclaimed, 'started', 'passes', 'pass', 'mayUpgrade', 'upgrade');

/** Reservations that were made, and settlements of each, counted where nothing of the proxy is between. */
const settled = new Map<string, number>();
after(Decider, 'decide', (_decider, decided) => {
  const { admission } = decided as { readonly admission?: { readonly id: string } };
  if (admission !== undefined) settled.set(admission.id, 0);
});
after(Admission, 'settle', (admission, outcome) => {
  const { id } = admission as { readonly id: string };
  if (outcome !== 'repeated') settled.set(id, (settled.get(id) ?? 0) + 1);
});
methodsThrow(MemoryStore, 'reserve', 'settle');

const METRICS = ['requestsInFlight', 'decided', 'recorded', 'httpFault'];
methodsThrow(LimiterMetrics, ...METRICS);

let upstream: RawUpstream;
let running: Running;
let lines: string[];
beforeEach(async () => {
  upstream = await startRawUpstream(() => OK);
  const { log, lines: written } = capturingLogger();
  lines = written;
  const bucket = (change: Partial<LimitConfig> = {}): LimitConfig[] => [limit({ rule: tokens(50, HOUR), ...change })];
  const tools = mcpRouting({ targets: [{ url: upstream.url, weight: 1 }], pathPrefix: '/mcp' });
  running = await startLimiter(
    [
      routeTo(upstream.url, { limits: bucket() }),
      routeTo(upstream.url, { name: 'full', limits: bucket({ rule: window(0, 'Day') }) }, { models: ['full'] }),
      routeTo('http://127.0.0.1:1', { name: 'dead', limits: bucket() }, { models: ['dead'] }),
      mcpTo(upstream.url, { limits: bucket(), routing: tools }),
    ],
    {},
    { logger: log },
  );
});
afterEach(async () => {
  [faulty, thrown] = ['', 0];
  for (const restore of repairs.splice(0)) restore();
  await running.close();
  await upstream.close();
});
const repairs: (() => void)[] = [];

const OK = 'HTTP/1.1 200 OK\r\nMcp-Session-Id: s\r\nContent-Length: 2\r\n\r\nok';
const CALL = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}';
const OPEN = '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}';
const chat = (model: string): string => JSON.stringify({ model, messages: [] });

interface Sent {
  readonly path: string;
  readonly body: string;
}
const CHAT: Sent = { path: '/v1/chat/completions', body: chat('m') };
const FULL: Sent = { path: '/v1/chat/completions', body: chat('full') };
const DEAD: Sent = { path: '/v1/chat/completions', body: chat('dead') };
const NOBODY: Sent = { path: '/v1/chat/completions', body: chat('nobody') };
const TOOL: Sent = { path: '/mcp', body: CALL };
const OPENING: Sent = { path: '/mcp', body: OPEN };
const NO_HTTP: Sent = { path: '/a b', body: '' };

function send({ path, body }: Sent, base = running.traffic): Promise<WireAnswer> {
  const { host } = new URL(base);
  return exchange(requestBytes({ path, body, headers: { 'Content-Type': 'application/json' } }, host), host);
}

async function metrics(): Promise<string[]> {
  return (await (await fetch(`${running.admin}/metrics`)).text()).split('\n');
}

/** After `faulty` has thrown: all is as if nothing had been. */
async function checkAlive(): Promise<void> {
  [faulty, thrown] = ['', 0];
  expect(await send(CHAT)).toMatchObject({ status: 200, body: 'ok' });
  await until(async () => (await metrics()).includes('weir_requests_in_flight 0'));
  expect([...settled.values()].filter((times) => times !== 1)).toEqual([]);
  settled.clear();
}

/** The injected error is logged once, under a constant message, and counted. */
async function checkNoted(place: string): Promise<void> {
  const noted = lines.filter((line) => line.includes('injected into'));
  expect(noted.map((line) => JSON.parse(line) as object)).toMatchObject([{ message: 'internal error', place }]);
  const name = `weir_internal_errors_total{place="${place}"} `;
  expect(Number((await metrics()).find((line) => line.startsWith(name))?.slice(name.length))).toBeGreaterThan(0);
}

describe('a throw on the traffic port', () => {
  test.each<[string, Sent, readonly number[], string?]>([
    ['readHead', CHAT, [500]],
    ['readIncoming', CHAT, [500]],
    ['readBody', CHAT, [500]],
    ['whenDecided', CHAT, [500]],
    ['resolve', CHAT, [500]],
    ['establishIdentity', CHAT, [500]],
    ['establishIdentity', TOOL, [500]],
    ['factsOf', CHAT, [500]],
    ['factsOf', TOOL, [500]],
    ['versionOf', TOOL, [500]],
    ['decide', CHAT, [500]],
    ['decide', TOOL, [500]],
    ['reserve', CHAT, [500]],
    ['allowedHeaders', CHAT, [500]],
    ['allowedHeaders', TOOL, [500]],
    ['renderRefusal', FULL, [500]],
    ['renderError', NOBODY, [500]],
    ['dial', CHAT, [500]],
    ['requestHeaders', CHAT, [500]],
    ['relay', CHAT, [500]],
    ['checkHead', CHAT, [500], 'relay'],
    ['responseHeaders', CHAT, [500], 'relay'],
    ['opened', OPENING, [500], 'relay'],
    ['settle', DEAD, [502], 'settle'],
    ['answered', CHAT, [200], 'observer'],
    ['unreachable', DEAD, [502], 'observer'],
    ...METRICS.slice(0, 3).map((name): [string, Sent, number[], string] => [name, CHAT, [200], 'metrics']),
    ['recorded', NOBODY, [404], 'metrics'],
    ['httpFault', NO_HTTP, [400], 'metrics'],
  ])('in %s of %j', async (name, sent, statuses, place = 'traffic') => {
    faulty = name;
    const { status, headers } = await send(sent);
    expect([status, thrown > 0]).toEqual([status, true]);
    expect(statuses).toContain(status);
    expect(headers['x-request-id'] ?? '').toMatch(name === 'renderError' ? /./ : /^[0-9a-f-]{36}$/);
    await checkAlive();
    // Of an observer both the health of the upstream and the metrics have a method `answered`.
    if (name !== 'answered') await checkNoted(place);
  });

  test.each(['writeHead', 'write', 'end', 'flushHeaders'] as const)('in %s of the response', async (name) => {
    let isFirst = true;
    const restore = before(ServerResponse, name, () => {
      if (!isFirst) return;
      isFirst = false;
      throw new Error('injected into the response');
    });
    repairs.push(restore);
    const body = JSON.stringify({ model: 'm', messages: [], stream: true });
    const { status } = await send({ path: '/v1/chat/completions', body });
    expect([0, 200, 500]).toContain(status);
    restore();
    await checkAlive();
  });

  test('in everything that observes, at once', async () => {
    const { log } = capturingLogger();
    await running.close();
    const broken = new Proxy(log, {
      get: (target, name) => {
        if (name === 'info') return () => target;
        return () => {
          throwIf('logger');
        };
      },
    });
    class AllThrow extends LimiterMetrics {
      override requestsInFlight(): void {
        throwIf('logger');
      }
      override decided(): void {
        throwIf('logger');
      }
      override internalError(): void {
        throwIf('logger');
      }
    }
    const limits = [limit({ rule: tokens(50, HOUR) })];
    const parts = { metrics: new AllThrow(), logger: broken };
    running = await startLimiter([routeTo(upstream.url, { limits })], {}, parts);
    faulty = 'logger';
    expect((await send(CHAT)).status).toBe(200);
    expect((await send(NOBODY)).status).toBe(404);
    expect(thrown).toBeGreaterThan(3);
  });
});

describe('a throw on a sidecar, in what nobody claims', () => {
  const UPGRADE = 'GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
  const ordinary = (): Promise<WireAnswer> =>
    exchange(Buffer.from(UPGRADE.replace(/Conn.*websocket/s, 'Connection: close')), new URL(running.traffic).host);

  beforeEach(async () => {
    await running.close();
    const routes = [routeTo(upstream.url, { limits: [limit({ rule: tokens(50, HOUR) })] })];
    const { log, lines: written } = capturingLogger();
    lines = written;
    running = await startLimiter(routes, { mode: 'sidecar', upstream: upstream.url }, { logger: log });
  });

  test.each<[string, string]>([
    ['started', 'GET'],
    ['passes', 'GET'],
    ['pass', 'GET'],
    ['mayUpgrade', 'upgrade'],
    ['upgrade', 'upgrade'],
    ['recorded', 'GET'],
    ['recorded', 'upgrade'],
  ])('in %s, %s', async (name, kind) => {
    faulty = name;
    const { host } = new URL(running.traffic);
    const answer = kind === 'GET' ? await ordinary() : await exchange(Buffer.from(UPGRADE), host);
    expect([answer.status, thrown > 0]).toEqual([expect.any(Number), true]);
    expect([0, 200, 426, 500, 502]).toContain(answer.status);
    [faulty, thrown] = ['', 0];
    expect((await ordinary()).status).toBe(200);
    await until(async () => (await metrics()).includes('weir_requests_in_flight 0'));
    expect(lines.filter((line) => line.includes('injected into'))).toHaveLength(1);
  });
});

describe('a throw in the decision API', () => {
  const asked = { object: { kind: 'ModelRoute', namespace: 'serving', name: 'chat' }, request: {} };
  test.each<[string, string, number]>([
    ['readBody', '/v1/decide', 500],
    ['whenDecided', '/v1/decide', 500],
    ['subjectOf', '/v1/decide', 500],
    ['decide', '/v1/decide', 500],
    ['reserve', '/v1/decide', 500],
    ['explain', '/v1/explain', 500],
    ['explainAnswer', '/v1/explain', 500],
    ['report', '/v1/report', 500],
    ['errorAnswer', '/v1/nothing', 500],
    ['decided', '/v1/decide', 200],
  ])('in %s of %s', async (name, path, status) => {
    faulty = name;
    const answer = await send({ path, body: JSON.stringify(asked) }, running.decision);
    expect(answer.status).toBe(status);
    expect(answer.headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
    expect(thrown).toBeGreaterThan(0);
    [faulty, thrown] = ['', 0];
    const next = await send({ path: '/v1/decide', body: JSON.stringify({ ...asked, mode: 'peek' }) }, running.decision);
    expect(next.status).toBe(200);
    await checkNoted(name === 'decided' ? 'metrics' : 'decision_api');
  });

  test('in its settlement', async () => {
    const reserved = await post(`${running.decision}/v1/decide`, asked);
    const { reservation } = (await reserved.json()) as { reservation: string };
    faulty = 'settle';
    expect((await post(`${running.decision}/v1/settle`, { reservation, hits: 0 })).status).toBe(500);
    faulty = '';
    await checkNoted('settle');
  });
});

describe('a throw on the admin port', () => {
  test('is 500, and the others are served', async () => {
    faulty = 'versions';
    const answer = await fetch(`${running.admin}/config_dump`);
    expect([answer.status, await answer.json()]).toMatchObject([500, { error: { code: 'internal_error' } }]);
    expect(answer.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
    faulty = '';
    for (const path of ['livez', 'readyz', 'metrics', 'config_dump'])
      expect((await fetch(`${running.admin}/${path}`)).status).toBe(200);
    await checkNoted('admin');
  });
});
