// Durations: the grammar of the CRD, its bounds, and how they are shown.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { formatDuration, MAX_DURATION_MICROS, parseDurationMicros } from '../../../src/lib/values/duration.ts';

describe('parseDurationMicros', () => {
  test.each([
    ['1ms', 1000],
    ['1s', 1_000_000],
    ['1m', 60_000_000],
    ['1h30m', 5_400_000_000],
    ['1m500ms', 60_500_000],
    ['8784h', MAX_DURATION_MICROS],
  ])('%s is %d µs', (text, micros) => {
    expect(parseDurationMicros(text)).toBe(micros);
  });

  test.each(['', '0s', '1', '1d', '-1s', '1.5s', '8784h1ms', '123456s', '1h1m1s1ms1h', ' 1s', '1s '])(
    '%j is no duration',
    (text) => {
      expect(parseDurationMicros(text)).toBeUndefined();
    },
  );
});

test.each([
  [1, '1ms'],
  [250_000, '250ms'],
  [1_500_000, '1s500ms'],
  [59_000_001, '59s1ms'],
  [360_000_000, '6m'],
  [3_600_000_000, '1h'],
  [3_720_000_000, '1h2m'],
  [5_415_000_000, '1h30m15s'],
  [MAX_DURATION_MICROS, '8784h'],
])('%d µs is shown as %s', (micros, text) => {
  expect(formatDuration(micros)).toBe(text);
});

test('what is shown is the duration itself: it parses to the same', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: MAX_DURATION_MICROS / 1000 }), (ms) => {
      expect(parseDurationMicros(formatDuration(ms * 1000))).toBe(ms * 1000);
    }),
  );
});
