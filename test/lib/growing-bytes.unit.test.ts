// Chunks of bytes joined as they come: the same bytes in the end, however they were cut.
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { GrowingBytes } from '../../src/lib/growing-bytes.ts';

test('what was cut is joined, with and without an announced size, true or not', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 9_000 }), { maxLength: 12 }),
      fc.option(fc.nat(40_000), { nil: undefined }),
      fc.boolean(),
      (chunks, announced, isTrue) => {
        const whole = Buffer.concat(chunks);
        const joined = new GrowingBytes(isTrue ? whole.length : announced);
        for (const chunk of chunks) joined.append(Buffer.from(chunk));
        expect(joined.length).toBe(whole.length);
        expect(joined.bytes().equals(whole)).toBe(true);
      },
    ),
  );
});

test('a chunk that is all of it is not copied; what is discarded is gone', () => {
  const chunk = Buffer.from('all of it');
  const joined = new GrowingBytes(chunk.length);
  joined.append(chunk);
  expect(joined.bytes()).toBe(chunk);
  const discarded = new GrowingBytes();
  discarded.append(chunk);
  const bytes = discarded.bytes();
  discarded.discard();
  expect([bytes.length, discarded.length, chunk.length]).toEqual([0, 0, 9]);
});
