// What only a real Redis shows: what is written and for how long, scripts that were forgotten, keys that hold
// rubbish, two servers.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Redis } from 'ioredis';
import type { LookupFunction } from 'node:net';
import { canonicalJson } from '../../../src/contract/snapshot.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { silentLogger } from '../../../src/lib/log.ts';
import { StoreRegistry } from '../../../src/limiter/store/create-store.ts';
import type { RedisStore } from '../../../src/limiter/store/redis-store.ts';
import { nextSerial } from '../../../src/limiter/store/store.ts';
import { describeOnRedis } from '../../rig/redis/describe-redis.ts';
import { startRedis, type RedisServer } from '../../rig/redis/redis-server.ts';
import { bucket, DAY, HOUR, MINUTE, newKey, SECOND, take, tokens, window, truth } from './fixtures.ts';
import { plainClient, redisStore } from './redis-fixtures.ts';

const WRITES = /cmdstat_(set|del|pexpire|pexpireat|expire|unlink|hset|incr\w*|persist):calls=(\d+)/g;

describeOnRedis('Redis store on one server', () => {
  let server: RedisServer;
  let client: Redis;
  let store: RedisStore;
  const broken: string[] = [];

  beforeAll(async () => {
    server = await startRedis();
    client = plainClient(server.port);
    store = redisStore({ address: server.address }, { onBroken: (keys) => broken.push(...keys) });
  });

  afterAll(async () => {
    await store.close();
    client.disconnect();
  });

  /** How often each writing command was called so far. */
  async function writes(): Promise<Record<string, number>> {
    const stats = await client.info('commandstats');
    return Object.fromEntries([...stats.matchAll(WRITES)].map(([, name, calls]) => [name!, Number(calls)]));
  }

  test('trap 5: a refusal writes nothing: no value, no TTL, no write command at all', async () => {
    const refs = [bucket(tokens(2, HOUR)), bucket(window(2, 'Day')), bucket(tokens(50, HOUR))];
    const asked = (): ReturnType<typeof take> => take(...refs.map((ref) => [ref, 1] as const));
    await store.reserve(asked());
    await store.reserve(asked());
    const look = async (): Promise<unknown> =>
      await Promise.all(refs.flatMap(({ key }) => [client.dumpBuffer(key), client.pexpiretime(key)]));
    const before = await look();
    const writesBefore = await writes();
    for (let call = 0; call < 20; call++) {
      expect((await store.reserve(asked())).outcome).toBe('refused');
      expect((await store.peek(asked())).outcome).toBe('refused');
    }
    const fresh = bucket(tokens(5, HOUR));
    expect((await store.reserve(take([fresh, 1], [refs[0]!, 1]))).outcome).toBe('refused');
    expect(await look()).toEqual(before);
    expect(await client.exists(fresh.key)).toBe(0);
    expect(await writes()).toEqual(writesBefore);
  });

  test('a key lives until its bucket has been full for a moment or its window ends; an unused bucket has none', async () => {
    const one = bucket(tokens(10, 100 * SECOND));
    const day = bucket(window(10, 'Day'));
    const reservation = take([one, 4], [day, 4]);
    await store.reserve(reservation);
    const now = Date.now();
    const full = await client.pexpiretime(one.key);
    expect(full - now).toBeGreaterThan(40_000);
    expect(full - now).toBeLessThanOrEqual(42_001);
    expect(full % 1000).toBe(0);
    expect((await client.pexpiretime(day.key)) % (DAY / 1000)).toBe(0);
    await store.settle(truth(reservation, [0, 0]));
    expect(await client.exists(one.key, day.key)).toBe(0);
  });

  test('a bucket is one small string', async () => {
    const one = bucket(tokens(1e12, 365 * DAY));
    await store.reserve(take([one, 1e12]));
    expect(await client.strlen(one.key)).toBe(33);
    expect(await client.object('ENCODING', one.key)).toBe('embstr');
  });

  test('ids of settlements are remembered 10 minutes, in the slot of the buckets, and are unreadable when unsafe', async () => {
    const one = bucket(tokens(10, HOUR));
    const plain = take([one, 1]);
    await store.settle(truth(plain, [1]));
    const ttl = await client.pttl(`weir:{team}:settled:${plain.id}`);
    expect(ttl).toBeGreaterThan(595_000);
    expect(ttl).toBeLessThanOrEqual(600_000);
    const odd = { ...plain, id: 'a user name}{other}' };
    expect(await store.report(odd)).toMatchObject({ applied: true });
    expect(await store.report(odd)).toMatchObject({ applied: false });
    expect(await client.keys('*user name*')).toEqual([]);
    expect(await client.keys('weir:{team}:reported:h:*')).toHaveLength(1);
  });

  test('trap 54: what Redis remembers of settlements is less than a byte each, for 10 minutes after the last one', async () => {
    const one = bucket(tokens(1e12, HOUR));
    const [count, atOnce] = [1_000_000, 2_000];
    const memory = async (): Promise<number> => Number(/used_memory:(\d+)/.exec(await client.info('memory'))?.[1]);
    const settleAll = async (total: number): Promise<void> => {
      for (let done = 0; done < total; done += atOnce) {
        const reservations = Array.from({ length: atOnce }, () => ({ ...take([one, 2]), serial: nextSerial() }));
        await Promise.all(reservations.map((reservation) => store.settle(truth(reservation, [1]))));
      }
    };
    await settleAll(atOnce);
    const before = await memory();
    await settleAll(count);
    expect((await memory()) - before).toBeLessThan(count);
    const keys = await client.keys('weir:{team}:settled:*');
    expect(keys.length).toBeLessThan(count / 400);
    for (const ttl of await Promise.all(keys.map((key) => client.pttl(key)))) {
      expect(ttl).toBeGreaterThan(0);
      expect(ttl).toBeLessThanOrEqual(600_000);
    }
  });

  test('trap 33: a marker that holds anything else is written anew', async () => {
    const one = bucket(tokens(10, HOUR));
    const reservation = { ...take([one, 5]), serial: nextSerial() };
    await store.reserve(reservation);
    expect(await store.settle(truth(reservation, [4]))).toMatchObject({ applied: true });
    const keys = await client.keys('weir:{team}:settled:*');
    for (const key of keys) {
      await client.del(key);
      await client.lpush(key, 'x');
    }
    const next = { ...take([one, 1]), serial: nextSerial() };
    expect(await store.settle(truth(next, [0]))).toMatchObject({ applied: true });
    expect(await store.settle(truth(next, [0]))).toMatchObject({ applied: false });
  });

  test('a settlement sent by two limiters is applied once', async () => {
    const other = redisStore({ address: server.address });
    const one = bucket(tokens(10, HOUR));
    const reservation = take([one, 8]);
    await store.reserve(reservation);
    const settlement = truth(reservation, [3]);
    const applied = await Promise.all([store, other, store, other].map((limiter) => limiter.settle(settlement)));
    expect(applied.filter(({ applied: isFirst }) => isFirst)).toHaveLength(1);
    expect((await other.peek(take([one, 0]))).states[0]?.remaining).toBe(7);
    await other.close();
  });

  test('trap 8: a server that has forgotten the script is sent it again, and nothing is charged twice', async () => {
    const one = bucket(tokens(10, HOUR));
    await store.reserve(take([one, 1]));
    await client.script('FLUSH');
    const decisions = await Promise.all([1, 2, 3].map(() => store.reserve(take([one, 1]))));
    expect(decisions.map(({ states }) => states[0]?.remaining)).toEqual([8, 7, 6]);
  });

  test.each([
    ['a text', (key: string) => client.set(key, 'rubbish')],
    ['bytes of the right length', (key: string) => client.set(key, Buffer.alloc(33, 0xff))],
    ['zeroes', (key: string) => client.set(key, Buffer.alloc(33))],
    ['a number', (key: string) => client.set(key, '0')],
    ['a list', (key: string) => client.rpush(key, '1')],
    ['a hash', (key: string) => client.hset(key, 'used', '0')],
  ])('trap 33: a key that holds %s counts as used up, mends itself and is told', async (_what, spoil) => {
    const one = bucket(tokens(10, MINUTE));
    const day = bucket(window(10, 'Day'));
    for (const { key } of [one, day]) {
      await spoil(key);
      broken.length = 0;
      const ref = key === one.key ? one : day;
      const refused = await store.reserve(take([ref, 1]));
      expect(refused.outcome).toBe('refused');
      expect(refused.states[0]).toMatchObject({ remaining: 0, over: true });
      expect(broken).toEqual([key]);
      expect((await store.reserve(take([ref, 1]))).outcome).toBe('refused');
      expect(broken).toEqual([key]);
      expect(await client.strlen(key)).toBe(33);
      expect(await client.pttl(key)).toBeGreaterThan(0);
    }
    expect((await store.peek(take([one, 1]))).states[0]?.waitMicros).toBeLessThanOrEqual(6 * SECOND);
  });

  test('what Redis refuses is an outage, not a decision, and nothing is written', async () => {
    const full = await startRedis({ args: ['--maxmemory', '1', '--maxmemory-policy', 'noeviction'] });
    const away = redisStore({ address: full.address });
    const one = bucket(tokens(10, HOUR));
    await expect(away.reserve(take([one, 1]))).rejects.toMatchObject({ name: 'StoreUnavailable', reason: 'reply' });
    expect(await full.ask(`EXISTS ${one.key}`)).toBe(':0\r\n');
    await away.close();
  });

  test('trap 10: two objects with two endpoints use their own, two with one share it', async () => {
    const second = await startRedis();
    const registry = new StoreRegistry({ deadlineMs: 5000, clock: systemClock, log: silentLogger() });
    const config = (address: string) => ({ namespace: 'team', store: { type: 'redis', redis: { address } } }) as const;
    const [first, again, other] = [server, server, second].map(({ address }) => registry.storeFor(config(address)));
    expect(again).toBe(first);
    const one = bucket(tokens(10, HOUR), newKey('shared'));
    await first!.reserve(take([one, 4]));
    expect((await other!.peek(take([one, 0]))).states[0]?.remaining).toBe(10);
    expect(await client.exists(one.key)).toBe(1);
    registry.keepOnly([config(server.address)]);
    await expect(other!.reserve(take([one, 1]))).rejects.toMatchObject({ name: 'StoreUnavailable' });
    expect((await first!.reserve(take([one, 1]))).outcome).toBe('admitted');
    await registry.close();
    expect(canonicalJson(config(server.address))).not.toBe(canonicalJson(config(second.address)));
  });

  test('the Redis that an object names is looked up by the guard, the default of the operator is not', async () => {
    const asked: string[] = [];
    const lookup: LookupFunction = (host, _options, callback) => {
      asked.push(host);
      callback(new Error('refused'), '');
    };
    const registry = new StoreRegistry({ deadlineMs: 5000, clock: systemClock, log: silentLogger(), lookup });
    const redis = { address: server.address.replace('127.0.0.1', 'localhost') };
    const one = bucket(tokens(10, HOUR));
    const ofTenant = registry.storeFor({ namespace: 'team', store: { type: 'redis', redis } });
    await expect(ofTenant.reserve(take([one, 1]))).rejects.toMatchObject({ name: 'StoreUnavailable' });
    expect(asked).toContain('localhost');
    const ofOperator = registry.storeFor({ namespace: 'team', store: { type: 'redis', redis, isDefault: true } });
    expect((await ofOperator.reserve(take([one, 1]))).outcome).toBe('admitted');
    await registry.close();
  });

  test('a guarded connection serves', async () => {
    const lookup: LookupFunction = (_host, _options, callback) => {
      callback(null, [{ address: '127.0.0.1', family: 4 }]);
    };
    const guarded = redisStore({ address: `redis.example:${server.port}` }, { lookup });
    expect((await guarded.reserve(take([bucket(tokens(10, HOUR)), 1]))).outcome).toBe('admitted');
    await guarded.close();
  });

  test('a key whose text is longer in bytes than in characters is one key, beside others', async () => {
    const refs = ['plain', 'grün', '名前', '🙂'].map((name) => bucket(tokens(10, HOUR), `${newKey()}:${name}`));
    expect((await store.reserve(take(...refs.map((ref) => [ref, 3] as const)))).outcome).toBe('admitted');
    expect(await client.exists(...refs.map(({ key }) => key))).toBe(refs.length);
    for (const ref of refs) expect((await store.peek(take([ref, 0]))).states[0]?.remaining).toBe(7);
  });

  test('two limiters at once admit exactly the limit', async () => {
    const limiters = [redisStore({ address: server.address }), redisStore({ address: server.address })];
    const one = bucket(tokens(50, HOUR));
    const decisions = await Promise.all(
      Array.from({ length: 400 }, (_, index) => limiters[index % 2]!.reserve(take([one, 1]))),
    );
    expect(decisions.filter(({ outcome }) => outcome === 'admitted')).toHaveLength(50);
    await Promise.all(limiters.map((limiter) => limiter.close()));
  });

  test('no decision of a tick is lost or doubled, over many namespaces and calls', async () => {
    const refs = Array.from({ length: 7 }, (_, index) => bucket(tokens(100_000, 366 * DAY), newKey(`ns-${index}`)));
    const asked = Array.from({ length: 1500 }, (_, index) => ({ ref: refs[index % 7]!, amount: 1 + (index % 5) }));
    const decisions = await Promise.all(asked.map(({ ref, amount }) => store.reserve(take([ref, amount]))));
    expect(decisions.every(({ outcome }) => outcome === 'admitted')).toBe(true);
    for (const ref of refs) {
      const total = asked.filter((one) => one.ref === ref).reduce((sum, { amount }) => sum + amount, 0);
      expect((await store.peek(take([ref, 0]))).states[0]?.remaining).toBe(100_000 - total);
    }
  });
});
