// The body that goes on: edits are splices, and every byte that is not edited goes on as it was sent.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Readable } from 'node:stream';
import { outgoingBody, type OutgoingBody, type BodyEdit } from '../../../src/limiter/proxy/outgoing.ts';
import { BodyBudget, SMALL_BODY_BYTES } from '../../../src/limiter/request/body-budget.ts';
import { RequestBody } from '../../../src/limiter/request/body.ts';

const budget = new BodyBudget(1 << 30, () => 0);
const bodyOf = (raw: Buffer, decoded = raw): RequestBody => new RequestBody(raw, decoded, budget.open());

async function bytesOf({ content }: OutgoingBody): Promise<Buffer> {
  if (content === null) return Buffer.alloc(0);
  return content instanceof Readable ? Buffer.concat(await content.toArray()) : content;
}

/** Ascending places of a text of `length` bytes, two per edit. */
const splicesOf = (length: number): fc.Arbitrary<BodyEdit[]> =>
  fc
    .tuple(
      fc.array(fc.nat(length), { maxLength: 8 }),
      fc.array(fc.uint8Array({ maxLength: 9 }), { minLength: 4, maxLength: 4 }),
    )
    .map(([places, inserts]) => {
      const sorted = [...places].sort((a, b) => a - b);
      return inserts
        .slice(0, Math.floor(sorted.length / 2))
        .map((bytes, index) => ({ from: sorted[2 * index]!, to: sorted[2 * index + 1]!, bytes: Buffer.from(bytes) }));
    });

describe('outgoing', () => {
  test('edits change what they name and nothing else', async () => {
    const lengths = fc.constantFrom(1, 40, SMALL_BODY_BYTES, SMALL_BODY_BYTES + 3, 3 * SMALL_BODY_BYTES);
    const bytes = Buffer.alloc(3 * SMALL_BODY_BYTES, 'abcdefghijk');
    await fc.assert(
      fc.asyncProperty(
        lengths.chain((length) => fc.tuple(fc.constant(length), splicesOf(length))),
        async ([length, splices]) => {
          const body = bytes.subarray(0, length);
          const expected: Buffer[] = [];
          let at = 0;
          for (const { from, to, bytes: inserted } of splices) {
            expected.push(body.subarray(at, from), inserted);
            at = to;
          }
          expected.push(body.subarray(at));
          const out = outgoingBody(bodyOf(body), {}, true, splices);
          const sent = await bytesOf(out);
          expect(sent.equals(Buffer.concat(expected))).toBe(true);
          if (out.lengthHeader.length > 0) expect(out.lengthHeader).toEqual(['Content-Length', String(sent.length)]);
        },
      ),
      { numRuns: 200 },
    );
  });

  test('of an encoded body the decoded form is edited, and headers about the bytes come off', async () => {
    const edit: BodyEdit = { from: 1, to: 1, bytes: Buffer.from('"stream":true,') };
    const out = outgoingBody(bodyOf(Buffer.from('zip'), Buffer.from('{"n":1}')), { 'content-encoding': 'gzip' }, true, [
      edit,
    ]);
    expect(String(await bytesOf(out))).toBe('{"stream":true,"n":1}');
    expect(out.untrue).toEqual(expect.arrayContaining(['content-encoding', 'content-digest']));
  });

  test('an edited body that is not encoded loses its digests too', () => {
    const out = outgoingBody(bodyOf(Buffer.from('{}')), { digest: 'sha-256=x' }, true, [
      { from: 1, to: 1, bytes: Buffer.from('"a":1') },
    ]);
    expect(out.untrue).toContain('digest');
  });

  test.each<[string, [from: number, to: number][]]>([
    [
      'overlap',
      [
        [0, 2],
        [1, 3],
      ],
    ],
    ['run backwards', [[2, 1]]],
    ['lie outside', [[0, 9]]],
  ])('edits that %s are a fault', (_what, places) => {
    const splices = places.map(([from, to]) => ({ from, to, bytes: Buffer.alloc(0) }));
    expect(() => outgoingBody(bodyOf(Buffer.from('abc')), {}, true, splices)).toThrow('overlap');
  });
});
