// The chart against a real API server, which validates and admits everything of it and keeps nothing (server-side dry
// run), for each set of values: also kinds whose controllers cannot run here.
import { beforeAll, expect, test } from '@jest/globals';
import { globSync } from 'node:fs';
import { basename } from 'node:path';
import { describeOnControlPlane } from '../../tools/node-cluster/describe-cluster.ts';
import { untilEstablished } from '../../tools/node-cluster/established.ts';
import { leaveOut } from '../../tools/node-cluster/leave-out.ts';
import { FOREIGN_KINDS } from './foreign-kinds.ts';
import { CHART, findHelm, helm, mustHelm, NO_HELM, objectsIn } from './helm.ts';

const OWN = 'weir-system';
const SETS = globSync(`${import.meta.dirname}/values/*.yaml`).sort();
/** Of these at least one of the sets makes some. */
const NOT_RUN = [
  'HorizontalPodAutoscaler',
  'NetworkPolicy',
  'PodDisruptionBudget',
  'ValidatingAdmissionPolicy',
  ...FOREIGN_KINDS.map(({ spec }) => spec.names.kind),
];

function suite(): void {
  describeOnControlPlane('the chart, as an API server takes it', {}, (cluster) => {
    const seen = new Set<string>();
    const dryRun = (manifest: string): Promise<{ code: number; stdout: string; stderr: string }> =>
      cluster().kubectl(['apply', '--server-side', '--dry-run=server', '--validate=strict', '-f', '-'], {
        input: manifest,
      });

    beforeAll(async () => {
      for (const name of [OWN, 'serving', 'tools']) await cluster().mustKubectl(['create', 'namespace', name]);
      // Whatever is not as Pod Security "restricted" wants it is a warning, which a test finds.
      await cluster().mustKubectl(['label', 'namespace', OWN, 'pod-security.kubernetes.io/warn=restricted']);
      // Made by a controller otherwise, and none runs here.
      await cluster().mustKubectl(['create', 'serviceaccount', 'default', '-n', OWN]);
      await cluster().mustKubectl(['apply', '--server-side', '-f', '-'], {
        input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: FOREIGN_KINDS }),
      });
      await untilEstablished((args) => cluster().mustKubectl(args), ['crd', '--all']);
    }, 60_000);

    test.each(SETS.map((path) => [basename(path, '.yaml'), path]))('with the values %s', async (_name, path) => {
      const text = await mustHelm(['template', 'weir', CHART, '--namespace', OWN, '--values', path]);
      for (const { kind } of objectsIn(text)) seen.add(kind);
      const { code, stdout, stderr } = await dryRun(text);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(stdout.trim().split('\n')).toHaveLength(objectsIn(text).length);
    });

    test('all that cannot run here was among it, and nothing was kept', async () => {
      expect(NOT_RUN.filter((kind) => !seen.has(kind))).toEqual([]);
      expect(await cluster().mustKubectl(['get', 'deployments,secrets,services', '-n', OWN, '-o', 'name'])).toBe('');
    });

    test('another release that is there is named, and no second one installed beside it', async () => {
      const install = (...sets: readonly string[]): ReturnType<typeof helm> =>
        helm(['install', 'weir', CHART, '-n', OWN, '--dry-run=server', ...sets], cluster().kubeconfig);
      const putFirst = async (...sets: readonly string[]): Promise<void> => {
        const objects = objectsIn(await mustHelm(['template', 'first', CHART, '-n', 'tools', ...sets]));
        // As helm marks what it installs.
        const annotations = { 'meta.helm.sh/release-name': 'first', 'meta.helm.sh/release-namespace': 'tools' };
        const items = objects
          .filter(({ kind }) => ['ClusterRole', 'Deployment'].includes(kind))
          .filter(({ metadata }) => metadata.name === 'first-operator')
          .map((one) => ({ ...one, metadata: { ...one.metadata, annotations } }));
        expect(items).toHaveLength(2);
        const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
        await cluster().mustKubectl(['apply', '--server-side', '-f', '-'], { input });
      };
      const watch = (...names: readonly string[]): string[] => ['--set', `watchNamespaces={${names.join(',')}}`];
      expect((await install()).code).toBe(0);
      await putFirst();
      const { code, stderr } = await install(...watch('serving'));
      expect([code, stderr]).toEqual([
        1,
        expect.stringContaining('Weir serves this cluster already: release first in the namespace tools'),
      ]);
      await putFirst(...watch('serving', 'other'));
      expect((await install()).stderr).toContain('Weir serves serving, other already');
      expect((await install(...watch('tools', 'serving'))).code).toBe(1);
      expect((await install(...watch('tools'))).code).toBe(0);
      // Its namespace was deleted, and helm not asked: what is left is no operator.
      await cluster().mustKubectl(['delete', 'deployment', 'first-operator', '-n', 'tools']);
      expect((await install()).code).toBe(0);
    });

    test('a field that is misspelt would be refused, in each kind', async () => {
      const everything = SETS.find((path) => path.endsWith('/everything.yaml'))!;
      const objects = objectsIn(await mustHelm(['template', 'weir', CHART, '-n', OWN, '--values', everything]));
      for (const kind of NOT_RUN) {
        const one = objects.find((object) => object.kind === kind)!;
        const { code, stderr } = await dryRun(
          JSON.stringify({ ...one, spec: { ...(one['spec'] as object), selecter: {} } }),
        );
        expect([kind, code === 0, stderr]).toEqual([kind, false, expect.stringMatching(/selecter/)]);
      }
    });
  });
}

if (findHelm() === undefined) leaveOut('the chart, as an API server takes it', NO_HELM, suite);
else suite();
