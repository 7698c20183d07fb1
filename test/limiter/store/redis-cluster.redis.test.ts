// The Redis store on a real Redis Cluster of three: the contract again, and one slot per script call.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Cluster } from 'ioredis';
import { hashTag } from '../../../src/limiter/store/takes.ts';
import { markerOf } from '../../../src/limiter/store/decide-script.ts';
import { loadScript } from '../../../src/limiter/store/lua-script.ts';
import type { RedisStore } from '../../../src/limiter/store/redis-store.ts';
import { waitFor } from '../../../tools/node-cluster/wait.ts';
import { describeOnRedis } from '../../rig/redis/describe-redis.ts';
import { startRedisCluster, type RedisServer } from '../../rig/redis/redis-server.ts';
import { storeContract } from './contract.ts';
import { bucket, HOUR, newKey, take, tokens, truth } from './fixtures.ts';
import { plainClient, redisStore, timedScript, timeKey } from './redis-fixtures.ts';

describeOnRedis('Redis Cluster', () => {
  let servers: RedisServer[];
  let timed: RedisStore;
  let store: RedisStore;
  let cluster: Cluster;

  beforeAll(async () => {
    servers = await startRedisCluster();
    const addresses = servers.map(({ address }) => address);
    timed = redisStore({ cluster: { addresses } }, { script: timedScript });
    store = redisStore({ cluster: { addresses: addresses.slice(0, 1) } });
    cluster = new Cluster(servers.map(({ port }) => ({ port, host: '127.0.0.1' })));
  }, 60_000);

  afterAll(async () => {
    await Promise.all([timed.close(), store.close()]);
    cluster.disconnect();
  });

  storeContract('Redis Cluster', () => ({
    store: timed,
    setTime: async (micros) => {
      await cluster.set(timeKey('team'), micros);
    },
  }));

  test('trap 7: every script call has the keys of one slot, whatever a tick asks', async () => {
    const calls: string[][] = [];
    const monitors = await Promise.all(servers.map(({ port }) => plainClient(port).monitor()));
    for (const monitor of monitors)
      monitor.on('monitor', (_time: string, args: string[]) => {
        if (/^eval(sha)?$/i.test(args[0] ?? '')) calls.push(args);
      });
    const namespaces = Array.from({ length: 20 }, (_, index) => `ns-${index}`);
    const reservations = namespaces.flatMap((namespace) =>
      Array.from({ length: 10 }, () =>
        take([bucket(tokens(5, HOUR), newKey(namespace)), 1], [bucket(tokens(5, HOUR), newKey(namespace)), 1]),
      ),
    );
    const decisions = await Promise.all(reservations.map((reservation) => store.reserve(reservation)));
    expect(decisions.every(({ outcome }) => outcome === 'admitted')).toBe(true);
    const settled = await Promise.all(reservations.map((reservation) => store.settle(truth(reservation, [1, 0]))));
    expect(settled.every(Boolean)).toBe(true);
    const keysOf = (args: string[]): string[] => args.slice(3, 3 + Number(args[2]));
    const expected = reservations.flatMap((reservation) => [
      ...reservation.takes.map(({ bucket: { key } }) => key),
      markerOf(hashTag(reservation.takes[0]!.bucket.key), 'settle', reservation).key,
    ]);
    const seen = await waitFor(
      'all calls in the monitors',
      () => {
        const keys = new Set(calls.flatMap(keysOf));
        return expected.every((key) => keys.has(key)) ? keys : undefined;
      },
      { deadlineMs: 5000 },
    ).finally(() => {
      for (const monitor of monitors) monitor.disconnect();
    });
    const slots = new Map<string, number>();
    for (const key of seen) slots.set(key, await cluster.nodes('master')[0]!.cluster('KEYSLOT', key));
    for (const call of calls) expect(new Set(keysOf(call).map((key) => slots.get(key))).size).toBe(1);
    expect(new Set(slots.values()).size).toBe(namespaces.length);
    // One call per namespace and tick: reserving and settling; a server that did not know the script was asked twice.
    expect(calls.length).toBeLessThanOrEqual(namespaces.length * 4);
  });

  test('trap 8: nodes that have forgotten the script are sent it again', async () => {
    const { sha } = loadScript('decide');
    const refs = Array.from({ length: 12 }, (_, index) => bucket(tokens(5, HOUR), newKey(`forget-${index}`)));
    await Promise.all(cluster.nodes('master').map((node) => node.script('FLUSH')));
    const decisions = await Promise.all(refs.map((ref) => store.reserve(take([ref, 1]))));
    expect(decisions.map(({ states }) => states[0]?.remaining)).toEqual(refs.map(() => 4));
    const known = await Promise.all(cluster.nodes('master').map((node) => node.script('EXISTS', sha)));
    expect(known).toEqual([[1], [1], [1]]);
  });

  test('a shard that cannot be written to is an outage of its own namespaces, not of the others', async () => {
    const circuit: string[] = [];
    const addresses = servers.map(({ address }) => address);
    const own = redisStore({ cluster: { addresses } }, { onCircuit: (_endpoint, state) => circuit.push(state) });
    const namespaces = Array.from({ length: 12 }, (_, index) => `shard-${index}`);
    const outcomeOf = (namespace: string): Promise<string> =>
      own.reserve(take([bucket(tokens(5, HOUR), newKey(namespace)), 1])).then(
        ({ outcome }) => outcome,
        (error: unknown) => (error as { reason: string }).reason,
      );
    const outcomes = (): Promise<string[]> => Promise.all(namespaces.map(outcomeOf));
    const SOON = { deadlineMs: 15_000, everyMs: 20 };
    await waitFor('all', async () => (await outcomes()).every((each) => each === 'admitted') || undefined, SOON);
    await servers[0]!.ask('CONFIG SET maxmemory 1');
    const seen = await waitFor(
      'its circuits',
      async () => {
        const now = await outcomes();
        return now.every((each) => each === 'admitted' || each === 'circuit-open') && now.includes('circuit-open')
          ? now
          : undefined;
      },
      SOON,
    );
    expect(seen).toContain('admitted');
    expect(await outcomes()).toEqual(seen);
    expect(circuit).toEqual(['open']);
    await servers[0]!.ask('CONFIG SET maxmemory 0');
    await waitFor('all', async () => (await outcomes()).every((each) => each === 'admitted') || undefined, SOON);
    expect(circuit).toEqual(['open', 'closed']);
    await own.close();
  });

  test('a node that is gone takes only its own namespaces with it', async () => {
    const refs = Array.from({ length: 12 }, (_, index) => bucket(tokens(5, HOUR), newKey(`gone-${index}`)));
    await Promise.all(refs.map((ref) => store.reserve(take([ref, 1]))));
    for (const server of servers) await server.ask('CONFIG SET cluster-require-full-coverage no');
    await servers[2]!.kill();
    const outcomes = await waitFor(
      'some namespaces answered, some not',
      async () => {
        const results = await Promise.allSettled(refs.map((ref) => store.reserve(take([ref, 0]))));
        const answered = results.filter(({ status }) => status === 'fulfilled').length;
        return answered > 0 && answered < refs.length ? results : undefined;
      },
      { deadlineMs: 10_000 },
    );
    for (const outcome of outcomes)
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ name: 'StoreUnavailable' });
  });
});
