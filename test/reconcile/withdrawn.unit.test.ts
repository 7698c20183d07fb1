// The status of an object that nobody follows any more: what was told of limiters is Unknown, the verdicts on the
// spec stay, and what the operator makes of it when it looks again is as if nothing had been.
import { expect, test } from '@jest/globals';
import { reconcile } from '../../src/reconcile/reconcile.ts';
import { withdrawn } from '../../src/reconcile/status/withdrawn.ts';
import { NOW, worldOf } from './world.ts';

const withdrawal = { reason: 'NotWatched', message: 'nobody looks', now: '2026-06-02T00:00:00Z' };
const limits = [{ name: 'all', bucket: { maxTokens: 5, refillPeriod: '1h' } }];
const spec = {
  modelName: 'm',
  workloadSelector: { matchLabels: { app: 'web' } },
  rateLimiting: { scope: 'Local', limits },
};
const object = { kind: 'ModelRoute', metadata: { name: 'chat', namespace: 'a', generation: 3 }, spec } as const;
const world = worldOf(
  {},
  { fleet: { limiters: [{ name: 'web-1', state: 'synced' }], pods: { matching: 2, unlimited: ['web-2'] } } },
);
const { status } = reconcile({ object, world, now: NOW });

test('takes back what limiters said, and keeps what was said of the spec', () => {
  const after = withdrawn(status, withdrawal)!;
  expect(after).toMatchObject({
    observedGeneration: 3,
    configVersion: status.configVersion,
    limitCount: 1,
    limiters: { summary: 'unknown' },
    unlimitedPods: {},
    limits: [{ name: 'all', state: 'Unknown' }],
  });
  expect(JSON.stringify(after)).not.toContain('web-2');
  const verdicts = (after.conditions ?? []).map((each) => [
    each.type,
    each.status,
    each.reason,
    each.lastTransitionTime,
  ]);
  expect(verdicts).toEqual([
    ['Accepted', 'True', 'Accepted', NOW],
    ['ResolvedRefs', 'True', 'ResolvedRefs', NOW],
    ['Programmed', 'Unknown', 'NotWatched', withdrawal.now],
    ['Degraded', 'Unknown', 'NotWatched', withdrawal.now],
    ['Ready', 'Unknown', 'NotWatched', withdrawal.now],
  ]);
});

test('writes nothing twice, and nothing where nothing was said', () => {
  expect(withdrawn(withdrawn(status, withdrawal), { ...withdrawal, now: NOW })).toBeUndefined();
  for (const none of [undefined, null, {}, { conditions: [] }, { conditions: 'x' }]) {
    expect(withdrawn(none, withdrawal)).toBeUndefined();
  }
});

test('is forgotten when an operator looks again', () => {
  const again = reconcile({ object: { ...object, status: withdrawn(status, withdrawal) }, world, now: NOW });
  const plain = ({ conditions }: typeof status): unknown[] => conditions.map(({ type, reason }) => [type, reason]);
  expect(plain(again.status)).toEqual(plain(status));
  expect(again.status.limiters).toEqual(status.limiters);
});
