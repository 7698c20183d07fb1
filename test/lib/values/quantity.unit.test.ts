// Quantities as Kubernetes reads them.
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { formatQuantityMillis, parseQuantityMillis } from '../../../src/lib/values/quantity.ts';

test.each<[string, bigint]>([
  ['1', 1000n],
  ['0', 0n],
  ['+2', 2000n],
  ['250m', 250n],
  ['0.5', 500n],
  ['1.5', 1500n],
  ['2k', 2_000_000n],
  ['1M', 1_000_000_000n],
  ['1Ki', 1_024_000n],
  ['300Mi', 314_572_800_000n],
  ['0.5Gi', 536_870_912_000n],
  ['1e3', 1_000_000n],
  ['1E3', 1_000_000n],
  ['12E', 12_000_000_000_000_000_000_000n],
  ['1e-2', 10n],
  ['1n', 1n],
  ['1500u', 2n],
])('%s', (text, millis) => {
  expect(parseQuantityMillis(text)).toBe(millis);
});

test.each([
  '',
  'm',
  '-1',
  '1 Gi',
  '1gi',
  '1GiB',
  '1.',
  '.5',
  '0x10',
  '1e',
  'Infinity',
  'NaN',
  '1_000',
  '１',
  '1K',
  '1mi',
  '9'.repeat(40),
])('%s is none', (text) => {
  expect(parseQuantityMillis(text)).toBeUndefined();
});

test('no text is too strange, and what is written is read again', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 60 }), (text) => {
      const millis = parseQuantityMillis(text);
      expect(millis === undefined || millis >= 0n).toBe(true);
    }),
  );
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 10n ** 17n }), (millis) => {
      expect(parseQuantityMillis(formatQuantityMillis(millis))).toBe(millis);
    }),
  );
});
