// What holds for every history of the memory store (and so, by test/limiter/store/equality, for the Lua scripts):
// nothing is admitted beyond capacity and refill, all takes are taken or none, and a refund gives back exactly what
// was reserved.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ManualClock } from '../../../src/lib/clock.ts';
import { MemoryStore } from '../../../src/limiter/store/memory-store.ts';
import type { Reservation } from '../../../src/limiter/store/store.ts';
import { START } from './contract.ts';
import { bucket, SECOND, take, tokens, truth } from './fixtures.ts';

const amounts = fc.integer({ min: 0, max: 20 });
const pauses = fc.integer({ min: 0, max: 3 * SECOND });

describe('conservation', () => {
  test('in every interval: admitted <= capacity + refill, and under excess demand no less than that - 1', async () => {
    const demand = fc.array(pauses, { minLength: 1, maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 2, max: 20 }),
        demand,
        async (rate, burst, waits) => {
          const clock = new ManualClock(START);
          const store = new MemoryStore(clock);
          const one = bucket(tokens(rate, 10 * SECOND, burst));
          let admitted = 0;
          for (const wait of waits) {
            // Demand always exceeds what is there, and asks often enough that the bucket never fills up.
            const steps = Math.ceil(wait / 100_000);
            for (let step = 0; step <= steps; step++) {
              while ((await store.reserve(take([one, 1]))).outcome === 'admitted') admitted++;
              if (step < steps) clock.advance(Math.floor(wait / steps));
            }
            const bound = burst + ((clock.nowMicros() - START) * rate) / (10 * SECOND);
            expect(admitted).toBeLessThanOrEqual(bound);
            expect(admitted).toBeGreaterThan(bound - 1);
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  test('all takes of a reservation are taken or none', async () => {
    const history = fc.array(fc.tuple(amounts, amounts, amounts, pauses), { minLength: 1, maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(history, async (steps) => {
        const clock = new ManualClock(START);
        const store = new MemoryStore(clock);
        const buckets = [tokens(30, 60 * SECOND), tokens(10, 7 * SECOND), tokens(50, 3 * SECOND, 15)].map((rule) =>
          bucket(rule),
        );
        const left = async (): Promise<number[]> =>
          (await store.peek(take(...buckets.map((ref) => [ref, 0] as const)))).states.map(({ remaining }) => remaining);
        for (const [a, b, c, wait] of steps) {
          clock.advance(wait);
          const asked = [a, b, c];
          const before = await left();
          const { outcome } = await store.reserve(take(...buckets.map((ref, index) => [ref, asked[index]!] as const)));
          const fits = asked.every((amount, index) => amount <= before[index]!);
          expect(outcome).toBe(fits ? 'admitted' : 'refused');
          expect(await left()).toEqual(before.map((free, index) => (fits ? free - asked[index]! : free)));
        }
      }),
      { numRuns: 200 },
    );
  });

  test('settling everything to 0 leaves every bucket as if nothing had happened', async () => {
    const history = fc.array(fc.tuple(amounts, pauses), { minLength: 1, maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(history, async (steps) => {
        const clock = new ManualClock(START);
        const store = new MemoryStore(clock);
        const one = bucket(tokens(40, 7 * SECOND));
        const taken: Reservation[] = [];
        for (const [amount] of steps) {
          const reservation = take([one, amount]);
          if ((await store.reserve(reservation)).outcome === 'admitted') taken.push(reservation);
        }
        for (const reservation of taken) await store.settle(truth(reservation, [0]));
        expect((await store.peek(take([one, 0]))).states[0]).toMatchObject({ remaining: 40, resetMicros: 0 });
      }),
      { numRuns: 200 },
    );
  });
});
