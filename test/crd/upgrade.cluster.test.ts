// Tests an upgrade of the CRDs on a real API server: objects that the API server of 0.2.0 stored with its defaults
// are kept as they are, mean the same, and after they were applied once more a file changes nothing.
import { beforeAll, describe, expect, test } from '@jest/globals';
import { canonicalJson } from '../../src/contract/snapshot.ts';
import { presentForm } from '../../src/reconcile/form.ts';
import { describeOnControlPlane } from '../../tools/node-cluster/describe-cluster.ts';
import { untilEstablished } from '../../tools/node-cluster/established.ts';
import { KINDS } from '../../src/crd/kinds/kinds.ts';
import { installKinds } from './installed-kinds.ts';
import { RELEASE, SETTINGS, crdsWithDefaults, storedSpec } from './release-0.2.0.ts';

interface Live {
  readonly metadata: { readonly name: string; readonly generation: number };
  readonly spec: Readonly<Record<string, unknown>>;
}

const OBJECTS = RELEASE.objects.filter(({ name }) => !name.startsWith('corpus/'));
const INPUT = JSON.stringify({
  apiVersion: 'v1',
  kind: 'List',
  items: OBJECTS.map(({ kind, spec }, index) => ({
    apiVersion: 'weir.dev/v1alpha1',
    kind,
    metadata: { name: `m-${index}`, namespace: 'default' },
    spec,
  })),
});

function configOf(index: number, spec: Live['spec']): string {
  const metadata = { name: 'a', namespace: 'n', uid: 'u', generation: 1 };
  return canonicalJson(presentForm({ kind: OBJECTS[index]!.kind, metadata, spec }, SETTINGS).config);
}

describe.each(['client-side', 'server-side'])('objects of 0.2.0, applied %s', (side) => {
  describeOnControlPlane('under the CRDs of this version', {}, (cluster) => {
    const flags = side === 'server-side' ? ['--server-side', '--field-manager=a'] : [];
    const apply = (...more: string[]) => cluster().kubectl(['apply', ...flags, ...more, '-f', '-'], { input: INPUT });
    const live = async () =>
      (JSON.parse(await cluster().mustKubectl(['get', '-o', 'json', '-f', '-'], { input: INPUT })) as { items: Live[] })
        .items;

    beforeAll(async () => {
      for (const crd of crdsWithDefaults()) {
        await cluster().mustKubectl(['create', '-f', '-'], { input: JSON.stringify(crd) });
      }
      const names = KINDS.map(({ plural }) => `crd/${plural}.weir.dev`);
      await untilEstablished((args) => cluster().mustKubectl(args), names);
      expect(await apply()).toMatchObject({ code: 0 });
    });

    test('are kept, mean the same, and become as written when they are applied', async () => {
      const before = await live();
      expect(before.map(({ spec }) => spec)).toEqual(OBJECTS.map(({ kind, spec }) => storedSpec(kind, spec)));

      await installKinds(cluster());
      const kept = await live();
      expect(kept.map(({ metadata, spec }) => [metadata.generation, spec])).toEqual(
        before.map(({ metadata, spec }) => [metadata.generation, spec]),
      );
      kept.forEach(({ spec }, index) => {
        expect(configOf(index, spec)).toBe(configOf(index, OBJECTS[index]!.spec));
      });

      expect(await apply()).toMatchObject({ code: 0, stderr: '' });
      const first = await live();
      expect(await apply()).toMatchObject({ code: 0, stderr: '' });
      const second = await live();
      expect(second.map(({ metadata }) => metadata.generation)).toEqual(
        first.map(({ metadata }) => metadata.generation),
      );
      second.forEach(({ spec }, index) => {
        expect(configOf(index, spec)).toBe(configOf(index, OBJECTS[index]!.spec));
      });
      if (side === 'server-side') {
        expect(await apply('--field-manager=b')).toMatchObject({ code: 0, stderr: '' });
      }
    });
  });
});
