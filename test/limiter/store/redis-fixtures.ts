// Test part: a Redis store whose time the test sets. Input: an endpoint; output: the store, and a connection of the
// test's own.
import { Redis } from 'ioredis';
import type { RedisEndpoint } from '../../../src/contract/limiter-config.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { silentLogger } from '../../../src/lib/log.ts';
import { loadScript } from '../../../src/limiter/store/lua-script.ts';
import { RedisStore, type Login, type RedisStoreOptions } from '../../../src/limiter/store/redis-store.ts';

/** Where the test's time of a namespace is kept; same slot as its buckets. */
export function timeKey(namespace: string): string {
  return `weir:{${namespace}}:test-time`;
}

/** In place of lua/include/time.lua: µs that the test wrote beside the buckets. */
const TEST_TIME = `
local function now_micros()
  return tonumber(redis.call('GET', string.match(KEYS[1], '^weir:{[^}]*}') .. ':test-time') or 0)
end
`;

export const timedScript = loadScript('decide', { time: TEST_TIME });

/** Deadlines of tests are long: the machine may be busy, and no test of a decision is a test of speed. */
export function redisStore(
  endpoint: RedisEndpoint,
  options: Partial<RedisStoreOptions> = {},
  login: Login = {},
): RedisStore {
  const defaults = { deadlineMs: 5000, clock: systemClock, log: silentLogger(), namespace: 'team' };
  return new RedisStore(endpoint, { ...defaults, ...options }, login);
}

export function plainClient(port: number): Redis {
  return new Redis({ port, host: '127.0.0.1', lazyConnect: true, retryStrategy: () => 50 });
}
