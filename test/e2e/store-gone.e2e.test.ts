// End to end 8: Redis goes and comes back, stopped (it keeps its connections and answers nothing) and killed. Each
// failure policy does what it says, in time; afterwards Redis knows what it knew, and nothing is charged late.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { waitFor } from '../../tools/node-cluster/wait.ts';
import type { Limiter } from '../rig/stack/weir-stack.ts';
import { describeEndToEnd, MODEL } from './harness.ts';
import { requestLimit } from './manifests.ts';
import { call, tally, type Answer } from './traffic.ts';

const STORE_DEADLINE_MS = 250;
/** For everything but the store: client, limiter and upstream on a machine that does much else. */
const MARGIN_MS = 500;
const CAPACITY = 60;
const USED = 20;
const LEFT = CAPACITY - USED;
/** Calls to each route, again and again during an outage. */
const CALLS = 60;
const OUTAGE_MS = 3000;

const POLICIES = ['Open', 'Closed', 'Local'] as const;
type Policy = (typeof POLICIES)[number];

const OPTIONS = { persistentRedis: true, limiterFlags: ['--store-deadline', `${STORE_DEADLINE_MS}ms`] };

describeEndToEnd('the store is gone', OPTIONS, (e2e) => {
  const both = async <T>(ask: (limiter: Limiter) => Promise<T>): Promise<T[]> =>
    await Promise.all(e2e().limiters.map(ask));
  const metricsOf = async ({ adminUrl }: Limiter): Promise<string> => (await call(`${adminUrl}/metrics`)).body;
  /** What a counter of the decisions on a route says, over both limiters. */
  const decisions = async (place: string, labels: string): Promise<number> => {
    const series = `weir_decisions_total{object="ModelRoute/${place}",${labels}} `;
    const lines = (await both(metricsOf)).flatMap((text) => text.split('\n').filter((line) => line.startsWith(series)));
    return lines.reduce((sum, line) => sum + Number(line.slice(series.length)), 0);
  };
  const untilCircuits = async (state: 'closed' | 'open'): Promise<void> => {
    const wanted = `weir_store_circuit_open{endpoint="${e2e().redisAddress}"} ${state === 'open' ? 1 : 0}`;
    await waitFor(
      `circuits that are ${state} at both limiters`,
      async () => (await both(metricsOf)).every((text) => text.includes(wanted)) || undefined,
      { deadlineMs: 15_000, everyMs: 20 },
    );
  };
  /** What each limiter reads in Redis as left of the bucket. */
  const remaining = async (place: string): Promise<unknown[]> => {
    const [namespace, name] = place.split('/');
    const question = { object: { kind: 'ModelRoute', namespace, name }, request: { model: MODEL }, hits: 0 };
    const answers = await both(async ({ decisionUrl }) => await call(`${decisionUrl}/v1/explain`, { body: question }));
    return answers.map(({ body }) => (JSON.parse(body) as { limits: { remaining?: number }[] }).limits[0]?.remaining);
  };
  const logs = async (): Promise<string[][]> =>
    await both(async ({ id }) => (await e2e().weir.stack.log(id)).split('\n').filter((line) => line !== ''));

  beforeAll(async () => {
    await e2e().makeNamespace('store');
  });
  afterAll(() => {
    e2e().redis.resume();
  });

  describe.each([
    ['stopped', 'SIGSTOP'],
    ['killed', 'SIGKILL'],
  ] as const)('because Redis is %s', (how, signal) => {
    const answers = new Map<string, Answer[]>();
    const newLines: string[][] = [];
    const placeOf = (policy: Policy | 'daily'): string => `store/${policy.toLowerCase()}-${how}`;
    const ask = async (policy: Policy | 'daily'): Promise<void> => {
      const more = await e2e().ask(placeOf(policy), CALLS, { inFlight: 4 });
      answers.set(policy, [...seen(policy), ...more]);
    };
    const begin = async (): Promise<void> => {
      if (how === 'killed') await e2e().redis.kill();
      else e2e().redis.pause();
    };
    const end = async (): Promise<void> => {
      if (how === 'killed') await e2e().redis.start();
      else e2e().redis.resume();
    };

    beforeAll(async () => {
      for (const failurePolicy of POLICIES) {
        await e2e().enforce(
          e2e().route(placeOf(failurePolicy), { failurePolicy, limits: [requestLimit('all', CAPACITY)] }),
        );
      }
      const daily = { name: 'all', measure: 'Requests', window: { limit: CAPACITY, period: 'Day' } };
      await e2e().enforce(e2e().route(placeOf('daily'), { limits: [daily] }));
      await waitFor(
        'limiters that know of each other',
        async () => {
          const dumps = await both(async ({ adminUrl }) => (await call(`${adminUrl}/config_dump`)).body);
          return dumps.every((text) => (JSON.parse(text) as Dump).fleet.knownLimiters === 2) || undefined;
        },
        { deadlineMs: 10_000 },
      );
      // One after the other: both limiters then know what is left.
      for (const policy of POLICIES) {
        expect(await e2e().send(placeOf(policy), USED, { inFlight: 1 })).toEqual({ 200: USED });
      }
      const before = await logs();
      await begin();
      // All at once: each policy has calls that wait for the deadline before the circuit opens. Then on and on, until
      // the limiters have tried new connections too.
      const endAtMs = performance.now() + OUTAGE_MS;
      await waitFor(
        'a long outage',
        async () => {
          await Promise.all(([...POLICIES, 'daily'] as const).map(ask));
          return performance.now() >= endAtMs || undefined;
        },
        { deadlineMs: 30_000, everyMs: 200 },
      );
      const endMs = performance.now();
      await end();
      await untilCircuits('closed');
      process.stdout.write(`${signal}: decided by Redis again after ${(performance.now() - endMs).toFixed(0)} ms\n`);
      newLines.push(...(await logs()).map((lines, at) => lines.slice(before[at]?.length)));
    }, 60_000);

    const seen = (policy: Policy | 'daily'): Answer[] => answers.get(policy) ?? [];

    test('trap 9: no answer takes longer than the deadline of the store and what a busy machine adds', () => {
      for (const [policy, of] of answers) {
        const times = of.map(({ elapsedMs }) => elapsedMs).sort((a, b) => a - b);
        const [median = NaN, longest = NaN] = [times[times.length >> 1], times.at(-1)];
        process.stdout.write(
          `${signal}, ${policy}: ${JSON.stringify(tally(of))}, median ${median.toFixed(1)} ms, longest ` +
            `${longest.toFixed(1)} ms (deadline of the store ${STORE_DEADLINE_MS} ms)\n`,
        );
        expect(longest).toBeLessThan(STORE_DEADLINE_MS + MARGIN_MS);
        // The circuit opens: only the first few wait.
        expect(median).toBeLessThan(STORE_DEADLINE_MS / 2);
      }
    });

    test('Open admits all, without headers that would tell of a bucket that nobody asked', async () => {
      expect(tally(seen('Open'))).toEqual({ 200: seen('Open').length });
      for (const { headers } of seen('Open')) expect(headers).not.toHaveProperty('x-ratelimit-remaining-requests');
      expect(await decisions(placeOf('Open'), 'limit="",outcome="allowed",degraded="Open"')).toBe(seen('Open').length);
    });

    test('trap 44: Closed refuses with 503, never 429, and says that it is the store', async () => {
      expect(tally(seen('Closed'))).toEqual({ 503: seen('Closed').length });
      for (const { body, headers } of seen('Closed')) {
        expect(JSON.parse(body)).toMatchObject({ error: { code: 'store_unavailable' } });
        expect(headers).not.toHaveProperty('x-ratelimit-remaining-requests');
      }
      const labels = 'limit="all",outcome="unavailable",degraded="Closed"';
      expect(await decisions(placeOf('Closed'), labels)).toBe(seen('Closed').length);
    });

    test('trap 44: a window of a day is Closed unless the object says otherwise', () => {
      expect(tally(seen('daily'))).toEqual({ 503: seen('daily').length });
    });

    test('trap 44: Local admits what was left, shared among the two limiters, and refuses the rest with 503', async () => {
      const { 200: admitted = 0, ...others } = tally(seen('Local'));
      process.stdout.write(`${signal}, Local: ${admitted} admitted, bound ${LEFT}\n`);
      expect(admitted).toBe(LEFT);
      expect(others).toEqual({ 503: seen('Local').length - LEFT });
      expect(await decisions(placeOf('Local'), 'limit="",outcome="allowed",degraded="Local"')).toBe(LEFT);
      const refused = seen('Local').find(({ status }) => status === 503);
      expect(refused?.headers['retry-after']).toBe('5');
    });

    test('trap 45: an outage is one line at its begin and one at its end, however many requests there are', () => {
      process.stdout.write(
        `${signal}: ${[...answers.values()].flat().length} requests, ${newLines.flat().length} log lines of two limiters\n`,
      );
      for (const lines of newLines) {
        expect(lines.map((line) => (JSON.parse(line) as { message: string }).message)).toEqual([
          'store does not answer',
          'store answers again',
        ]);
      }
    });

    test.each(POLICIES)(
      'right afterwards: what Redis had plus later calls, nothing is charged late (%s)',
      async (policy) => {
        expect(await remaining(placeOf(policy))).toEqual([LEFT, LEFT]);
        expect(await e2e().send(placeOf(policy), LEFT + 20, { inFlight: 4 })).toEqual({ 200: LEFT, 429: 20 });
        expect(await remaining(placeOf(policy))).toEqual([0, 0]);
      },
    );
  });

  test('a Redis that comes back empty: buckets begin full, and are exact again', async () => {
    await e2e().weir.startRedis({ persistent: false });
    await e2e().enforce(e2e().route('store/empty', { limits: [requestLimit('all', CAPACITY)] }));
    await untilCircuits('closed');
    expect(await e2e().send('store/empty', USED, { inFlight: 1 })).toEqual({ 200: USED });
    await e2e().redis.kill();
    await e2e().send('store/empty', 20, { inFlight: 1 });
    await untilCircuits('open');
    await e2e().redis.start();
    await untilCircuits('closed');
    expect(await e2e().send('store/empty', CAPACITY + 20, { inFlight: 4 })).toEqual({ 200: CAPACITY, 429: 20 });
  });
});

interface Dump {
  readonly fleet: { readonly knownLimiters: number };
}
