// How a store does, without a single decision: seen on real Redis servers that are well, evict, stop, die and want a
// password.
import { describe, expect, test } from '@jest/globals';
import type { Examination } from '../../../src/limiter/store/store.ts';
import type { RedisStore } from '../../../src/limiter/store/redis-store.ts';
import { waitFor } from '../../../tools/node-cluster/wait.ts';
import { describeOnRedis } from '../../rig/redis/describe-redis.ts';
import { startRedis, type RedisServer } from '../../rig/redis/redis-server.ts';
import { plainClient, redisStore } from './redis-fixtures.ts';

const SOON = { deadlineMs: 15_000, everyMs: 50 };

const until = (store: RedisStore, is: (seen: Examination) => boolean): Promise<Examination> =>
  waitFor(
    'the examination',
    async () => {
      const seen = await store.examine();
      return is(seen) ? seen : undefined;
    },
    SOON,
  );

async function configure(server: RedisServer, ...words: string[]): Promise<void> {
  const client = plainClient(server.port);
  await client.connect();
  await client.call(words[0]!, words.slice(1));
  client.disconnect();
}

describeOnRedis('how a store does', () => {
  test('well, evicting, well again, and not well while it is stopped', async () => {
    const server = await startRedis();
    const store = redisStore({ address: server.address });
    expect(await until(store, ({ reachable, evictionPolicy }) => reachable && evictionPolicy !== undefined)).toEqual({
      reachable: true,
      detail: '',
      evictionPolicy: 'noeviction',
    });
    await configure(server, 'CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru');
    await until(store, ({ evictionPolicy }) => evictionPolicy === 'allkeys-lru');
    server.pause();
    expect((await until(store, ({ reachable }) => !reachable)).detail).toBe('no answer in time');
    server.resume();
    await until(store, ({ reachable }) => reachable);
    await store.close();
  });

  test('killed: the word of the network, and no address in it', async () => {
    const server = await startRedis();
    const store = redisStore({ address: server.address });
    await until(store, ({ reachable }) => reachable);
    await server.kill();
    expect((await until(store, ({ detail }) => detail === 'ECONNREFUSED')).reachable).toBe(false);
    await store.close();
  });

  describe('with a password', () => {
    test.each([
      ['none is given', {}, /NOAUTH/],
      ['a wrong one is given', { password: 'wrong-secret' }, /WRONGPASS/],
    ])('%s', async (_name, login, word) => {
      const server = await startRedis();
      await configure(server, 'CONFIG', 'SET', 'requirepass', 'right-secret');
      const store = redisStore({ address: server.address }, {}, login);
      expect((await until(store, ({ reachable, detail }) => !reachable && word.test(detail))).detail).not.toContain(
        'secret',
      );
      await store.close();
    });

    test('a user without the right to INFO is well, and nothing is said of eviction', async () => {
      const server = await startRedis();
      const needed = '+time +eval +evalsha +script|load +mget +exists +set +mset +pexpireat +del'.split(' ');
      await configure(server, 'ACL', 'SETUSER', 'least', 'on', '>pw', '~*', ...needed);
      const store = redisStore({ address: server.address }, {}, { username: 'least', password: 'pw' });
      expect(await until(store, ({ reachable }) => reachable)).toEqual({ reachable: true, detail: '' });
      expect(await store.examine()).toEqual({ reachable: true, detail: '' });
      await store.close();
    });
  });
});
