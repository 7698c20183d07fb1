// Benchmark of the store: decisions on two buckets (one of 10,000 callers' and one hot one), a tenth of them refused,
// on a real Redis. In: seconds per subject and load; out: JSON. Weir beside rate-limiter-flexible at three settings,
// interleaved, medians.
import { parseArgs } from 'node:util';
import { Redis } from 'ioredis';
import { RateLimiterRedis, RateLimiterUnion } from 'rate-limiter-flexible';
import { systemClock } from '../src/lib/clock.ts';
import { silentLogger } from '../src/lib/log.ts';
import { createStore } from '../src/limiter/store/create-store.ts';
import type { BucketRef } from '../src/limiter/store/store.ts';
import { startRedis, stopAllRedis, type RedisServer } from '../test/rig/redis/redis-server.ts';

const CALLERS = 10_000;
/** Callers whose bucket is used up: every tenth decision is theirs. */
const EXHAUSTED = CALLERS / 10;
const PLENTY = 1e9;
const HOUR_SECONDS = 3600;
const ROUNDS = 3;
const LOADS = [64, 512] as const;
const WARM_UP_MS = 300;

/** Decides on caller `index` and the hot bucket: true = admitted. */
interface Subject {
  readonly name: string;
  readonly decide: (index: number) => Promise<boolean>;
  close(): Promise<void>;
}

interface Slice {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly refused: number;
  readonly redisCpuMicros: number;
}

function weir(address: string): Subject {
  const options = { deadlineMs: 1000, clock: systemClock, log: silentLogger() };
  const store = createStore({ namespace: 'bench', store: { type: 'redis', redis: { address } } }, options);
  const rule = (maxTokens: number): BucketRef['rule'] => ({
    kind: 'bucket',
    maxTokens,
    refillPeriodMicros: HOUR_SECONDS * 1e6,
    burst: maxTokens,
  });
  const [plenty, single] = [rule(PLENTY), rule(1)];
  const hot: BucketRef = { key: 'weir:{bench}:hot', rule: plenty, shadow: false };
  const callers = Array.from({ length: CALLERS }, (_, index): BucketRef => {
    return { key: `weir:{bench}:caller:${index}`, rule: index < EXHAUSTED ? single : plenty, shadow: false };
  });
  let ids = 0;
  return {
    name: 'weir',
    decide: async (index) => {
      const takes = [callers[index] ?? hot, hot].map((bucket) => ({ bucket, amount: 1 }));
      return (await store.reserve({ id: `${ids++}`, takes })).outcome === 'admitted';
    },
    close: () => store.close(),
  };
}

type Setting = 'plain' | 'autopipelining' | 'union with in-memory block';

/**
 * Two limiters per decision, as its documentation combines them. Its refusals spend the other bucket: it has no
 * rollback.
 */
function peer(port: number, setting: Setting): Subject {
  const storeClient = new Redis({ port, host: '127.0.0.1', enableAutoPipelining: setting === 'autopipelining' });
  const limiter = (keyPrefix: string, points: number): RateLimiterRedis =>
    new RateLimiterRedis({
      storeClient,
      keyPrefix: `${setting}:${keyPrefix}`,
      points,
      duration: HOUR_SECONDS,
      ...(setting === 'union with in-memory block' ? { inMemoryBlockOnConsumed: points + 1 } : {}),
    });
  const hot = limiter('hot', PLENTY);
  const [plenty, single] = [limiter('caller', PLENTY), limiter('single', 1)];
  const both = (own: RateLimiterRedis): ((key: string) => Promise<unknown>) => {
    if (setting === 'union with in-memory block') {
      const union = new RateLimiterUnion(own, hot);
      return (key) => union.consume(key, 1);
    }
    return (key) => Promise.all([own.consume(key, 1), hot.consume('hot', 1)]);
  };
  const [many, few] = [both(plenty), both(single)];
  return {
    name: `rate-limiter-flexible, ${setting}`,
    decide: async (index) => {
      try {
        await (index < EXHAUSTED ? few : many)(`c${index}`);
        return true;
      } catch (refusal) {
        if (refusal instanceof Error) throw refusal;
        return false;
      }
    },
    close: () => {
      storeClient.disconnect();
      return Promise.resolve();
    },
  };
}

/** Uses up what the exhausted have, so that they are refused from the first decision that counts. */
async function exhaust({ decide }: Subject): Promise<void> {
  for (let first = 0; first < EXHAUSTED; first += LOADS[0])
    await Promise.all(Array.from({ length: LOADS[0] }, (_, index) => decide(Math.min(first + index, EXHAUSTED - 1))));
}

/** Runs `inFlight` callers, each asking again as soon as it is answered. */
async function measure(subject: Subject, inFlight: number, ms: number, redis: RedisServer): Promise<Slice> {
  const latencies: number[] = [];
  let refused = 0;
  let next = 0;
  let end = performance.now() + WARM_UP_MS;
  const caller = async (count: boolean): Promise<void> => {
    while (performance.now() < end) {
      const asked = performance.now();
      // 7919 and 10,000 have no common divisor: every caller in turn, neighbours far apart.
      const admitted = await subject.decide((next++ * 7919) % CALLERS);
      if (!count) continue;
      latencies.push(performance.now() - asked);
      if (!admitted) refused++;
    }
  };
  const all = (count: boolean): Promise<unknown> => Promise.all(Array.from({ length: inFlight }, () => caller(count)));
  await all(false);
  const cpuBefore = await cpuMicros(redis);
  const begin = performance.now();
  end = begin + ms;
  await all(true);
  const seconds = (performance.now() - begin) / 1000;
  const cpu = (await cpuMicros(redis)) - cpuBefore;
  latencies.sort((a, b) => a - b);
  const at = (share: number): number => round(latencies[Math.floor(latencies.length * share)] ?? 0);
  const count = latencies.length;
  return {
    perSecond: Math.round(count / seconds),
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    refused: round(refused / count),
    redisCpuMicros: round(cpu / count),
  };
}

async function cpuMicros(redis: RedisServer): Promise<number> {
  const info = await redis.ask('INFO cpu');
  const of = (field: string): number => Number(new RegExp(`${field}:([0-9.]+)`).exec(info)?.[1] ?? 0);
  return (of('used_cpu_user') + of('used_cpu_sys')) * 1e6;
}

function medians(slices: readonly Slice[]): Slice {
  const of = (field: keyof Slice): number => {
    const values = slices.map((slice) => slice[field]).sort((a, b) => a - b);
    return values[Math.floor(values.length / 2)] ?? 0;
  };
  const result = { perSecond: 0, p50Ms: 0, p99Ms: 0, refused: 0, redisCpuMicros: 0 };
  for (const field of Object.keys(result) as (keyof Slice)[]) result[field] = of(field);
  return result;
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}

async function run(seconds: number): Promise<unknown> {
  const redis = await startRedis();
  const subjects = [
    weir(redis.address),
    peer(redis.port, 'plain'),
    peer(redis.port, 'autopipelining'),
    peer(redis.port, 'union with in-memory block'),
  ];
  const loads = [];
  try {
    for (const subject of subjects) await exhaust(subject);
    for (const inFlight of LOADS) {
      const runs = new Map<string, Slice[]>(subjects.map(({ name }) => [name, []]));
      for (let turn = 0; turn < ROUNDS; turn++)
        for (const subject of subjects)
          runs.get(subject.name)?.push(await measure(subject, inFlight, (seconds * 1000) / ROUNDS, redis));
      loads.push({ inFlight, ...compare([...runs]) });
    }
  } finally {
    await Promise.all(subjects.map((subject) => subject.close()));
    await stopAllRedis();
  }
  return { callers: CALLERS, exhausted: EXHAUSTED, bucketsPerDecision: 2, secondsEach: seconds, rounds: ROUNDS, loads };
}

function compare(runs: readonly (readonly [string, readonly Slice[]])[]): object {
  const results = runs.map(([name, slices]) => ({ name, ...medians(slices), slices }));
  const [own, ...peers] = results;
  const best = peers.toSorted((a, b) => b.perSecond - a.perSecond)[0];
  if (own === undefined || best === undefined) return { results };
  return {
    against: best.name,
    decisionsRatio: round(own.perSecond / best.perSecond),
    p50Ratio: round(own.p50Ms / best.p50Ms),
    p99Ratio: round(own.p99Ms / best.p99Ms),
    redisCpuRatio: round(own.redisCpuMicros / best.redisCpuMicros),
    results,
  };
}

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '10' } } });
process.stdout.write(`${JSON.stringify(await run(Number(values.seconds)), null, 2)}\n`);
