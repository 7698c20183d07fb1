// The Redis store against the contract of every store, on one real Redis.
import { afterAll, beforeAll } from '@jest/globals';
import type { Redis } from 'ioredis';
import type { RedisStore } from '../../../src/limiter/store/redis-store.ts';
import { describeOnRedis } from '../../rig/redis/describe-redis.ts';
import { startRedis } from '../../rig/redis/redis-server.ts';
import { storeContract } from './contract.ts';
import { plainClient, redisStore, timedScript, timeKey } from './redis-fixtures.ts';

describeOnRedis('Redis store', () => {
  let store: RedisStore;
  let client: Redis;

  beforeAll(async () => {
    const server = await startRedis();
    client = plainClient(server.port);
    store = redisStore({ address: server.address }, { script: timedScript });
  });

  afterAll(async () => {
    await store.close();
    client.disconnect();
  });

  storeContract('Redis', () => ({
    store,
    setTime: async (micros) => {
      await client.set(timeKey('team'), micros);
    },
  }));
});
