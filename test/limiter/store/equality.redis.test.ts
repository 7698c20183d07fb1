// The memory store and the Lua scripts answer alike: 10^5 random commands (reserve, peek, settle, report; edits of
// rules; shadow; steps of the clock, also back) on both, outcome, remaining, waits and resets compared one by one.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { isDeepStrictEqual } from 'node:util';
import type { Redis } from 'ioredis';
import { ManualClock } from '../../../src/lib/clock.ts';
import { MemoryStore } from '../../../src/limiter/store/memory-store.ts';
import type { RedisStore } from '../../../src/limiter/store/redis-store.ts';
import type { BucketRef, Reservation, Store } from '../../../src/limiter/store/store.ts';
import { describeOnRedis } from '../../rig/redis/describe-redis.ts';
import { startRedis } from '../../rig/redis/redis-server.ts';
import { START } from './contract.ts';
import { bucket, DAY, HOUR, MINUTE, newKey, SECOND, take, tokens, window } from './fixtures.ts';
import { plainClient, redisStore, timedScript, timeKey } from './redis-fixtures.ts';

const ROUNDS = 1000;
const PER_ROUND = 100;
/** Each bucket has several rules: they change from take to take, as limiters with an old and a new config would. */
const RULES: readonly (readonly BucketRef['rule'][])[] = [
  [tokens(10, SECOND)],
  [tokens(100, MINUTE), tokens(200, MINUTE), tokens(50, MINUTE)],
  [tokens(1, 30 * DAY, 5), tokens(7, 11 * HOUR, 5)],
  [tokens(999_999_999_989, 31_622_399_999_000, 1e12)],
  [tokens(999_999_999_989, 1000, 1e12), tokens(1, 1000, 1e12)],
  [tokens(3, 7 * SECOND, 20), tokens(5, 13 * SECOND, 20)],
  [window(50, 'Second'), window(20, 'Second')],
  [window(1000, 'Hour', 'Asia/Kolkata')],
  [window(300, 'Minute'), window(900, 'Day', 'America/New_York')],
  [window(0, 'Month')],
];

type Act = (store: Store) => Promise<unknown>;

describeOnRedis('memory store and Lua scripts', () => {
  let redis: RedisStore;
  let client: Redis;

  beforeAll(async () => {
    const server = await startRedis();
    client = plainClient(server.port);
    redis = redisStore({ address: server.address }, { script: timedScript });
  });

  afterAll(async () => {
    await redis.close();
    client.disconnect();
  });

  test('give equal results on 10^5 random commands', async () => {
    const random = seededRandom(Number(process.env['SEED'] ?? 20_350_101));
    const clock = new ManualClock(START);
    const memory = new MemoryStore(clock);
    const keys = RULES.flatMap((rules) => [newKey(), newKey()].map((key) => ({ key, rules })));
    // A settlement follows the answer to its reservation: those of this round can be settled from the next on.
    const admitted: Reservation[] = [];
    const asked: Reservation[] = [];
    let admissions = 0;
    for (let round = 0; round < ROUNDS; round++) {
      clock.advance(randomStep(random));
      await setTime(client, clock.nowMicros());
      await expire(
        client,
        keys.map(({ key }) => key),
        clock.nowMicros(),
      );
      // What is full again is forgotten by both before the clock may step back: when exactly is left to each.
      for (const store of [memory, redis])
        await Promise.all(keys.map(({ key, rules }) => store.peek(take([bucket(rules[0]!, key), 0]))));
      const acts = Array.from({ length: PER_ROUND }, () => randomAct(random, keys, admitted, asked));
      const expected = await Promise.all(acts.map((act) => act(memory)));
      const given = await Promise.all(acts.map((act) => act(redis)));
      for (const [index, result] of given.entries())
        if (!isDeepStrictEqual(result, expected[index])) expect({ round, index, result }).toEqual(expected[index]);
      admitted.push(...asked.splice(0, Math.max(0, 500 - admitted.length)));
      asked.length = 0;
      admissions += expected.filter((result) => (result as { outcome?: string }).outcome === 'admitted').length;
    }
    // Neither nearly always admitted nor nearly always refused: otherwise this test would show little.
    expect(admissions).toBeGreaterThan(ROUNDS * PER_ROUND * 0.15);
    expect(admissions).toBeLessThan(ROUNDS * PER_ROUND * 0.7);
  }, 120_000);
});

function randomAct(
  random: (below: number) => number,
  keys: readonly { key: string; rules: readonly BucketRef['rule'][] }[],
  admitted: Reservation[],
  asked: Reservation[],
): Act {
  const what = random(10);
  if (what >= 8 && admitted.length > 0) {
    const [reservation] = admitted.splice(random(admitted.length), 1);
    const actual = reservation!.takes.map(
      ({ amount }) => [0, amount, Math.floor(amount / 2), amount + random(20)][random(4)]!,
    );
    return (store) => store.settle({ reservation: reservation!, actual, takenAtMicros: Number.MAX_SAFE_INTEGER });
  }
  const reservation = take(
    ...Array.from({ length: 1 + random(3) }, () => {
      const { key, rules } = keys[random(keys.length)]!;
      const rule = rules[random(10) === 0 ? random(rules.length) : 0]!;
      return [bucket(rule, key, random(6) === 0), randomAmount(random, rule)] as const;
    }),
  );
  if (what === 0) return (store) => store.report(reservation);
  if (what === 1) return (store) => store.peek(reservation);
  asked.push(reservation);
  return (store) => store.reserve(reservation);
}

function randomAmount(random: (below: number) => number, rule: BucketRef['rule']): number {
  const capacity = rule.kind === 'bucket' ? rule.burst : rule.limit;
  const choices = [
    0,
    1,
    1 + random(5),
    random(Math.min(capacity + 2, 2 ** 31)),
    Math.floor((capacity * random(1000)) / 3000),
  ];
  return choices[random(choices.length)]!;
}

function randomStep(random: (below: number) => number): number {
  const steps = [1, 1000, SECOND, MINUTE, HOUR, DAY];
  const step = random(steps[random(steps.length)]! % 2 ** 31) + random(3);
  return random(12) === 0 ? -step : step;
}

async function setTime(client: Redis, micros: number): Promise<void> {
  await client.set(timeKey('team'), micros);
}

/** Redis expires by its own clock; here the test's clock counts, by the times that the scripts set. */
async function expire(client: Redis, keys: readonly string[], nowMicros: number): Promise<void> {
  const times = await Promise.all(keys.map((key) => client.pexpiretime(key)));
  const over = keys.filter((_, index) => times[index]! > 0 && times[index]! * 1000 <= nowMicros);
  if (over.length > 0) await client.del(...over);
}

/** mulberry32, by Tommy Ettinger (public domain): whole numbers below a bound. */
function seededRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}
