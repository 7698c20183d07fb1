// Canonical bytes: equal values have equal versions, whatever order they were built in.
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parseResourceName, resourceName } from '../../src/contract/limiter-config.ts';
import { canonicalJson, versionOf } from '../../src/contract/snapshot.ts';

test('the order of members does not matter, the order of lists does', () => {
  expect(canonicalJson({ b: 1, a: { d: [2, 1], c: undefined } })).toBe('{"a":{"d":[2,1]},"b":1}');
});

test('canonical JSON parses back to the same value and is stable', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = canonicalJson(value);
      expect(canonicalJson(JSON.parse(text))).toBe(text);
    }),
  );
});

test('it is what JSON.stringify writes of the same members in order, names that look like numbers included', () => {
  const sorted = (value: unknown): string =>
    JSON.stringify(value, (_key, member: unknown) => {
      if (member === null || typeof member !== 'object' || Array.isArray(member)) return member;
      const entries = Object.entries(member).filter(([, inner]) => inner !== undefined);
      return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
    });
  const name = fc.oneof(
    fc.string(),
    fc.nat().map(String),
    fc.constantFrom('10', '9', '01', '-1', '__proto__', 'é', '\u2028'),
  );
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      fc.anything({ maxDepth: 0 }).filter((one) => typeof one !== 'bigint' && typeof one !== 'symbol'),
      fc.array(tie('value'), { maxLength: 4 }),
      fc.dictionary(name, tie('value'), { maxKeys: 6 }),
    ),
  }));
  fc.assert(
    fc.property(value, (one) => canonicalJson(one) === sorted(one)),
    { numRuns: 1_000 },
  );
  expect(canonicalJson({ at: new Date(0), none: undefined, list: [undefined] })).toBe(
    '{"at":"1970-01-01T00:00:00.000Z","list":[null]}',
  );
});

test('a version is pinned: a change of the canonical form would re-send everything', () => {
  expect(versionOf(Buffer.from('{}'))).toBe('44136fa355b3678a');
});

test('a resource name goes both ways', () => {
  const ref = { kind: 'ModelRoute', namespace: 'serving', name: 'llama' } as const;
  expect(parseResourceName(resourceName(ref))).toEqual(ref);
});

test.each(['', 'Fleet/-/-', 'ModelRoute/a', 'ModelRoute/a/b/c', 'Pod/a/b', 'MCPServer//x'])(
  '%j names no object',
  (text) => {
    expect(parseResourceName(text)).toBeUndefined();
  },
);
