// Durations: the grammar of the CRD, its bounds, and how they are shown.
import { describe, expect, test } from '@jest/globals';
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
  [59_000_001, '1m0s'],
  [360_000_000, '6m0s'],
  [3_720_000_000, '1h2m'],
])('%d µs is shown as %s', (micros, text) => {
  expect(formatDuration(micros)).toBe(text);
});
