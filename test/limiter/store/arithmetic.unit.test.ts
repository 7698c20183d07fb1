// The arithmetic of buckets against a model in whole numbers of any size: exact at the corners, without drift, in
// every order.
import { describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { MAX_DURATION_MICROS } from '../../../src/lib/values/duration.ts';
import { ManualClock } from '../../../src/lib/clock.ts';
import { MAX_WHOLE, multiplyDivide } from '../../../src/limiter/store/rule/exact.ts';
import { MemoryStore } from '../../../src/limiter/store/memory-store.ts';
import { ModelBucket } from './bigint-model.ts';
import { START } from './contract.ts';
import { bucket, newKey, take, tokens, truth } from './fixtures.ts';

const whole = (max: number): fc.Arbitrary<number> =>
  fc.oneof(fc.integer({ min: 0, max }), fc.integer({ min: 0, max: Math.min(max, 1000) }), fc.constantFrom(0, 1, max));
const positive = (max: number): fc.Arbitrary<number> => whole(max - 1).map((value) => value + 1);

/** Amounts 1 to 1e12, periods 1 ms to a leap year: the corners come up often. */
const rules = fc
  .record({ maxTokens: positive(1e12), periodMs: positive(MAX_DURATION_MICROS / 1000), burst: positive(1e12) })
  .map(({ maxTokens, periodMs, burst }) => tokens(maxTokens, periodMs * 1000, burst));

describe('exact arithmetic', () => {
  test('multiplies and divides as whole numbers of any size do', () => {
    fc.assert(
      fc.property(whole(MAX_WHOLE), whole(1e12), whole(2 ** 45), positive(2 ** 45), (a, b, c, d) => {
        const sum = BigInt(a) * BigInt(b) + BigInt(c);
        const quotient = sum / BigInt(d);
        const expected = quotient > BigInt(MAX_WHOLE) ? MAX_WHOLE : Number(quotient);
        expect(multiplyDivide(a, b, c, d)).toEqual({ whole: expected, rest: Number(sum % BigInt(d)) });
      }),
      { numRuns: 5000 },
    );
  });

  test('decisions equal those of the model at all corners', async () => {
    const step = fc.record({
      elapsed: whole(2 * MAX_DURATION_MICROS),
      amount: whole(1e12),
      act: fc.constantFrom('reserve', 'report', 'refund'),
    });
    await fc.assert(
      fc.asyncProperty(rules, fc.array(step, { minLength: 1, maxLength: 30 }), async (rule, steps) => {
        const clock = new ManualClock(START);
        const store = new MemoryStore(clock);
        const model = new ModelBucket(rule);
        const one = bucket(rule, newKey());
        for (const { elapsed, amount, act } of steps) {
          clock.advance(elapsed);
          const now = clock.nowMicros();
          const asked = take([one, amount]);
          const before = (await store.peek(asked)).states[0]!;
          const wait = model.wait(amount, now);
          expect(before.waitMicros).toBe(wait === undefined ? Infinity : cut(wait));
          if (act === 'reserve') await store.reserve(asked);
          else await store.report(asked);
          if (act !== 'reserve' || wait === 0n) model.charge(amount, now);
          if (act === 'refund') {
            await store.settle(truth(asked, [0]));
            model.charge(-amount, now);
          }
          const [after] = (await store.peek(take([one, 0]))).states;
          expect(after).toMatchObject({ remaining: Number(model.remaining(now)), resetMicros: cut(model.reset(now)) });
        }
      }),
      { numRuns: 400 },
    );
  });

  test('waiting exactly as long as told admits, one µs less does not', async () => {
    await fc.assert(
      fc.asyncProperty(rules, fc.array(positive(1e12), { minLength: 1, maxLength: 5 }), async (rule, amounts) => {
        const clock = new ManualClock(START);
        const store = new MemoryStore(clock);
        const one = bucket(rule);
        for (const amount of amounts) await store.report(take([one, Math.min(amount, rule.burst)]));
        const asked = take([one, amounts[0]! > rule.burst ? rule.burst : amounts[0]!]);
        const wait = (await store.peek(asked)).states[0]!.waitMicros;
        fc.pre(wait > 0 && wait < 2 ** 52);
        clock.advance(wait - 1);
        expect((await store.peek(asked)).states[0]!.waitMicros).toBe(1);
        clock.advance(1);
        expect((await store.reserve(asked)).outcome).toBe('admitted');
      }),
      { numRuns: 300 },
    );
  });

  test('trap 27: 10^7 operations do not drift by one unit or one µs', () => {
    // In a process of its own: ten times as fast as inside the test runner.
    const drift = execFileSync(process.execPath, [fileURLToPath(new URL('drift.ts', import.meta.url))], {
      encoding: 'utf8',
    });
    expect(JSON.parse(drift)).toEqual({ operations: 10_000_000, drift: '0' });
  }, 60_000);
});

function cut(value: bigint): number {
  return value > BigInt(MAX_WHOLE) ? MAX_WHOLE : Number(value);
}
