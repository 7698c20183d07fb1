// End to end 52: what sidecars admit on their own while Redis is away, in a cluster with other limiters; and what the
// status says of a Redis that answers and cannot be written to.
import { beforeAll, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { loopback } from '../../tools/node-cluster/servers.ts';
import { waitFor } from '../../tools/node-cluster/wait.ts';
import type { Limiter } from '../rig/stack/weir-stack.ts';
import { conditionOf, describeEndToEnd } from './harness.ts';
import { requestLimit, refOf, type Manifest } from './manifests.ts';
import { startSidecar } from './sidecar.ts';
import { call, chat, flood, tally, type Answer } from './traffic.ts';

const WEB = { app: 'web' };
const SOON = { deadlineMs: 20_000, everyMs: 50 };
/** Exact counts need a store that answers in time, however busy the machine. */
const FLAGS = ['--store-deadline', '500ms'];

interface Dump {
  readonly fleet: { readonly knownLimiters: number };
  readonly sharers: Readonly<Record<string, number>>;
  readonly versions: Readonly<Record<string, string>>;
}

describeEndToEnd('shares in an outage', { limiters: 0 }, (e2e) => {
  const web: Limiter[] = [];
  const others: Limiter[] = [];

  const route = (name: string, limit: number, failurePolicy = 'Local'): Manifest =>
    e2e().route(
      `shop/${name}`,
      { failurePolicy, limits: [requestLimit('all', limit)] },
      { modelName: name, targets: undefined, workloadSelector: { matchLabels: WEB } },
    );
  const dumpOf = async ({ adminUrl }: Limiter): Promise<Dump> =>
    JSON.parse((await call(`${adminUrl}/config_dump`)).body) as Dump;
  /** Until each of the sidecars divides by `count`. */
  const untilSharers = (name: string, count: number): Promise<true> =>
    waitFor(
      `${count} sharers of ${name}`,
      async () => {
        const dumps = await Promise.all(web.map(dumpOf));
        return dumps.every(({ sharers }) => sharers[`ModelRoute/shop/${name}`] === count) || undefined;
      },
      SOON,
    );
  const ask = (model: string, calls: number, of = web): Promise<Answer[]> =>
    flood(calls, 6, (index) => chat(of[index % of.length]!.url, model));
  const sidecar = (namespace: string, pod: string, labels: Record<string, string>): Promise<Limiter> =>
    startSidecar(e2e(), { namespace, pod, labels, upstream: e2e().upstreamUrl, flags: FLAGS });
  const untilServes = async (model: string): Promise<void> => {
    await waitFor(
      'every sidecar to be answered by Redis',
      async () => {
        const answers = await Promise.all(web.map(({ url }) => chat(url, model)));
        return (
          answers.every(({ status, headers }) => status === 200 && 'x-ratelimit-limit-requests' in headers) || undefined
        );
      },
      SOON,
    );
  };

  const untilDegraded = async (name: string, beginning: string): Promise<void> => {
    await waitFor(
      beginning,
      async () => {
        const { reason, message = '' } = conditionOf(await e2e().get(refOf(route(name, 1))), 'Degraded') ?? {};
        return (reason === 'StoreUnreachable' && message.startsWith(beginning)) || undefined;
      },
      SOON,
    );
  };

  beforeAll(async () => {
    for (const namespace of ['shop', 'elsewhere']) await e2e().makeNamespace(namespace);
    for (const number of [1, 2, 3]) web.push(await sidecar('shop', `web-${number}`, WEB));
    // Neighbours in the namespace, a sidecar and a shared limiter of another one: of the cluster, not of these buckets.
    for (const number of [1, 2]) others.push(await sidecar('shop', `batch-${number}`, { app: 'batch' }));
    others.push(await sidecar('elsewhere', 'far-1', WEB));
    others.push(await e2e().weir.startLimiter({ id: 'shared-1', flags: ['--namespace', 'elsewhere', ...FLAGS] }));
    // This one has the object, too, and nowhere to send its calls to.
    others.push(await e2e().weir.startLimiter({ id: 'shared-2', flags: FLAGS }));
  }, 120_000);

  test('trap 52: 3 sidecars of 8 limiters, a fresh bucket of 7, Redis is killed: 6 of 60 pass, the rest is 503', async () => {
    const [spare, fresh] = [route('spare', 1000, 'Closed'), route('fresh', 7)];
    for (const manifest of [spare, fresh]) {
      await e2e().apply(manifest);
      await e2e().untilCondition(refOf(manifest), 'Ready', { status: 'True', summary: '4/4' });
    }
    await untilSharers('fresh', 3);
    await waitFor('a fleet of 8', async () => (await dumpOf(web[0]!)).fleet.knownLimiters === 8 || undefined, SOON);
    await untilServes('spare');
    await e2e().redis.kill();
    const answers = await ask('fresh', 60);
    const bySidecar = web.map((_, at) => tally(answers.filter((_answer, index) => index % web.length === at)));
    expect(bySidecar).toEqual(web.map(() => ({ 200: 2, 503: 18 })));
    expect(tally(answers)).toEqual({ 200: 6, 503: 54 });
    for (const { headers, body } of answers.filter(({ status }) => status === 503)) {
      expect(headers['retry-after']).toBe('5');
      expect(JSON.parse(body)).toMatchObject({ error: { code: 'store_unavailable' } });
    }
    await untilDegraded('fresh', `${e2e().redisAddress}: ECONNREFUSED. 4 of 4 limiters`);
    // A sidecar that starts anew in the outage has no second share, and one that goes leaves its own to nobody.
    await web[0]!.server.kill();
    await web[0]!.server.start();
    await waitFor('it', async () => (await call(`${web[0]!.adminUrl}/livez`)).status === 200 || undefined, SOON);
    await e2e().cluster.mustKubectl(['delete', 'pod', 'web-3', '--namespace', 'shop', '--force', '--grace-period=0']);
    expect(tally(await ask('fresh', 60, web.slice(0, 2)))).toEqual({ 503: 60 });
    await e2e().redis.start();
    web.length = 2;
    await untilServes('spare');
    await untilSharers('fresh', 2);
  });

  test('a scale-up is told to the sharers of the object, and no config is sent again', async () => {
    const versionsOf = async (): Promise<unknown> => {
      const { versions } = await dumpOf(web[0]!);
      return Object.entries(versions).filter(([name]) => !name.startsWith('Fleet/'));
    };
    const before = await versionsOf();
    web.push(await sidecar('shop', 'web-4', WEB));
    await untilSharers('fresh', 3);
    expect(await versionsOf()).toEqual(before);
    for (const limiter of others.slice(0, -1)) expect((await dumpOf(limiter)).sharers).toEqual({});
    const noShare = { 'ModelRoute/shop/spare': 0, 'ModelRoute/shop/fresh': 0 };
    expect((await dumpOf(others.at(-1)!)).sharers).toEqual(noShare);
  });

  test('trap 44: a Redis that is a replica now: 503 by failurePolicy, the status quotes it, and it ends by itself', async () => {
    const ref = refOf(route('spare', 1000));
    await untilServes('spare');
    const redis = new Redis(e2e().weir.ports.redis, loopback);
    await redis.call('REPLICAOF', loopback, '1');
    try {
      await untilDegraded(
        'spare',
        `${e2e().redisAddress}: READONLY You can't write against a read only replica. 4 of 4 limiters`,
      );
      expect(tally(await ask('spare', 20))).toEqual({ 503: 20 });
    } finally {
      await redis.call('REPLICAOF', 'NO', 'ONE');
      redis.disconnect();
    }
    await untilServes('spare');
    await e2e().untilCondition(ref, 'Degraded', { status: 'False', reason: 'Healthy' });
  });
});
