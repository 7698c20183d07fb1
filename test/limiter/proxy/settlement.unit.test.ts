// What is charged for a call, by how it ended: every row of the table, and what each combination of facts comes to.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { WeirError } from '../../../src/lib/errors.ts';
import { AS_RESERVED, REFUND, type Ending } from '../../../src/limiter/decide/usage.ts';
import type { Reading } from '../../../src/limiter/meter/answer-meter.ts';
import type { UpstreamEnd } from '../../../src/limiter/proxy/relay.ts';
import { endingOf, ENDINGS } from '../../../src/limiter/proxy/settlement.ts';

const reading: Reading = { usage: { requests: 1, output: 7 }, source: 'reported' };
const USED: Ending = { kind: 'used', ...reading };
const LATE = new WeirError('upstream_timeout');
const BROKEN = new WeirError('upstream_unreachable');

const end = (more: Partial<UpstreamEnd>): UpstreamEnd => ({ reached: true, clientLeft: false, ...more });

describe('what is charged', () => {
  test.each<[string, UpstreamEnd, Ending]>([
    ['never sent, because the client left', end({ reached: false, clientLeft: true }), REFUND],
    ['never sent, because nothing listens', end({ reached: false, error: BROKEN }), REFUND],
    ['400', end({ status: 400, reading }), REFUND],
    ['429', end({ status: 429 }), REFUND],
    ['500, cut off', end({ status: 500, error: BROKEN }), REFUND],
    ['529', end({ status: 529, clientLeft: true }), REFUND],
    ['200 that reports its usage', end({ status: 200, reading }), USED],
    ['200 that reports none', end({ status: 200 }), AS_RESERVED],
    ['302', end({ status: 302 }), AS_RESERVED],
    ['200, cut off after it reported', end({ status: 200, reading, error: BROKEN }), USED],
    ['200, cut off', end({ status: 200, error: BROKEN }), AS_RESERVED],
    ['trap 58: 200 that fell silent', end({ status: 200, error: LATE }), AS_RESERVED],
    ['trap 21: the client left in the middle', end({ status: 200, clientLeft: true }), AS_RESERVED],
    ['trap 21: the client left before the first byte', end({ clientLeft: true }), AS_RESERVED],
    ['taken, and not answered in time', end({ error: LATE }), AS_RESERVED],
    ['taken, and the connection broke before an answer', end({ error: BROKEN }), REFUND],
  ])('%s', (_what, how, expected) => {
    expect(endingOf(how)).toEqual(expected);
  });

  test('each way to end has one row, and the last row takes the rest', () => {
    const flag = fc.boolean();
    const ends = fc.record({
      reached: flag,
      clientLeft: flag,
      status: fc.constantFrom(undefined, 200, 204, 399, 400, 404, 503),
      error: fc.constantFrom(undefined, LATE, BROKEN),
      reading: fc.constantFrom(undefined, reading),
    });
    const used = new Set<string>();
    fc.assert(
      fc.property(ends, ({ reached, clientLeft, ...maybe }) => {
        const known = Object.fromEntries(Object.entries(maybe).filter(([, value]) => value !== undefined));
        const how: UpstreamEnd = { reached, clientLeft, ...known };
        const row = ENDINGS.find(({ holds }) => holds(how));
        used.add(row?.when ?? '');
        // Whoever was answered, or left, or waited in vain, is charged; an error is not.
        const isCharged = reached && (how.status === undefined ? clientLeft || how.error === LATE : how.status < 400);
        expect(endingOf(how).kind !== 'refund').toBe(isCharged);
      }),
      { numRuns: 2000 },
    );
    expect([...used].sort()).toEqual(ENDINGS.map(({ when }) => when).sort());
  });
});
