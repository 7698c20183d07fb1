// Who is told what: the sidecar of a pod by its labels, a shared limiter by its namespaces, everyone the fleet.
import { describe, expect, test } from '@jest/globals';
import { sees, type LimiterView, type Visibility } from '../../../src/controller/push/visibility.ts';

const pod = (namespace: string, labels: Record<string, string>): LimiterView => ({
  kind: 'pod',
  pod: { namespace, name: 'p', uid: 'u', labels },
});
const selecting = (namespace: string, matchLabels: Record<string, string>): Visibility => ({
  namespace,
  workloadSelector: { matchLabels },
});

describe('a sidecar', () => {
  test('sees what selects its pod in its own namespace', () => {
    expect(sees(pod('a', { app: 'x', tier: 'y' }), selecting('a', { app: 'x' }))).toBe(true);
    expect(sees(pod('a', { app: 'x' }), selecting('a', { app: 'x', tier: 'y' }))).toBe(false);
    expect(sees(pod('a', { app: 'x' }), selecting('b', { app: 'x' }))).toBe(false);
  });

  test('does not see what selects nothing, or names no selector', () => {
    expect(sees(pod('a', { app: 'x' }), { namespace: 'a' })).toBe(false);
    expect(sees(pod('a', { app: 'x' }), selecting('a', {}))).toBe(false);
  });

  test('is not selected by what every object inherits', () => {
    expect(sees(pod('a', {}), selecting('a', { constructor: 'x' }))).toBe(false);
  });
});

describe('a shared limiter', () => {
  test('sees the namespaces it was authorised for, with and without selector', () => {
    const some: LimiterView = { kind: 'shared', namespaces: ['a'] };
    expect(sees(some, { namespace: 'a' })).toBe(true);
    expect(sees(some, selecting('a', { app: 'x' }))).toBe(true);
    expect(sees(some, { namespace: 'b' })).toBe(false);
    expect(sees({ kind: 'shared', namespaces: 'all' }, { namespace: 'b' })).toBe(true);
  });
});

test('everyone sees the fleet', () => {
  expect(sees(pod('a', {}), 'everyone')).toBe(true);
  expect(sees({ kind: 'shared', namespaces: [] }, 'everyone')).toBe(true);
});
