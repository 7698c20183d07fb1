// Local shares: what N limiters admit during an outage, in numbers.
import { beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { BucketRule, WindowRule } from '../../../src/contract/limiter-config.ts';
import { LocalShares } from '../../../src/limiter/decide/degrade.ts';
import { WindowCalendar } from '../../../src/limiter/store/rule/calendar-window.ts';
import type { BucketState, Take } from '../../../src/limiter/store/store.ts';
import { bucket, DAY, HOUR, MINUTE, tokens, window } from '../store/fixtures.ts';

const START = Date.UTC(2035, 0, 1, 12, 30) * 1000;
let now = START;

beforeEach(() => {
  now = START;
});

function shares(maxKeys = 100): LocalShares {
  const calendar = new WindowCalendar();
  return new LocalShares((rule, at) => calendar.find(rule, at).end, maxKeys);
}

const takeOf = (rule: BucketRule | WindowRule, amount = 1, key = 'weir:{a}:k'): Take => ({
  bucket: bucket(rule, key),
  amount,
});

function stateWith(remaining: number, resetMicros = HOUR): BucketState {
  return { limit: 100, remaining, resetMicros, over: false, waitMicros: 0 };
}

/** How many of `attempts` a limiter admits. */
function admitted(local: LocalShares, each: Take, limiters: number, attempts = 1000): number {
  let count = 0;
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    if (local.take([each], limiters, now).outcome === 'admitted') count += 1;
  }
  return count;
}

describe('one outage', () => {
  test('N limiters admit at most what was left, whatever was left and asked', () => {
    const cases = fc.record({
      limiters: fc.integer({ min: 1, max: 9 }),
      left: fc.integer({ min: 0, max: 100 }),
      attempts: fc.array(fc.integer({ min: 0, max: 40 }), { minLength: 9, maxLength: 9 }),
      hours: fc.integer({ min: 0, max: 50 }),
    });
    fc.assert(
      fc.property(cases, ({ limiters, left, attempts, hours }) => {
        now = START;
        const one = takeOf(tokens(100, HOUR));
        let total = 0;
        for (let index = 0; index < limiters; index += 1) {
          const local = shares();
          local.saw([one], [stateWith(left)], now);
          const before = admitted(local, one, limiters, attempts[index]);
          now += hours * HOUR;
          const during = before + admitted(local, one, limiters, attempts[index]);
          now -= hours * HOUR;
          // A bucket that would be full again before it is asked for the first time counts as full.
          expect(during).toBeLessThanOrEqual(Math.floor(((attempts[index] ?? 0) > 0 ? left : 100) / limiters));
          total += before;
        }
        expect(total).toBeLessThanOrEqual(left);
      }),
    );
  });

  test('an unknown key has the whole limit, divided', () => {
    expect(admitted(shares(), takeOf(tokens(100, HOUR)), 3)).toBe(33);
    expect(admitted(shares(), takeOf(tokens(100, HOUR, 50)), 3)).toBe(16);
    expect(admitted(shares(), takeOf(window(100, 'Hour')), 3)).toBe(33);
    expect(admitted(shares(), takeOf(tokens(2, HOUR)), 3)).toBe(0);
  });

  test('a share does not refill', () => {
    const local = shares();
    expect(admitted(local, takeOf(tokens(10, MINUTE)), 2)).toBe(5);
    now += DAY;
    expect(admitted(local, takeOf(tokens(10, MINUTE)), 2)).toBe(0);
  });

  test('a new window gives a new share, and only then', () => {
    const local = shares();
    const one = takeOf(window(10, 'Hour'));
    local.saw([one], [stateWith(4, 30 * MINUTE)], now);
    expect(admitted(local, one, 2)).toBe(2);
    now += 30 * MINUTE - 1;
    expect(admitted(local, one, 2)).toBe(0);
    now += 1;
    expect(admitted(local, one, 2)).toBe(5);
    now += HOUR;
    expect(admitted(local, one, 2)).toBe(5);
  });

  test('what was left in a window that is over says nothing', () => {
    const local = shares();
    local.saw([takeOf(window(10, 'Hour'))], [stateWith(0, 30 * MINUTE)], now);
    now += 31 * MINUTE;
    expect(admitted(local, takeOf(window(10, 'Hour')), 1)).toBe(10);
  });

  test('a lowered limit lowers the share', () => {
    const local = shares();
    local.saw([takeOf(tokens(100, HOUR))], [stateWith(90)], now);
    expect(admitted(local, takeOf(tokens(10, HOUR)), 2)).toBe(5);
  });

  test('the number of limiters is never taken for less than one', () => {
    expect(admitted(shares(), takeOf(tokens(10, HOUR)), 0)).toBe(10);
  });
});

describe('a store that comes and goes', () => {
  test('does not multiply shares', () => {
    const local = shares();
    const one = takeOf(tokens(100, HOUR));
    let total = 0;
    for (let flap = 0; flap < 50; flap += 1) {
      local.saw([one], [stateWith(80)], now);
      total += admitted(local, one, 4, 10);
      now += MINUTE;
    }
    // 50 minutes of it: one share of floor(80 / 4), not fifty.
    expect(total).toBe(20);
  });

  test('lowers a share when less is left than it holds', () => {
    const local = shares();
    const one = takeOf(tokens(100, HOUR));
    local.saw([one], [stateWith(80)], now);
    expect(admitted(local, one, 4, 1)).toBe(1);
    local.saw([one], [stateWith(8)], now);
    expect(admitted(local, one, 4)).toBe(2);
  });

  test('an outage later on, when an empty bucket would be full again, has a share of its own', () => {
    const local = shares();
    const one = takeOf(tokens(100, HOUR));
    expect(admitted(local, one, 4)).toBe(25);
    now += HOUR;
    local.saw([one], [stateWith(40)], now);
    expect(admitted(local, one, 4)).toBe(10);
  });
});

describe('taking', () => {
  test('takes from all takes or from none, and names the longest wait', () => {
    const local = shares();
    const takes = [
      takeOf(tokens(10, HOUR), 1, 'a'),
      takeOf(tokens(2, HOUR), 2, 'b'),
      takeOf(window(10, 'Hour'), 1, 'c'),
    ];
    expect(local.take(takes, 1, now).outcome).toBe('admitted');
    const refused = local.take(takes, 1, now);
    expect(refused).toMatchObject({ outcome: 'refused', refusedBy: 1 });
    expect(refused.states.map(({ remaining, over }) => [remaining, over])).toEqual([
      [9, false],
      [0, true],
      [9, false],
    ]);
  });

  test('waits are those of the limit, as if the store were back', () => {
    const local = shares();
    const spent = [takeOf(tokens(60, HOUR), 60)];
    local.take(spent, 1, now);
    expect(local.take([takeOf(tokens(60, HOUR), 2)], 1, now).states[0]).toMatchObject({ waitMicros: 2 * MINUTE });
    const closed = takeOf(window(1, 'Hour'), 1, 'w');
    local.take([closed], 1, now);
    expect(local.take([closed], 1, now).states[0]).toMatchObject({ waitMicros: 30 * MINUTE, resetMicros: 30 * MINUTE });
  });

  test('nobody mints shares by many keys beyond the memory: the oldest start anew, each bounded by its limit', () => {
    const local = shares(2);
    const keys = ['a', 'b', 'c'].map((key) => takeOf(tokens(2, HOUR), 1, key));
    expect(keys.map((each) => admitted(local, each, 1))).toEqual([2, 2, 2]);
    expect(admitted(local, takeOf(tokens(2, HOUR), 1, 'c'), 1)).toBe(0);
  });

  test('shadow takes are not remembered', () => {
    const local = shares();
    const shadow: Take = { bucket: bucket(tokens(10, HOUR), 'k', true), amount: 1 };
    local.saw([shadow], [stateWith(0)], now);
    expect(admitted(local, takeOf(tokens(10, HOUR), 1, 'k'), 1)).toBe(10);
  });
});
