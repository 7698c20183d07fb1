// `weir cleanup` as the chart runs it after `helm uninstall`: with the Job's own arguments and rights, on a real API
// server. What operators made goes; what is somebody else's, or the user's, stays.
import { beforeAll, expect, test } from '@jest/globals';
import { cleanupCommand } from '../../src/cli/cleanup-command.ts';
import { LAST_GOOD_LABEL } from '../../src/controller/provider/last-good.ts';
import { describeOnControlPlane } from '../../tools/node-cluster/describe-cluster.ts';
import { prepareCluster } from '../rig/stack/cluster-access.ts';
import { leaveOut } from '../../tools/node-cluster/leave-out.ts';
import { CHART, findHelm, type Manifest, mustHelm, NO_HELM, objectsIn } from './helm.ts';

const OWN = 'weir-system';
const ACCOUNT = `system:serviceaccount:${OWN}:weir-cleanup`;
const PART_OF = { 'app.kubernetes.io/part-of': 'weir' };
const OPERATOR = { 'app.kubernetes.io/instance': 'weir', 'app.kubernetes.io/component': 'operator' };
/** More than one page of the API server's answers. */
const LAST_GOOD = 520;

const object = (apiVersion: string, kind: string, place: string, labels: object, more: object = {}): object => {
  const [namespace, name] = place.split('/');
  return { apiVersion, kind, metadata: { namespace, name, labels }, ...more };
};
const revision = (place: string, labels: object): object =>
  object('apps/v1', 'ControllerRevision', place, labels, { revision: 1, data: {} });
const lastGood = { ...PART_OF, [LAST_GOOD_LABEL]: 'ModelRoute' };

const MADE = [
  object('coordination.k8s.io/v1', 'Lease', `${OWN}/weir-operator`, PART_OF),
  object('v1', 'Secret', `${OWN}/weir-certificates`, PART_OF),
  object('v1', 'Secret', `${OWN}/weir-redis-acl`, PART_OF),
  object('v1', 'Secret', `${OWN}/weir-redis-auth`, PART_OF),
  object('v1', 'ConfigMap', `${OWN}/weir-ca`, PART_OF),
  object('v1', 'ConfigMap', 'team/weir-ca', PART_OF),
  ...Array.from({ length: LAST_GOOD }, (_, index) => revision(`team/made-${index}`, lastGood)),
];
const KEPT = [
  object('coordination.k8s.io/v1', 'Lease', `${OWN}/other`, PART_OF),
  object('coordination.k8s.io/v1', 'Lease', 'team/weir-operator', {}),
  object('v1', 'Secret', `${OWN}/redis-login`, PART_OF),
  object('v1', 'Secret', 'team/weir-certificates', PART_OF),
  object('v1', 'ConfigMap', 'other/weir-ca', { owner: 'somebody' }),
  object('v1', 'ConfigMap', 'team/weir-settings', PART_OF),
  revision('team/of-a-stateful-set', { app: 'database' }),
  revision('team/labelled-alike', { [LAST_GOOD_LABEL]: 'ModelRoute' }),
  object(
    'weir.dev/v1alpha1',
    'ModelRoute',
    'team/chat',
    {},
    {
      spec: {
        modelName: 'm',
        targets: [{ url: 'http://model:8000' }],
        rateLimiting: { limits: [{ name: 'all', measure: 'Requests', bucket: { maxTokens: 1, refillPeriod: '1h' } }] },
      },
    },
  ),
];

function suite(): void {
  describeOnControlPlane('weir cleanup', {}, (cluster) => {
    let args: readonly string[] = [];
    const apply = async (objects: readonly object[]): Promise<void> => {
      const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
      await cluster().mustKubectl(['apply', '--server-side', '-f', '-'], { input });
    };
    /** `Kind namespace/name` of everything of the kinds that matter here. */
    const present = async (): Promise<string[]> => {
      const kinds = 'leases,secrets,configmaps,controllerrevisions,modelroutes.weir.dev,crd';
      const text = await cluster().mustKubectl(['get', kinds, '-A', '-o', 'json']);
      const { items } = JSON.parse(text) as { items: Manifest[] };
      return items.map(placeOf).sort();
    };
    const cleanUp = async (...more: string[]): Promise<void> => {
      const kubeconfig = await cluster().plane.kubeconfigFor({
        user: ACCOUNT,
        groups: ['system:serviceaccounts', `system:serviceaccounts:${OWN}`, 'system:authenticated'],
      });
      const [, ...flags] = args;
      const command = cleanupCommand().exitOverride();
      await command.parseAsync([...flags, ...more, '--kubeconfig', kubeconfig], { from: 'user' });
    };

    beforeAll(async () => {
      await prepareCluster(cluster().mustKubectl);
      for (const name of ['team', 'other', 'third']) await cluster().mustKubectl(['create', 'namespace', name]);
      // Made by a controller otherwise, and none runs here.
      await cluster().mustKubectl(['create', 'serviceaccount', 'default', '-n', OWN]);
      const rendered = objectsIn(await mustHelm(['template', 'weir', CHART, '--namespace', OWN]));
      const hooks = rendered.filter(({ metadata }) => metadata.name === 'weir-cleanup');
      const job = hooks.find(({ kind }) => kind === 'Job') as Job | undefined;
      args = job?.spec.template.spec.containers[0]?.args ?? [];
      await apply(hooks.filter(({ kind }) => kind !== 'Job'));
      await apply([...MADE, ...KEPT]);
    }, 60_000);

    test('waits for the pods of the operator, and removes nothing while one is there', async () => {
      const spec = { containers: [{ name: 'operator', image: 'weir' }] };
      await apply([object('v1', 'Pod', `${OWN}/weir-operator-0`, OPERATOR, { spec })]);
      const before = await present();
      await expect(cleanUp('--deadline=1')).rejects.toThrow(/have not terminated within 1 s: weir-operator-0/);
      expect(await present()).toEqual(before);
      await cluster().mustKubectl(['delete', 'pod', 'weir-operator-0', '-n', OWN, '--force', '--grace-period=0']);
    });

    test('of an operator that watched one namespace leaves what others have in theirs', async () => {
      const theirs = [object('v1', 'ConfigMap', 'third/weir-ca', PART_OF), revision('third/made', lastGood)];
      await apply(theirs);
      const before = await present();
      await cleanUp('--namespace=other');
      const after = await present();
      expect(before.filter((place) => !after.includes(place))).toEqual([
        `ConfigMap ${OWN}/weir-ca`,
        `Lease ${OWN}/weir-operator`,
        `Secret ${OWN}/weir-certificates`,
        `Secret ${OWN}/weir-redis-acl`,
        `Secret ${OWN}/weir-redis-auth`,
      ]);
      await cluster().mustKubectl(['delete', 'namespace', 'third', '--wait=false']);
      await cluster().mustKubectl(['delete', 'configmap/weir-ca', 'controllerrevision/made', '-n', 'third']);
      await apply(MADE);
    });

    test('removes what operators made, and nothing else; a second time there is nothing to do', async () => {
      const before = await present();
      const made = new Set((MADE as Manifest[]).map(placeOf));
      expect(before.filter((place) => made.has(place))).toHaveLength(MADE.length);
      await cleanUp();
      const after = await present();
      expect(after).toEqual(before.filter((place) => !made.has(place)));
      expect(after).toEqual(expect.arrayContaining((KEPT as Manifest[]).map(placeOf)));
      expect(after).toContain('CustomResourceDefinition /modelroutes.weir.dev');
      await cleanUp();
      expect(await present()).toEqual(after);
    });

    test('has no right to more than that', async () => {
      const can = async (...what: string[]): Promise<string> =>
        (await cluster().kubectl(['auth', 'can-i', ...what, '--as', ACCOUNT])).stdout.trim();
      expect(await can('delete', 'configmaps/weir-ca', '-n', 'team')).toBe('yes');
      for (const what of [
        ['delete', 'configmaps/other', '-n', 'team'],
        ['delete', 'secrets/weir-certificates', '-n', 'team'],
        ['get', 'secrets/weir-certificates', '-n', OWN],
        ['delete', 'secrets/redis-login', '-n', OWN],
        ['delete', 'modelroutes.weir.dev/chat', '-n', 'team'],
        ['delete', 'crd/modelroutes.weir.dev'],
      ])
        expect([what, await can(...what)]).toEqual([what, 'no']);
    });
  });
}

function placeOf({ kind, metadata }: Manifest): string {
  return `${kind} ${metadata.namespace ?? ''}/${metadata.name}`;
}

interface Job extends Manifest {
  readonly spec: {
    readonly template: { readonly spec: { readonly containers: readonly { args: readonly string[] }[] } };
  };
}

if (findHelm() === undefined) leaveOut('weir cleanup', NO_HELM, suite);
else suite();
