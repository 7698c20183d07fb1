// How the objects stand, as Prometheus reads it: what is ready and why not, limiters by object within a bound, pods
// without limits by reason, each pod once; and nothing from a replica that does not lead.
import { beforeEach, expect, test } from '@jest/globals';
import { Registry } from 'prom-client';
import { ObjectMetrics } from '../../src/controller/object-metrics.ts';
import { reconcile } from '../../src/reconcile/reconcile.ts';
import { NOW, worldOf, type Fleet } from '../reconcile/world.ts';

let registry: Registry;
let metrics: ObjectMetrics;
let isLeader: boolean;

beforeEach(() => {
  isLeader = true;
  registry = new Registry();
  metrics = new ObjectMetrics(registry, () => isLeader);
});

function see(name: string, fleet: Fleet, app = 'web'): void {
  const spec = {
    modelName: name,
    workloadSelector: { matchLabels: { app } },
    rateLimiting: { scope: 'Local', limits: [{ name: 'all', bucket: { maxTokens: 1, refillPeriod: '1h' } }] },
  };
  const object = { kind: 'ModelRoute', metadata: { name, namespace: 'a', generation: 1 }, spec } as const;
  const { status, tally } = reconcile({ object, world: worldOf({}, { fleet }), now: NOW });
  metrics.set(`ModelRoute/a/${name}`, status, tally);
}

const synced = (count: number): Fleet => ({
  limiters: Array.from({ length: count }, (_, index) => ({ name: `pod-${index}`, state: 'synced' as const })),
  pods: { matching: count },
});

async function series(name: string): Promise<string[]> {
  const text = await registry.metrics();
  return text
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .map((line) => line.slice(name.length).trim())
    .sort();
}

test('an object of twenty limiters is told from one of none', async () => {
  see('many', synced(20));
  see('none', { pods: { matching: 0 } });
  expect(await series('weir_operator_objects')).toEqual([
    '{kind="ModelRoute",ready="false",reason="NoMatchingPods"} 1',
    '{kind="ModelRoute",ready="true",reason="Ready"} 1',
  ]);
  expect(await series('weir_operator_object_limiters')).toEqual([
    '{object="ModelRoute/a/many",state="desired"} 20',
    '{object="ModelRoute/a/many",state="synced"} 20',
    '{object="ModelRoute/a/none",state="desired"} 0',
    '{object="ModelRoute/a/none",state="synced"} 0',
  ]);
});

test('a pod without a limiter counts once, whatever selects it, and no longer when its objects are gone', async () => {
  see('one', { pods: { matching: 2, unlimited: ['x', 'y'] } });
  see('two', { pods: { matching: 1, unlimited: ['y'] } });
  expect(await series('weir_operator_unlimited_pods')).toEqual(['2']);
  expect(await series('weir_operator_skipped_pods')).toEqual(['{reason="NotSeen"} 2']);
  metrics.delete('ModelRoute/a/one');
  expect(await series('weir_operator_unlimited_pods')).toEqual(['1']);
  see('two', synced(1));
  expect(await series('weir_operator_skipped_pods')).toEqual([]);
});

test('series by object are bounded, those that are known keep theirs, and what has none is counted', async () => {
  for (let index = 0; index < 1_003; index++) see(`r${index}`, synced(1));
  see('r0', synced(2));
  expect(await series('weir_operator_object_limiters')).toHaveLength(2_000);
  expect(await series('weir_operator_object_limiters')).toContain('{object="ModelRoute/a/r0",state="desired"} 2');
  expect(await series('weir_operator_objects_omitted')).toEqual(['3']);
  expect(await series('weir_operator_objects')).toEqual(['{kind="ModelRoute",ready="true",reason="Ready"} 1003']);
});

test('a replica that does not lead says nothing: limiters do not talk to it', async () => {
  see('many', synced(20));
  isLeader = false;
  for (const name of ['objects', 'object_limiters', 'unlimited_pods', 'bypassed_pods', 'objects_omitted']) {
    expect(await series(`weir_operator_${name}`)).toEqual([]);
  }
  isLeader = true;
  expect(await series('weir_operator_unlimited_pods')).toEqual(['0']);
});
