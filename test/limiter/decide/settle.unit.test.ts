// Settling and reporting: each reservation to the truth, once.
import { beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Decision } from '../../../src/limiter/decide/decision.ts';
import { StoreUnavailable } from '../../../src/limiter/store/store.ts';
import { HOUR, MINUTE, tokens, window } from '../store/fixtures.ts';
import { Bench, remaining, withLimits } from './decider-bench.ts';
import { facts } from '../fixtures.ts';

let bench: Bench;

beforeEach(() => {
  bench = new Bench();
});

describe('settling', () => {
  test('trap 2: what the upstream never did is refunded', async () => {
    const decider = bench.decider();
    const object = withLimits({ rule: tokens(1, HOUR) });
    const first = await bench.ask(decider, object);
    if (first.kind !== 'allowed' || first.reservation === undefined) throw new Error('expected a reservation');
    expect(await decider.settle(first.reservation.id, 'nothing')).toBe('settled');
    expect((await bench.ask(decider, object)).kind).toBe('allowed');
  });

  test('is done once, whatever is repeated, also at the same time', async () => {
    const decider = bench.decider();
    const object = withLimits({ rule: tokens(3, HOUR) });
    await bench.kinds(decider, object, 2);
    const id = bench.lastId;
    const outcomes = await Promise.all([decider.settle(id, 'nothing'), decider.settle(id, 'nothing')]);
    expect(outcomes).toEqual(['settled', 'repeated']);
    expect(await decider.settle(id, { hits: 3 })).toBe('repeated');
    expect(remaining(await bench.ask(decider, object))).toEqual([1]);
  });

  test('as claimed costs no call', async () => {
    const decider = bench.decider();
    await bench.ask(decider, withLimits({}));
    expect(await decider.settle(bench.lastId, 'claimed')).toBe('settled');
    expect(await decider.settle(bench.lastId, 'nothing')).toBe('unknown');
    expect(bench.store.calls).toEqual(['reserve']);
    expect(decider.pendingCount).toBe(0);
  });

  test('trap 1: more than what is left counts, into debt', async () => {
    const decider = bench.decider();
    const object = withLimits({ rule: tokens(10, HOUR) });
    await bench.ask(decider, object);
    await decider.settle(bench.lastId, { hits: 15 });
    expect(await bench.ask(decider, object)).toMatchObject({
      kind: 'denied',
      by: { state: { waitMicros: (6 * HOUR) / 10 } },
    });
  });

  test('by units per claim, in the order of the claims', async () => {
    const decider = bench.decider();
    const object = withLimits({ cost: 4 }, { cost: 5, rule: tokens(20, HOUR) });
    await bench.ask(decider, object);
    await decider.settle(bench.lastId, [1, 20]);
    const next = await decider.decide(object, facts(), { id: 'x', mode: 'peek', hits: 0 });
    expect(remaining(next)).toEqual([9, 0]);
  });

  test('an unknown id, one that is too old, and one that was pushed out are unknown', async () => {
    const decider = bench.decider({ maxPending: 1 });
    const object = withLimits({ rule: tokens(10, HOUR) });
    await bench.ask(decider, object);
    const first = bench.lastId;
    await bench.ask(decider, object);
    expect(await decider.settle('never', 'nothing')).toBe('unknown');
    expect(await decider.settle(first, 'nothing')).toBe('unknown');
    bench.clock.advance(10 * MINUTE + 1);
    expect(await decider.settle(bench.lastId, 'nothing')).toBe('unknown');
    expect(bench.store.calls).not.toContain('settle');
  });

  test('a share gets its refund back, and not more', async () => {
    bench.store.isAway = true;
    const decider = bench.decider();
    const object = withLimits({ rule: tokens(1, HOUR) });
    await bench.ask(decider, object);
    expect(await decider.settle(bench.lastId, 'nothing')).toBe('settled');
    expect(await decider.settle(bench.lastId, 'nothing')).toBe('repeated');
    expect(await bench.kinds(decider, object, 2)).toEqual(['allowed', 'unavailable']);
  });

  test('a store that does not take it is told, not thrown', async () => {
    const decider = bench.decider();
    await bench.ask(decider, withLimits({}));
    bench.store.isAway = true;
    expect(await decider.settle(bench.lastId, 'nothing')).toBe('unavailable');
  });

  test('sum of charges = sum of usage, whatever is settled in which order', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 12 }), async (used) => {
        bench = new Bench();
        const decider = bench.decider();
        const object = withLimits({ rule: window(1000, 'Day'), cost: 3 });
        const decisions = await Promise.all(used.map(() => bench.ask(decider, object)));
        const idOf = (decision: Decision): string =>
          decision.kind === 'allowed' ? (decision.reservation?.id ?? '') : '';
        await Promise.all(
          decisions.map((decision, index) => decider.settle(idOf(decision), [used[index] ?? 0])).reverse(),
        );
        const total = used.reduce((sum, units) => sum + units, 0);
        const after = await decider.decide(object, facts(), { id: 'peek', mode: 'peek', hits: 0 });
        expect(remaining(after)).toEqual([1000 - total]);
      }),
      { numRuns: 30 },
    );
  });
});

describe('report', () => {
  test('charges without asking, once', async () => {
    const decider = bench.decider();
    const object = withLimits({ rule: tokens(10, HOUR) });
    expect(await decider.report(object, facts(), { id: 'a', hits: 25 })).toBe(true);
    expect(await decider.report(object, facts(), { id: 'a', hits: 25 })).toBe(false);
    expect(await bench.ask(decider, object)).toMatchObject({
      kind: 'denied',
      by: { state: { waitMicros: (16 * HOUR) / 10 } },
    });
  });

  test('passes an outage on', async () => {
    bench.store.isAway = true;
    await expect(bench.decider().report(withLimits({}), facts(), { id: 'a' })).rejects.toThrow(StoreUnavailable);
  });
});
