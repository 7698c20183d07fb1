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
