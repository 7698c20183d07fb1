// The budget of all request bodies: what fits, who is refused, and who gives way.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { BodyBudget, SMALL_BODY_BYTES, type BodyHold } from '../../../src/limiter/request/body-budget.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

function budgetOf(limitBytes: number): { budget: BodyBudget; clock: { ms: number }; refusals: () => number } {
  const clock = { ms: 0 };
  let refusals = 0;
  const observer = {
    held: () => undefined,
    refused: () => {
      refusals += 1;
    },
  };
  return { budget: new BodyBudget({ limitBytes, nowMs: () => clock.ms, observer }), clock, refusals: () => refusals };
}

const codeOf = (act: () => void): unknown => {
  try {
    act();
    return 'taken';
  } catch (error) {
    return (error as { code?: string }).code;
  }
};

describe('the budget of request bodies', () => {
  test('large bodies leave a quarter to small ones, and room comes back once', () => {
    const { budget } = budgetOf(4 * MIB);
    const [large, other, small] = [budget.open(), budget.open(), budget.open()];
    large.take(3 * MIB);
    expect(
      codeOf(() => {
        other.take(SMALL_BODY_BYTES + 1);
      }),
    ).toBe('over_capacity');
    small.take(SMALL_BODY_BYTES);
    expect(budget.heldBytes).toBe(3 * MIB + SMALL_BODY_BYTES);
    large.release();
    large.release();
    expect(budget.heldBytes).toBe(SMALL_BODY_BYTES);
    expect(
      codeOf(() => {
        large.take(1);
      }),
    ).toBe('invalid_request');
  });

  test('a large body that comes no more gives way to others; one that comes does not', () => {
    const { budget, clock, refusals } = budgetOf(4 * MIB);
    const given: string[] = [];
    const receive = (name: string): BodyHold => {
      const hold = budget.open();
      hold.receive((error) => given.push(`${name} ${error.code}`));
      return hold;
    };
    const [stalled, steady] = [receive('stalled'), receive('steady')];
    stalled.take(2 * MIB);
    for (clock.ms = 500; clock.ms <= 5_000; clock.ms += 500) steady.take(64 * KIB);
    const newcomer = receive('newcomer');
    newcomer.take(2 * MIB);
    expect(given).toEqual(['stalled over_capacity']);
    expect(
      codeOf(() => {
        receive('late').take(2 * MIB);
      }),
    ).toBe('over_capacity');
    expect(refusals()).toBe(2);
  });

  test('a body that is complete is not given up, however long it is held', () => {
    const { budget, clock } = budgetOf(4 * MIB);
    const complete = budget.open();
    complete.receive(() => {
      expect('it').toBe('kept');
    });
    complete.take(3 * MIB);
    complete.received();
    clock.ms = 60_000;
    expect(
      codeOf(() => {
        budget.open().take(1 * MIB);
      }),
    ).toBe('over_capacity');
  });

  test('whatever is taken, given and released: never more than the budget, and nothing is left in the end', () => {
    const step = fc.record({
      hold: fc.nat(9),
      act: fc.constantFrom('take', 'take', 'take', 'give', 'release', 'receive', 'received'),
      bytes: fc.nat(300 * KIB),
      ms: fc.nat(3_000),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const { budget, clock } = budgetOf(MIB);
        const holds = Array.from({ length: 10 }, () => budget.open());
        for (const { hold: index, act, bytes, ms } of steps) {
          clock.ms += ms;
          const hold = holds[index]!;
          if (act === 'take')
            codeOf(() => {
              hold.take(bytes);
            });
          else if (act === 'give') hold.give(Math.min(bytes, hold.bytes));
          else if (act === 'receive') hold.receive(() => undefined);
          else hold[act]();
          expect(budget.heldBytes).toBe(holds.reduce((sum, { bytes: held }) => sum + held, 0));
          expect(budget.heldBytes).toBeLessThanOrEqual(MIB);
        }
        for (const hold of holds) hold.release();
        expect(budget.heldBytes).toBe(0);
      }),
    );
  });
});
