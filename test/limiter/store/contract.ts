// Test part: what every store must do. Input: a store whose time the test sets; output: one suite, run for memory,
// Redis, Redis Cluster and Redis Sentinel alike.
import { beforeEach, describe, expect, test } from '@jest/globals';
import { nextSerial, type BucketRef, type Store, type StoreDecision } from '../../../src/limiter/store/store.ts';
import { bucket, DAY, HOUR, MINUTE, newKey, SECOND, take, tokens, window, truth } from './fixtures.ts';

/** A store under test. Its buckets are in the namespace `team`. */
export interface StoreUnderTest {
  readonly store: Store;
  /** Sets the store's time (µs since the epoch); the store's clock stands still between calls. */
  setTime(micros: number): Promise<void>;
}

/** A Monday, far enough ahead that Redis, which expires keys by its own clock, does not expire any. */
export const START = Date.UTC(2035, 0, 1) * 1000;

const waits = (decision: StoreDecision): number[] => decision.states.map((state) => state.waitMicros);
const left = (decision: StoreDecision): number[] => decision.states.map((state) => state.remaining);

export function storeContract(name: string, underTest: () => StoreUnderTest): void {
  describe(`contract: ${name}`, () => {
    let store: Store;
    let time: number;
    const advance = async (micros: number): Promise<void> => {
      time += micros;
      await underTest().setTime(time);
    };
    const admitted = async (...takes: readonly (readonly [BucketRef, number])[]): Promise<boolean> =>
      (await store.reserve(take(...takes))).outcome === 'admitted';

    beforeEach(async () => {
      ({ store } = underTest());
      time = START;
      await underTest().setTime(time);
    });

    test('a new bucket is full, gives what it holds and refuses the next with the exact wait', async () => {
      const one = bucket(tokens(10, MINUTE, 15));
      expect(await store.reserve(take([one, 10]))).toEqual({
        outcome: 'admitted',
        atMicros: time,
        states: [{ limit: 15, remaining: 5, resetMicros: MINUTE, over: false, waitMicros: 0 }],
      });
      expect(await store.reserve(take([one, 6]))).toEqual({
        outcome: 'refused',
        atMicros: time,
        refusedBy: 0,
        states: [{ limit: 15, remaining: 5, resetMicros: MINUTE, over: true, waitMicros: 6 * SECOND }],
      });
      await advance(6 * SECOND - 1);
      expect(waits(await store.reserve(take([one, 6])))).toEqual([1]);
      await advance(1);
      expect(await admitted([one, 6])).toBe(true);
    });

    test('trap 3: a refusal by one bucket takes nothing from another', async () => {
      const shared = bucket(tokens(10, HOUR));
      const tool = bucket(tokens(1, HOUR));
      expect(await admitted([shared, 1], [tool, 1])).toBe(true);
      const refused = await store.reserve(take([shared, 1], [tool, 1]));
      expect(refused).toMatchObject({ outcome: 'refused', refusedBy: 1 });
      expect(left(refused)).toEqual([9, 0]);
      expect(left(await store.peek(take([shared, 0])))).toEqual([9]);
    });

    test('of several refusals the longest wait is named', async () => {
      const takes = [tokens(1, HOUR), tokens(1, DAY), tokens(1, MINUTE)].map((rule) => [bucket(rule), 1] as const);
      await store.reserve(take(...takes));
      expect(await store.reserve(take(...takes))).toMatchObject({ outcome: 'refused', refusedBy: 1 });
    });

    test('trap 4: one per 30 days comes back after 30 days, not earlier and not never', async () => {
      const slow = bucket(tokens(1, 30 * DAY));
      await store.reserve(take([slow, 1]));
      await advance(30 * DAY - 1);
      expect(waits(await store.reserve(take([slow, 1])))).toEqual([1]);
      await advance(1);
      expect(await admitted([slow, 1])).toBe(true);
    });

    test('trap 6: more than a bucket holds is never told to wait', async () => {
      const small = bucket(tokens(5, MINUTE));
      expect(waits(await store.reserve(take([small, 6])))).toEqual([Infinity]);
      const both = await store.reserve(take([bucket(tokens(1, DAY)), 1], [small, 6]));
      expect(both).toMatchObject({ outcome: 'refused', refusedBy: 1 });
    });

    test('trap 13: an edit keeps what was used', async () => {
      const key = newKey();
      await store.reserve(take([bucket(tokens(100, HOUR), key), 60]));
      expect(left(await store.peek(take([bucket(tokens(200, HOUR), key), 0])))).toEqual([140]);
      expect(left(await store.peek(take([bucket(tokens(100, HOUR), key), 0])))).toEqual([40]);
      const lowered = bucket(tokens(50, HOUR), key);
      expect(await store.reserve(take([lowered, 1]))).toMatchObject({
        outcome: 'refused',
        states: [{ remaining: 0, waitMicros: 11 * (HOUR / 50) }],
      });
      await advance(11 * (HOUR / 50));
      expect(await admitted([lowered, 1])).toBe(true);
    });

    test('an edit of the rate never rounds the fraction of a unit in the favour of the caller', async () => {
      const key = newKey();
      await store.reserve(take([bucket(tokens(1, 3 * SECOND, 2), key), 2]));
      await advance(2 * SECOND + 999_999);
      await store.report(take([bucket(tokens(1, 3 * SECOND, 2), key), 1]));
      // 2,999,999 of 3,000,000 parts of a unit have flowed in; in sevenths of a unit that is 6 and a bit.
      expect(waits(await store.reserve(take([bucket(tokens(1, 7, 2), key), 1])))).toEqual([8]);
    });

    test('trap 1: a settlement beyond what is left is charged as debt, and debt is repaid before anything passes', async () => {
      const one = bucket(tokens(10, 10 * SECOND));
      const reservation = take([one, 8]);
      await store.reserve(reservation);
      expect(await store.settle(truth(reservation, [25]))).toMatchObject({ applied: true });
      expect(await store.peek(take([one, 0]))).toMatchObject({
        outcome: 'refused',
        states: [{ remaining: 0, resetMicros: 25 * SECOND, waitMicros: 15 * SECOND }],
      });
      await advance(16 * SECOND - 1);
      expect(await admitted([one, 1])).toBe(false);
      await advance(1);
      expect(await admitted([one, 1])).toBe(true);
    });

    test('trap 2: a settlement gives back exactly what was not used, once', async () => {
      const one = bucket(tokens(10, HOUR));
      const reservation = take([one, 8]);
      await store.reserve(reservation);
      expect(await store.settle(truth(reservation, [3]))).toMatchObject({ applied: true });
      expect(await store.settle(truth(reservation, [0]))).toMatchObject({ applied: false });
      expect(await store.settle(truth(reservation, [10]))).toMatchObject({ applied: false });
      expect(left(await store.peek(take([one, 0])))).toEqual([7]);
    });

    test('trap 54: a settlement with a serial is applied once, whatever was settled beside it', async () => {
      const one = bucket(window(100_000, 'Year'));
      const reservations = Array.from({ length: 1500 }, () => ({ ...take([one, 3]), serial: nextSerial() }));
      await Promise.all(reservations.map((reservation) => store.reserve(reservation)));
      const twice = reservations.flatMap((reservation, index) => [
        { reservation, actual: [index % 5] },
        { reservation, actual: [0] },
      ]);
      const shuffled = twice.map((each, index) => [(index * 1009) % twice.length, each] as const);
      shuffled.sort(([a], [b]) => a - b);
      const first = new Map<unknown, number>();
      for (const [, { reservation, actual }] of shuffled) {
        if (!first.has(reservation)) first.set(reservation, actual[0] ?? 0);
      }
      const applied: boolean[] = [];
      for (let from = 0; from < shuffled.length; from += 700) {
        const settled = shuffled.slice(from, from + 700).map(([, { reservation, actual }]) => {
          return store.settle(truth(reservation, actual));
        });
        applied.push(...(await Promise.all(settled)).map((each) => each.applied));
      }
      expect(applied.filter(Boolean)).toHaveLength(reservations.length);
      const used = [...first.values()].reduce((sum, units) => sum + units, 0);
      expect(left(await store.peek(take([one, 0])))).toEqual([100_000 - used]);
    });

    test('a refund into a bucket that has refilled meanwhile does not overfill it', async () => {
      const one = bucket(tokens(10, 10 * SECOND));
      const reservation = take([one, 8]);
      await store.reserve(reservation);
      await advance(5 * SECOND);
      await store.settle(truth(reservation, [0]));
      expect(left(await store.peek(take([one, 0])))).toEqual([10]);
    });

    test('a report charges without asking, once per id', async () => {
      const one = bucket(tokens(10, HOUR));
      const reported = take([one, 15]);
      expect(await store.report(reported)).toMatchObject({ applied: true });
      expect(await store.report(reported)).toMatchObject({ applied: false });
      expect(waits(await store.peek(take([one, 1])))).toEqual([6 * (HOUR / 10)]);
    });

    test('what is asked in one tick is decided in order, each seeing the one before', async () => {
      const one = bucket(tokens(10, HOUR));
      const decisions = await Promise.all(Array.from({ length: 400 }, () => store.reserve(take([one, 1]))));
      expect(decisions.filter(({ outcome }) => outcome === 'admitted')).toHaveLength(10);
      expect(decisions.slice(0, 12).map((decision) => left(decision)[0])).toEqual([9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0]);
    });

    test('two takes of one reservation on one bucket are taken together or not at all', async () => {
      const one = bucket(tokens(5, HOUR));
      expect(await store.reserve(take([one, 3], [one, 3]))).toMatchObject({ outcome: 'refused', refusedBy: 1 });
      const both = await store.reserve(take([one, 3], [one, 2]));
      expect(left(both)).toEqual([0, 0]);
    });

    test('trap 49: a peek at exactly the limit says no, and nothing passes after it', async () => {
      const one = bucket(tokens(2, HOUR));
      expect((await store.peek(take([one, 2]))).outcome).toBe('admitted');
      expect(await admitted([one, 2])).toBe(true);
      expect((await store.peek(take([one, 1]))).outcome).toBe('refused');
      expect(await admitted([one, 1])).toBe(false);
    });

    test('trap 29: a limit of 0 refuses everything, for ever', async () => {
      const blocked = bucket(window(0, 'Hour'));
      expect(await store.reserve(take([blocked, 1]))).toMatchObject({
        outcome: 'refused',
        states: [{ limit: 0, remaining: 0, waitMicros: Infinity }],
      });
    });

    test('nothing to take passes while there is no debt', async () => {
      const one = bucket(tokens(1, HOUR));
      await store.reserve(take([one, 1]));
      expect(await admitted([one, 0])).toBe(true);
      await store.report(take([one, 1]));
      expect(await admitted([one, 0])).toBe(false);
      expect(await store.reserve(take())).toMatchObject({ outcome: 'admitted', states: [] });
    });

    test('a shadow bucket never refuses, tells what it would do, and is charged only when the others pass', async () => {
      const shadow = bucket(tokens(2, HOUR), newKey(), true);
      const enforced = bucket(tokens(5, HOUR));
      for (const over of [false, false, true, true])
        expect((await store.reserve(take([shadow, 1], [enforced, 1]))).states[0]?.over).toBe(over);
      await store.reserve(take([enforced, 1]));
      const refused = await store.reserve(take([shadow, 1], [enforced, 1]));
      expect(refused).toMatchObject({ outcome: 'refused', refusedBy: 1 });
      expect((await store.peek(take([shadow, 0]))).states[0]?.resetMicros).toBe(4 * (HOUR / 2));
    });

    test('debt of a shadow bucket is forgiven when it is enforced; the bucket is then exhausted, not more', async () => {
      const key = newKey();
      const rule = tokens(2, HOUR);
      await store.reserve(take([bucket(rule, key, true), 50]));
      expect(waits(await store.reserve(take([bucket(rule, key), 1])))).toEqual([HOUR / 2]);
      await advance(HOUR / 2);
      expect(await admitted([bucket(rule, key), 1])).toBe(true);
      await store.report(take([bucket(rule, key), 3]));
      expect(waits(await store.reserve(take([bucket(rule, key), 1])))).toEqual([4 * (HOUR / 2)]);
    });

    test('trap 26: a clock that steps back neither gives nor takes, and refill goes on from there', async () => {
      const one = bucket(tokens(10, 10 * SECOND));
      const hour = bucket(window(10, 'Hour'));
      await store.reserve(take([one, 10], [hour, 10]));
      await advance(-SECOND / 2);
      expect(waits(await store.reserve(take([one, 1], [hour, 1])))[0]).toBe(SECOND + SECOND / 2);
      await advance(-2 * HOUR);
      expect(waits(await store.reserve(take([one, 1])))).toEqual([SECOND]);
      expect(await admitted([hour, 1])).toBe(false);
      await advance(SECOND);
      expect(await admitted([one, 1])).toBe(true);
    });

    test('a wait in a window lasts to its end, and the next begins empty', async () => {
      const hour = bucket(window(3, 'Hour'));
      await advance(20 * MINUTE);
      await store.reserve(take([hour, 3]));
      expect(await store.reserve(take([hour, 1]))).toEqual({
        outcome: 'refused',
        atMicros: time,
        refusedBy: 0,
        states: [{ limit: 3, remaining: 0, resetMicros: 40 * MINUTE, over: true, waitMicros: 40 * MINUTE }],
      });
      await advance(40 * MINUTE - 1);
      expect(await admitted([hour, 1])).toBe(false);
      await advance(1);
      expect(left(await store.reserve(take([hour, 1])))).toEqual([2]);
    });

    test.each([
      ['Week', 'UTC', '2035-01-03T12:00:00Z', '2035-01-08T00:00:00Z'],
      ['Day', 'America/New_York', '2035-03-11T12:00:00Z', '2035-03-12T04:00:00Z'],
      ['Day', 'America/New_York', '2035-11-04T04:30:00Z', '2035-11-05T05:00:00Z'],
      ['Month', 'Europe/Berlin', '2035-02-10T00:00:00Z', '2035-02-28T23:00:00Z'],
      ['Month', 'UTC', '2036-02-10T00:00:00Z', '2036-03-01T00:00:00Z'],
      ['Year', 'Asia/Kolkata', '2035-06-01T00:00:00Z', '2035-12-31T18:30:00Z'],
      ['Hour', 'Asia/Kolkata', '2035-06-01T10:40:00Z', '2035-06-01T11:30:00Z'],
      ['Minute', 'Asia/Kathmandu', '2035-06-01T10:40:20Z', '2035-06-01T10:41:00Z'],
    ] as const)('trap 30: a %s in %s that holds %s ends at %s', async (period, zone, now, end) => {
      await advance(Date.parse(now) * 1000 - time);
      const [state] = (await store.reserve(take([bucket(window(3, period, zone)), 3]))).states;
      expect(state?.resetMicros).toBe((Date.parse(end) - Date.parse(now)) * 1000);
    });

    test("a window's settlement goes to the window of its reservation; later a refund is dropped, a charge is not", async () => {
      const hour = bucket(window(10, 'Hour'));
      const first = take([hour, 6]);
      const second = take([hour, 2]);
      const third = take([hour, 2]);
      for (const reservation of [first, second, third]) await store.reserve(reservation);
      await store.settle(truth(first, [1], START));
      expect(left(await store.peek(take([hour, 0])))).toEqual([5]);
      await advance(HOUR);
      await store.reserve(take([hour, 3]));
      await store.settle(truth(second, [0], START));
      expect(left(await store.peek(take([hour, 0])))).toEqual([7]);
      await store.settle(truth(third, [6], START));
      expect(left(await store.peek(take([hour, 0])))).toEqual([3]);
    });

    test("a window's refund counts by when its reservation was taken, also for a copy of it", async () => {
      const hour = bucket(window(10, 'Hour'));
      const known = take([hour, 4]);
      const unknown = take([hour, 4]);
      await store.reserve(known);
      await store.reserve(unknown);
      await store.settle(truth({ ...unknown }, [0], START - 1));
      await store.settle(truth({ ...known }, [0], time));
      expect(left(await store.peek(take([hour, 0])))).toEqual([6]);
    });

    test('what cannot be a take is a fault of the caller, not a decision', async () => {
      const one = bucket(tokens(1, HOUR));
      for (const amount of [-1, 0.5, NaN, 1e12 + 1])
        await expect(store.reserve(take([one, amount]))).rejects.toThrow(RangeError);
      const elsewhere = bucket(tokens(1, HOUR), newKey('other'));
      await expect(store.reserve(take([one, 1], [elsewhere, 1]))).rejects.toThrow('hash tag');
      await expect(store.report(take([bucket(tokens(1, HOUR), 'no-tag'), 1]))).rejects.toThrow('begins with');
      await expect(store.settle(truth(take([one, 1]), []))).rejects.toThrow('one actual amount');
    });
  });
}
