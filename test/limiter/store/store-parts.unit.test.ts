// The parts around the stores: refusals from memory, the bound on keys, the clock of a store, breaker and settlement
// queue.
import { describe, expect, test } from '@jest/globals';
import { ManualClock } from '../../../src/lib/clock.ts';
import { CircuitBreaker } from '../../../src/limiter/store/circuit-breaker.ts';
import { BELIEVE_MS, ExhaustedCache } from '../../../src/limiter/store/exhausted-cache.ts';
import { KeyBound } from '../../../src/limiter/store/key-bound.ts';
import { MemoryStore } from '../../../src/limiter/store/memory-store.ts';
import { SettlementQueue } from '../../../src/limiter/store/settlement-queue.ts';
import { StoreClock } from '../../../src/limiter/store/store-clock.ts';
import type {
  BucketRef,
  Applied,
  Reservation,
  Settlement,
  Store,
  StoreDecision,
} from '../../../src/limiter/store/store.ts';
import { waitFor } from '../../../tools/node-cluster/wait.ts';
import { bucket, HOUR, MINUTE, newKey, SECOND, take, tokens, window, truth } from './fixtures.ts';

/** Counts what reaches the store behind a decorator. */
class CountingStore implements Store {
  asked = 0;
  readonly #inner: Store;

  constructor(inner: Store) {
    this.#inner = inner;
  }

  reserve(reservation: Reservation): Promise<StoreDecision> {
    this.asked++;
    return this.#inner.reserve(reservation);
  }

  peek = (reservation: Reservation): Promise<StoreDecision> => this.#inner.peek(reservation);
  settle = (settlement: Settlement): Promise<Applied> => this.#inner.settle(settlement);
  report = (reservation: Reservation): Promise<Applied> => this.#inner.report(reservation);
  close = (): Promise<void> => this.#inner.close();
}

describe('exhausted cache', () => {
  function setUp(): { clock: ManualClock; inner: CountingStore; cache: ExhaustedCache } {
    const clock = new ManualClock();
    const inner = new CountingStore(new MemoryStore(clock));
    return { clock, inner, cache: new ExhaustedCache(inner, clock) };
  }

  test('refuses again without asking, with a wait that goes on, for at most 100 ms', async () => {
    const { clock, inner, cache } = setUp();
    const one = bucket(tokens(1, HOUR));
    await cache.reserve(take([one, 1]));
    const refused = await cache.reserve(take([one, 1]));
    expect(inner.asked).toBe(2);
    clock.advance(40_000);
    const again = await cache.reserve(take([one, 1]));
    expect(inner.asked).toBe(2);
    expect(again.states[0]?.waitMicros).toBe(refused.states[0]!.waitMicros - 40_000);
    clock.advance(60_000);
    await cache.reserve(take([one, 1]));
    expect(inner.asked).toBe(3);
  });

  test('never outlasts the wait of the bucket', async () => {
    const { clock, cache } = setUp();
    const one = bucket(tokens(100, SECOND, 1));
    await cache.reserve(take([one, 1]));
    expect((await cache.reserve(take([one, 1]))).states[0]?.waitMicros).toBe(10_000);
    clock.advance(10_000);
    expect((await cache.reserve(take([one, 1]))).outcome).toBe('admitted');
  });

  test('trap 38: a raised limit is in force at once', async () => {
    const { cache } = setUp();
    const key = newKey();
    for (let call = 0; call < 3; call++) await cache.reserve(take([bucket(tokens(1, HOUR), key), 1]));
    expect((await cache.reserve(take([bucket(tokens(2, HOUR), key), 1]))).outcome).toBe('admitted');
    const win = newKey();
    for (let call = 0; call < 3; call++) await cache.reserve(take([bucket(window(1, 'Hour'), win), 1]));
    expect((await cache.reserve(take([bucket(window(2, 'Hour'), win), 1]))).outcome).toBe('admitted');
  });

  test('trap 38: a refund here is believed at once', async () => {
    const { cache } = setUp();
    const one = bucket(tokens(1, HOUR));
    const reservation = take([one, 1]);
    await cache.reserve(reservation);
    expect((await cache.reserve(take([one, 1]))).outcome).toBe('refused');
    await cache.settle(truth(reservation, [0]));
    expect((await cache.reserve(take([one, 1]))).outcome).toBe('admitted');
  });

  test('a refusal that was on its way while a refund passed is not remembered', async () => {
    const { clock, cache } = setUp();
    const one = bucket(tokens(1, HOUR));
    const reservation = take([one, 1]);
    await cache.reserve(reservation);
    clock.advance(1000);
    const onItsWay = cache.reserve(take([one, 1]));
    await cache.settle(truth(reservation, [0]));
    expect((await onItsWay).outcome).toBe('refused');
    expect((await cache.reserve(take([one, 1]))).outcome).toBe('admitted');
  });

  test('asks when any bucket of the reservation is unknown, another amount is asked or only a shadow bucket is over', async () => {
    const { inner, cache } = setUp();
    const shared = bucket(tokens(1, HOUR));
    const shadow = bucket(tokens(1, HOUR), newKey(), true);
    for (let call = 0; call < 2; call++) await cache.reserve(take([shared, 1], [shadow, 1]));
    expect(inner.asked).toBe(2);
    await cache.reserve(take([shared, 1], [bucket(tokens(5, HOUR)), 1]));
    await cache.reserve(take([shared, 0], [shadow, 1]));
    await cache.reserve(take([shadow, 1]));
    expect(inner.asked).toBe(5);
  });
});

describe('trap 53: refusals under a stream of refunds', () => {
  const SPENT = 1_000;
  const DENIED_AMOUNT = 500;
  /** More than all refunds together. */
  const NEVER_FITS = 1_500;

  /**
   * One key all of which is reserved, by 1000 requests that end one after the other, 1 unit less than they reserved
   * each.
   */
  async function setUp(): Promise<{
    clock: ManualClock;
    inner: CountingStore;
    cache: ExhaustedCache;
    spent: BucketRef;
    refund: () => Promise<Applied>;
  }> {
    const clock = new ManualClock();
    const inner = new CountingStore(new MemoryStore(clock));
    const cache = new ExhaustedCache(inner, clock);
    const spent = bucket(tokens(2 * SPENT, HOUR * 24));
    const open: Reservation[] = [];
    for (let each = 0; each < SPENT; each++) {
      const reservation = take([spent, 2]);
      await cache.reserve(reservation);
      open.push(reservation);
    }
    inner.asked = 0;
    const refund = (): Promise<Applied> => {
      const reservation = open.pop();
      if (reservation === undefined) throw new Error('no more reservations');
      return cache.settle(truth(reservation, [1]));
    };
    return { clock, inner, cache, spent, refund };
  }

  test.each([
    ['one amount', () => NEVER_FITS],
    ['amounts that differ, as those of tokens do', (call: number) => NEVER_FITS + ((call * 7) % 50)],
  ])('a refused caller costs at most 20 questions a second: %s', async (_name, amountOf) => {
    const { clock, inner, cache, spent, refund } = await setUp();
    await cache.reserve(take([spent, amountOf(0)]));
    inner.asked = 0;
    let call = 0;
    for (let ms = 0; ms < 1_000; ms++) {
      const answers = [0, 1, 2].map(() => cache.reserve(take([spent, amountOf(call++)])));
      const refunds = refund();
      for (const answer of answers) expect((await answer).outcome).toBe('refused');
      await refunds;
      clock.advance(1_000);
    }
    expect(inner.asked).toBeLessThanOrEqual(20);
  });

  test('what streams back is believed soon: within 60 ms of the refund that makes the amount fit', async () => {
    const { clock, cache, spent, refund } = await setUp();
    let fitsSinceMs: number | undefined;
    for (let ms = 0; ; ms++) {
      await refund();
      if ((await cache.peek(take([spent, DENIED_AMOUNT]))).outcome === 'admitted') fitsSinceMs ??= ms;
      const { outcome } = await cache.reserve(take([spent, DENIED_AMOUNT]));
      if (outcome === 'admitted') {
        expect(ms - fitsSinceMs!).toBeLessThanOrEqual(60);
        return;
      }
      clock.advance(1_000);
    }
  });

  test('refunds of a bucket that is not exhausted, which all callers share, change no refusal', async () => {
    const { clock, inner, cache } = await setUp();
    const [own, shared] = [bucket(tokens(1, HOUR)), bucket(tokens(1_000_000, HOUR))];
    await cache.reserve(take([own, 1], [shared, 1]));
    inner.asked = 0;
    for (let ms = 0; ms < 1_000; ms++) {
      const other = take([shared, 3]);
      await inner.reserve(other);
      inner.asked--;
      await cache.settle(truth(other, [1]));
      expect((await cache.reserve(take([own, 1], [shared, 1 + (ms % 7)]))).outcome).toBe('refused');
      clock.advance(1_000);
    }
    expect(inner.asked).toBeLessThanOrEqual(20);
  });

  test('of many that ask at once whether it still refuses, one does; when it fits, all are decided by the store', async () => {
    const { clock, inner, cache } = await setUp();
    const one = bucket(tokens(3, HOUR));
    const whole = take([one, 3]);
    await cache.reserve(whole);
    expect((await cache.reserve(take([one, 1]))).outcome).toBe('refused');
    clock.advance(BELIEVE_MS * 1000);
    inner.asked = 0;
    const ask = async (): Promise<string[]> =>
      (await Promise.all(Array.from({ length: 50 }, () => cache.reserve(take([one, 1]))))).map(
        ({ outcome }) => outcome,
      );
    expect(new Set(await ask())).toEqual(new Set(['refused']));
    expect(inner.asked).toBe(1);
    await cache.settle(truth(whole, [0]));
    expect((await ask()).filter((outcome) => outcome === 'admitted')).toHaveLength(3);
  });

  test('a wait that is told for more than was refused is the wait of that amount', async () => {
    const { cache } = await setUp();
    const one = bucket(tokens(3600, HOUR));
    await cache.reserve(take([one, 3600]));
    await cache.reserve(take([one, 10]));
    const [first, more] = [await cache.reserve(take([one, 10])), await cache.reserve(take([one, 25]))];
    expect(more.states[0]!.waitMicros - first.states[0]!.waitMicros).toBe(15 * SECOND);
    expect(more.states[0]!.waitMicros).toBe((await cache.peek(take([one, 25]))).states[0]!.waitMicros);
  });
});

describe('bound on keys', () => {
  test('trap 15: beyond the bound callers share the overflow bucket, until buckets are full again', () => {
    const clock = new ManualClock();
    const overflows: string[] = [];
    const keys = new KeyBound({ clock, max: 3, onOverflow: (scope) => overflows.push(scope) });
    const rule = tokens(10, MINUTE);
    const use = (key: string, scope = 'a'): string => keys.bound(scope, key, 'overflow', rule);
    expect(['k1', 'k2', 'k3', 'k4', 'k1'].map((key) => use(key))).toEqual(['k1', 'k2', 'k3', 'overflow', 'k1']);
    expect(use('k4', 'b')).toBe('k4');
    expect(overflows).toEqual(['a']);
    clock.advance(MINUTE);
    expect(use('k1')).toBe('k1');
    expect(use('k5')).toBe('overflow');
    clock.advance(MINUTE);
    expect([use('k5'), use('k6'), use('k7')]).toEqual(['k5', 'k6', 'overflow']);
    expect(keys.size('a')).toBe(3);
    keys.forget('a');
    expect(keys.size('a')).toBe(0);
  });

  test('keys of a rule that is no longer used are not counted for ever', () => {
    const clock = new ManualClock();
    const keys = new KeyBound({ clock, max: 1 });
    expect(keys.bound('a', 'k1', 'overflow', tokens(1, MINUTE))).toBe('k1');
    expect(keys.bound('a', 'k2', 'overflow', tokens(1, HOUR))).toBe('overflow');
    clock.advance(2 * MINUTE);
    expect(keys.bound('a', 'k2', 'overflow', tokens(1, HOUR))).toBe('k2');
  });
});

describe('the clock of a store', () => {
  test('is never ahead of the store, whatever the way of a reply takes', () => {
    const clock = new StoreClock(0, 5_000_000);
    // The store is 1000 s ahead; replies take 0.2 to 30 ms to come back.
    const ahead = 1_000_000_000;
    for (const [sent, served, heard] of [
      [10, 10.1, 40],
      [50, 50.1, 50.3],
      [60, 89, 90],
    ] as const) {
      clock.learn(served * 1000 + ahead, sent, heard);
      expect(clock.at(heard)).toBeLessThanOrEqual(heard * 1000 + ahead);
    }
    expect(clock.at(100)).toBeGreaterThanOrEqual(100_000 + ahead - 200);
  });

  test('follows a store whose time steps back (trap 26)', () => {
    const clock = new StoreClock(0, 0);
    clock.learn(10_000_000, 10, 11);
    clock.learn(5_000_000, 20, 21);
    expect(clock.at(21)).toBe(5_000_000);
  });
});

describe('circuit breaker', () => {
  test('opens after failures in a row, probes by itself, closes when the probe comes back, and tells each change once', async () => {
    const told: string[] = [];
    let up = false;
    let probes = 0;
    const breaker = new CircuitBreaker({
      failures: 3,
      probeEveryMs: 1,
      probe: () => {
        probes++;
        return up ? Promise.resolve() : Promise.reject(new Error('down'));
      },
      onChange: (state) => told.push(state),
    });
    breaker.failed();
    breaker.failed();
    breaker.succeeded();
    breaker.failed();
    breaker.failed();
    expect(breaker.state).toBe('closed');
    breaker.failed();
    breaker.failed();
    expect(breaker.state).toBe('open');
    await waitFor('probes', () => (probes >= 3 ? true : undefined), { deadlineMs: 2000, everyMs: 1 });
    expect(told).toEqual(['open']);
    up = true;
    await waitFor('closed', () => (breaker.state === 'closed' ? true : undefined), { deadlineMs: 2000, everyMs: 1 });
    expect(told).toEqual(['open', 'closed']);
    breaker.stop();
  });
});

describe('settlement queue', () => {
  test('repeats until taken, drops what is too old or too much, and tells', async () => {
    const clock = new ManualClock();
    const dropped: number[] = [];
    const sent: string[] = [];
    let up = false;
    const queue = new SettlementQueue<string>({
      send: (item) => {
        if (!up) return Promise.reject(new Error('down'));
        sent.push(item);
        return Promise.resolve(true);
      },
      limit: 2,
      clock,
      onDropped: (count) => dropped.push(count),
    });
    expect([queue.add('a'), queue.add('b'), queue.add('c')]).toEqual([true, true, false]);
    await queue.flush();
    expect([queue.size, dropped]).toEqual([2, [1]]);
    up = true;
    await waitFor('sent', () => (sent.length === 2 ? true : undefined), { deadlineMs: 5000, everyMs: 5 });
    expect(queue.size).toBe(0);
    up = false;
    queue.add('d');
    clock.advance(600 * SECOND);
    await queue.flush();
    expect([queue.size, dropped]).toEqual([0, [1, 1]]);
    queue.add('e');
    await queue.close();
    expect(dropped).toEqual([1, 1, 1]);
  });
});
