// Tests the metadata of objects on a real API server: the offline verdict is equal to its own.
import { expect, test } from '@jest/globals';
import { judgeText } from '../../src/crd/validate.ts';
import { describeOnCluster } from '../../tools/node-cluster/describe-cluster.ts';
import { disagreements } from './agreement.ts';
import { apiServerOf } from './installed-kinds.ts';

const named = (fields: object) => ({ name: 'a', ...fields });
const labels = (entries: unknown) => named({ labels: entries });
const annotations = (entries: unknown) => named({ annotations: entries });
const owners = (...entries: unknown[]) => named({ ownerReferences: entries });

const METADATA: readonly unknown[] = [
  ...[null, 5, 'a', [], {}],
  ...['', 'a'.repeat(253), 'a'.repeat(254), 'a.b-c', 'a..b', '-a', 'A', 'a_b', 5, null].map((name) => ({ name })),
  ...['a-', 'A-', 'a'.repeat(300), ''].map((generateName) => ({ generateName })),
  ...[null, [], {}, { a: null }, { a: '' }, { '': 'a' }, { 'a/b/c': 'a' }, { '/a': 'a' }, { 'A.b/c': 'a' }].map(labels),
  ...[{ 'b.c/c_.-d': 'A_.-b' }, { a: 'a'.repeat(64) }, { ['a'.repeat(64)]: 'a' }, { a: 5 }, { a: 'b c' }].map(labels),
  ...[{ 'a b': 'x' }, { 'A.b/C': 'x' }, { a: 5 }, { a: 'x'.repeat(263_000) }].map(annotations),
  ...[null, '2020-01-01T00:00:00Z', '2020-01-01', 'x', 5].map((creationTimestamp) => named({ creationTimestamp })),
  ...[5, '5', 1.5].map((generation) => named({ generation })),
  ...[['a/b'], [5], 'x'].map((finalizers) => named({ finalizers })),
  ...[{ uid: 'x' }, { uid: 5 }, { Name: 'x' }, { clusterName: 'x' }, { selfLink: 'x' }, { managedFields: [] }].map(
    named,
  ),
  owners(),
  owners({}),
  owners({ foo: 1 }),
  owners({ apiVersion: 'v1', kind: 'Pod', name: 'p', uid: 'u', controller: true }),
];

describeOnCluster('metadata on an API server', (cluster) => {
  const server = apiServerOf(cluster);

  test('agrees', async () => {
    for (const metadata of METADATA) {
      const object = { apiVersion: 'weir.dev/v1alpha1', kind: 'ModelRoute', metadata, spec: { modelName: 'm' } };
      const text = JSON.stringify(object);
      const answer = await server().dryRun('modelroutes', text);
      const [verdict] = judgeText(text);
      expect({ metadata, found: disagreements(verdict!, answer) }).toEqual({ metadata, found: [] });
    }
  });
});
