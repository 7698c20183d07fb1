// The operator without a cluster: manifests from a folder, a real push port, statuses served; and what it keeps over
// a restart.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { runOperator } from '../../src/controller/main.ts';
import type { RunningOperator } from '../../src/controller/settings.ts';
import { silentLogger } from '../../src/lib/log.ts';
import { ConfigClient } from '../../src/limiter/config/config-client.ts';
import { waitFor } from '../../tools/node-cluster/wait.ts';
import { TestLimiter, verdict, type Status } from './operator-rig.ts';

const SOON = { deadlineMs: 8000, everyMs: 20 };

let folder = '';
let ends: (() => Promise<void>)[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weir-standalone-'));
});

afterEach(async () => {
  for (const end of ends.reverse()) await end();
  ends = [];
  await rm(folder, { recursive: true, force: true });
});

async function put(name: string, rateLimiting: unknown): Promise<void> {
  const spec = { modelName: 'm', targets: [{ url: 'http://127.0.0.1:9' }], rateLimiting };
  const manifest = { apiVersion: 'weir.dev/v1alpha1', kind: 'ModelRoute', metadata: { name }, spec };
  await writeFile(join(folder, `${name}.json`), JSON.stringify(manifest));
}

function limits(maxTokens: number): unknown {
  return { limits: [{ name: 'requests', measure: 'Requests', bucket: { maxTokens, refillPeriod: '1h' } }] };
}

async function start(defaultMemory = true): Promise<RunningOperator> {
  const any = { host: '127.0.0.1', port: 0 };
  const state = await mkdtemp(join(tmpdir(), 'weir-state-'));
  const operator = await runOperator({
    source: { kind: 'files', folder, token: 'secret', lastGoodFile: join(folder, '.last-good') },
    pushListen: any,
    adminListen: any,
    tlsDir: join(state, 'tls'),
    tlsNames: [],
    defaultMemory,
    egressAllow: [],
    logLevel: 'error',
    log: silentLogger(),
  });
  ends.push(async () => {
    await operator.stop();
    await rm(state, { recursive: true, force: true });
  });
  return operator;
}

async function limiterOf(operator: RunningOperator): Promise<TestLimiter> {
  const tokenFile = join(folder, 'token');
  await writeFile(tokenFile, 'secret');
  const client = new ConfigClient({
    operator: `127.0.0.1:${operator.pushPort}`,
    caFile: operator.caFile,
    tokenFile,
    self: { nodeId: 'laptop', version: 'test' },
    log: silentLogger(),
  });
  const limiter = new TestLimiter(client, () => undefined);
  await limiter.start();
  ends.push(() => limiter.close());
  return limiter;
}

const ask = async (operator: RunningOperator, path: string): Promise<Response> =>
  fetch(`http://127.0.0.1:${operator.adminPort}${path}`);

const statusUntil = (operator: RunningOperator, is: (status: Status) => boolean): Promise<Status> =>
  waitFor(
    'the status',
    async () => {
      const { objects } = (await (await ask(operator, '/status')).json()) as { objects: { status: Status | null }[] };
      const status = objects[0]?.status ?? {};
      if (is(status)) return status;
      throw new Error(JSON.stringify(status));
    },
    SOON,
  );

describe('operator on a folder', () => {
  test('an edit of a file reaches the limiter, and /status says so', async () => {
    await put('chat', limits(5));
    const operator = await start();
    expect((await ask(operator, '/readyz')).status).toBe(200);
    expect((await ask(operator, '/livez')).status).toBe(200);
    const limiter = await limiterOf(operator);
    const first = await statusUntil(operator, (status) => verdict(status) === 'True Ready');
    await put('chat', limits(6));
    const second = await statusUntil(operator, ({ configVersion }) => configVersion !== first.configVersion);
    await statusUntil(operator, (status) => verdict(status) === 'True Ready' && status.observedGeneration === 2);
    expect(limiter.held.get('ModelRoute/default/chat')?.version).toBe(second.configVersion);
    await rm(join(folder, 'chat.json'));
    await waitFor('the removal', () => (limiter.held.has('ModelRoute/default/chat') ? undefined : true), SOON);
    expect(await (await ask(operator, '/metrics')).text()).toContain('weir_push_latency_seconds_count');
    expect((await ask(operator, '/elsewhere')).status).toBe(404);
  });

  test('what only the status refuses leaves the last good form in force, also after a restart', async () => {
    await put('chat', limits(5));
    const operator = await start();
    const good = await statusUntil(operator, ({ configVersion }) => configVersion !== undefined);
    await put('chat', { ...(limits(5) as object), consistency: 'Leased' });
    const refused = (status: Status): boolean => verdict(status, 'Accepted') === 'False NotSupported';
    expect((await statusUntil(operator, refused)).configVersion).toBe(good.configVersion);
    await operator.stop();
    const second = await start();
    expect((await statusUntil(second, refused)).configVersion).toBe(good.configVersion);
  });

  test('without any store, scope Shared is refused by name', async () => {
    await put('chat', limits(5));
    const operator = await start(false);
    await statusUntil(operator, (status) => verdict(status, 'Accepted') === 'False RedisRequired');
  });
});
