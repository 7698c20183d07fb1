// The capability table: what an object asks for, what a limiter has, what is missing.
import { describe, expect, test } from '@jest/globals';
import { CAPABILITIES, missingCapabilities, ownCapabilities, usesOf } from '../../src/contract/capabilities.ts';

const route = {
  spec: {
    rateLimiting: {
      consistency: 'Exact',
      limits: [
        { name: 'a', measure: 'Requests', bucket: { maxTokens: 1, refillPeriod: '1m' }, per: [{ user: {} }] },
        { name: 'b', measure: 'TotalTokens', window: { limit: 1, period: 'Day' } },
      ],
    },
  },
};

describe('usesOf', () => {
  test('names the field with its index and whether it is enforced', () => {
    const uses = usesOf(route);
    expect(uses).toContainEqual({
      id: 'key.user',
      path: 'spec.rateLimiting.limits[0].per[0].user',
      value: {},
      enforced: true,
    });
    expect(uses.filter((use) => !use.enforced).map((use) => use.path)).toEqual(['spec.rateLimiting.limits[1].measure']);
  });

  test('a default value asks for nothing, the value beside it does', () => {
    const withConsistency = (consistency: string) => ({ spec: { rateLimiting: { consistency } } });
    expect(usesOf(withConsistency('Exact'))).toEqual([]);
    expect(usesOf(withConsistency('Leased')).map((use) => use.id)).toEqual(['consistency.leased']);
  });

  test.each([undefined, null, 'text', [], {}, { spec: null }, { spec: { rateLimiting: { limits: 'x' } } }])(
    'takes %j without a fault',
    (value) => {
      expect(usesOf(value)).toEqual([]);
    },
  );
});

test('a limiter without a capability misses exactly that one', () => {
  const required = usesOf(route)
    .filter((use) => use.enforced)
    .map((use) => use.id);
  expect(missingCapabilities(required, ownCapabilities())).toEqual([]);
  expect(missingCapabilities(required, ownCapabilities(['limit.bucket']))).toEqual(['limit.bucket']);
});

test('an id is enforced or not, in all of its rows alike', () => {
  const enforced = new Set(CAPABILITIES.filter((row) => row.enforced).map((row) => row.id));
  expect(CAPABILITIES.filter((row) => !row.enforced && enforced.has(row.id))).toEqual([]);
});
