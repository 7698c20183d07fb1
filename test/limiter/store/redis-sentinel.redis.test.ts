// The Redis store behind Redis Sentinel: the contract again, and a fail-over in the middle of traffic.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import type { RedisStore } from '../../../src/limiter/store/redis-store.ts';
import { waitFor } from '../../../tools/node-cluster/wait.ts';
import { describeOnRedis } from '../../rig/redis/describe-redis.ts';
import { startRedisSentinel, type SentinelSetup } from '../../rig/redis/redis-server.ts';
import { storeContract } from './contract.ts';
import { bucket, HOUR, take, tokens } from './fixtures.ts';
import { redisStore, timedScript, timeKey } from './redis-fixtures.ts';

describeOnRedis('Redis Sentinel', () => {
  let setup: SentinelSetup;
  let timed: RedisStore;
  let client: Redis;

  beforeAll(async () => {
    setup = await startRedisSentinel();
    const { masterName, sentinels } = setup;
    timed = redisStore(
      { sentinel: { masterName, addresses: sentinels.map(({ address }) => address) } },
      { script: timedScript },
    );
    client = new Redis({ name: masterName, sentinels: sentinels.map(({ port }) => ({ port, host: '127.0.0.1' })) });
  }, 60_000);

  afterAll(async () => {
    await timed.close();
  });

  storeContract('Redis Sentinel', () => ({
    store: timed,
    setTime: async (micros) => {
      await client.set(timeKey('team'), micros);
    },
  }));

  test('traps 8, 26: after a fail-over the new master goes on with what the old one had replicated', async () => {
    const { masterName, sentinels, master, replica } = setup;
    client.disconnect(); // it would look for a new master too
    const store = redisStore({ sentinel: { masterName, addresses: sentinels.map(({ address }) => address) } });
    const one = bucket(tokens(10, HOUR));
    expect((await store.reserve(take([one, 4]))).outcome).toBe('admitted');
    await waitFor(
      'replication',
      async () => ((await replica.ask(`EXISTS ${one.key}`)).startsWith(':1') ? true : undefined),
      {
        deadlineMs: 5000,
      },
    );
    await master.kill();
    const decision = await waitFor('the new master', () => store.reserve(take([one, 1])), {
      deadlineMs: 90_000, // sentinels on a starved machine sit still (TILT) for 30 s at a time
      everyMs: 100,
    });
    expect(decision.states[0]?.remaining).toBe(5);
    expect(await replica.ask('ROLE')).toContain('master');
    await store.close();
  });
});
