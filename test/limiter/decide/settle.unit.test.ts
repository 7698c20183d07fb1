// Settling and reporting: each reservation to the truth, once.
import { beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { AS_RESERVED, ONE_REQUEST, REFUND, requestsEstimate } from '../../../src/limiter/decide/usage.ts';
import { StoreUnavailable } from '../../../src/limiter/store/store.ts';
import { HOUR, MINUTE, tokens, window } from '../store/fixtures.ts';
import { Bench, remaining, used, withLimits } from './decider-bench.ts';
import { facts } from '../fixtures.ts';

let bench: Bench;

beforeEach(() => {
  bench = new Bench();
});

describe('settling', () => {
  test('trap 2: what the upstream never did is refunded', async () => {
    const decider = bench.decider();
    const object = withLimits({ rule: tokens(1, HOUR) });
    await bench.ask(decider, object);
    expect(await bench.last?.settle(REFUND)).toBe('settled');
    expect((await bench.ask(decider, object)).kind).toBe('allowed');
  });

  test('is done once, whatever is repeated, also at the same time', async () => {
    const decider = bench.decider();
    const object = withLimits({ rule: tokens(3, HOUR) });
    await bench.kinds(decider, object, 2);
    const { last } = bench;
    const outcomes = await Promise.all([last?.settle(REFUND), last?.settle(REFUND)]);
    expect(outcomes).toEqual(['settled', 'repeated']);
    expect(await last?.settle(used(3))).toBe('repeated');
    expect(remaining(await bench.ask(decider, object))).toEqual([1]);
  });

  test('as reserved costs no call, and the first ending wins', async () => {
    const decider = bench.decider();
    await bench.ask(decider, withLimits({}));
    expect(await bench.last?.settle(AS_RESERVED)).toBe('settled');
    expect(await bench.last?.settle(REFUND)).toBe('repeated');
    expect(bench.store.calls).toEqual(['reserve']);
  });

  test('trap 1: more than what is left counts, into debt', async () => {
    const decider = bench.decider();
    const object = withLimits({ rule: tokens(10, HOUR) });
    await bench.ask(decider, object);
    await bench.last?.settle(used(15));
    expect(await bench.ask(decider, object)).toMatchObject({
      kind: 'denied',
      by: { state: { waitMicros: (6 * HOUR) / 10 } },
    });
  });

  test('charges each limit by its own cost', async () => {
    const decider = bench.decider();
    const object = withLimits({ cost: 1 }, { cost: 5, rule: tokens(20, HOUR) });
    await bench.ask(decider, object);
    await bench.last?.settle(used(4));
    expect(remaining(await bench.peek(decider, object, facts(), 0))).toEqual([6, 0]);
  });

  test('several asks of one decision are settled together, each bucket once', async () => {
    const decider = bench.decider();
    const { limitSet } = withLimits({ rule: tokens(10, HOUR) });
    const asks = [1, 2, 3].map((count) => ({ facts: facts(), estimate: requestsEstimate(count) }));
    const { admission, decision } = await decider.decide([limitSet], asks);
    expect(remaining(decision)).toEqual([4]);
    await admission?.settle(used(1));
    expect(remaining(await decider.peek([limitSet], [{ facts: facts(), estimate: requestsEstimate(0) }]))).toEqual([7]);
  });

  test.each([NaN, -1, 0.5, Infinity, -Infinity, 2 ** 53 + 2, 1e300])(
    'trap 57: a usage of %d never throws, and what was reserved stays charged',
    async (requests) => {
      const decider = bench.decider();
      const object = withLimits({ rule: tokens(10, HOUR) });
      await bench.ask(decider, object, facts(), 3);
      expect(await bench.last?.settle(used(requests))).toBe('settled');
      expect(bench.faults).toEqual([]);
      expect(remaining(await bench.peek(decider, object, facts(), 0))).toEqual([7]);
    },
  );

  test('trap 57: a usage beyond what a bucket counts is charged as the most it counts', async () => {
    const decider = bench.decider();
    const object = withLimits({ rule: tokens(10, HOUR), cost: 3 });
    await bench.ask(decider, object);
    expect(await bench.last?.settle(used(Number.MAX_SAFE_INTEGER))).toBe('settled');
    expect(bench.faults).toEqual([]);
    expect((await bench.ask(decider, object)).kind).toBe('denied');
  });

  test('a fault of the store is reported, and rejects nobody', async () => {
    const decider = bench.decider();
    await bench.ask(decider, withLimits({}));
    bench.store.settle = () => Promise.reject(new TypeError('bug'));
    expect(await bench.last?.settle(REFUND)).toBe('failed');
    expect(bench.faults).toEqual([new TypeError('bug')]);
  });

  test.each([
    ['a refund', REFUND, 10],
    ['what was used', used(7), 3],
    ['what was reserved', AS_RESERVED, 9],
  ])('trap 51: a request of 11 minutes is settled with %s', async (_what, ending, left) => {
    const decider = bench.decider();
    const object = withLimits({ rule: window(10, 'Day') });
    const { admission } = await bench.take(decider, object);
    bench.clock.advance(11 * MINUTE);
    expect(await admission?.settle(ending)).toBe('settled');
    expect(remaining(await bench.peek(decider, object, facts(), 0))).toEqual([left]);
  });

  test('trap 51: however many requests began since, a reservation is not forgotten', async () => {
    const decider = bench.decider();
    const object = withLimits({ rule: window(1_000_000, 'Day') });
    const { admission } = await bench.take(decider, object, facts(), 10);
    for (let count = 0; count < 200_000; count += 1) await bench.ask(decider, object, facts(), 0);
    expect(await admission?.settle(REFUND)).toBe('settled');
    expect(remaining(await bench.peek(decider, object, facts(), 0))).toEqual([1_000_000]);
  });

  test('a share gets its refund back, and not more', async () => {
    bench.store.isAway = true;
    const decider = bench.decider();
    const object = withLimits({ rule: tokens(1, HOUR) });
    await bench.ask(decider, object);
    const { last } = bench;
    expect(await last?.settle(REFUND)).toBe('settled');
    expect(await last?.settle(REFUND)).toBe('repeated');
    expect(await bench.kinds(decider, object, 2)).toEqual(['allowed', 'unavailable']);
  });

  test('a store that does not take it is told, not thrown', async () => {
    const decider = bench.decider();
    await bench.ask(decider, withLimits({}));
    bench.store.isAway = true;
    expect(await bench.last?.settle(REFUND)).toBe('unavailable');
  });

  test('sum of charges = sum of usage, whatever is settled in which order', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 12 }), async (amounts) => {
        bench = new Bench();
        const decider = bench.decider();
        const object = withLimits({ rule: window(1000, 'Day'), cost: 3 });
        const decisions = await Promise.all(amounts.map(() => bench.take(decider, object)));
        await Promise.all(
          decisions.map(async ({ admission }, index) => admission?.settle(used(amounts[index] ?? 0))).reverse(),
        );
        const total = amounts.reduce((sum, hits) => sum + 3 * hits, 0);
        expect(remaining(await bench.peek(decider, object, facts(), 0))).toEqual([1000 - total]);
      }),
      { numRuns: 30 },
    );
  });
});

describe('report', () => {
  test('charges without asking, once', async () => {
    const decider = bench.decider();
    const object = withLimits({ rule: tokens(10, HOUR) });
    expect(await decider.report(object.limitSet, { facts: facts(), estimate: requestsEstimate(25) }, 'a')).toBe(true);
    expect(await decider.report(object.limitSet, { facts: facts(), estimate: requestsEstimate(25) }, 'a')).toBe(false);
    expect(await bench.ask(decider, object)).toMatchObject({
      kind: 'denied',
      by: { state: { waitMicros: (16 * HOUR) / 10 } },
    });
  });

  test('passes an outage on', async () => {
    bench.store.isAway = true;
    await expect(
      bench.decider().report(withLimits({}).limitSet, { facts: facts(), estimate: ONE_REQUEST }, 'a'),
    ).rejects.toThrow(StoreUnavailable);
  });
});
