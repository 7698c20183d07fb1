// The values that platform teams look for: each one reaches the pods of every component that has it. What the whole
// renders to is in golden/platform.yaml.
import { describe, expect, test } from '@jest/globals';
import { leaveOut } from '../../tools/node-cluster/leave-out.ts';
import { CHART, findHelm, type Manifest, mustHelm, NO_HELM, objectsIn } from './helm.ts';

const COMPONENTS = ['operator', 'sharedLimiter', 'redis'] as const;
type Component = (typeof COMPONENTS)[number];

interface Template {
  readonly metadata: { readonly labels: object; readonly annotations?: object };
  readonly spec: Readonly<Record<string, unknown>> & {
    readonly containers: readonly Readonly<Record<string, unknown>>[];
  };
}

const LABEL: Readonly<Record<string, Component>> = { operator: 'operator', limiter: 'sharedLimiter', redis: 'redis' };

/** Pod templates by component, with the given values beside an enabled shared limiter. */
async function podsWith(values: object): Promise<ReadonlyMap<Component, Template>> {
  const settings = Object.entries({ 'sharedLimiter.enabled': true, ...values });
  const flags = settings.flatMap(([path, value]) => ['--set-json', `${path}=${JSON.stringify(value)}`]);
  const objects = objectsIn(await mustHelm(['template', 'weir', CHART, '--namespace', 'weir-system', ...flags]));
  const workloads = objects.filter(({ kind }) => kind === 'Deployment' || kind === 'StatefulSet');
  return new Map(workloads.map((object) => [componentOf(object), (object['spec'] as { template: Template }).template]));
}

function componentOf({ metadata }: Manifest): Component {
  return LABEL[metadata.labels?.['app.kubernetes.io/component'] ?? ''] ?? 'operator';
}

const AFFINITY = { nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [] } };
const SPREAD = { maxSkew: 3, topologyKey: 'zone', whenUnsatisfiable: 'DoNotSchedule', labelSelector: {} };

/** Value of a component, and where it is in the pod template. */
const OF_COMPONENTS: readonly [string, unknown, object, readonly Component[]][] = [
  ['podLabels', { tier: 'x' }, { metadata: { labels: { tier: 'x' } } }, COMPONENTS],
  ['podAnnotations', { note: 'x' }, { metadata: { annotations: { note: 'x' } } }, COMPONENTS],
  ['affinity', AFFINITY, { spec: { affinity: AFFINITY } }, COMPONENTS],
  ['nodeSelector', { disk: 'ssd' }, { spec: { nodeSelector: { disk: 'ssd' } } }, COMPONENTS],
  ['tolerations', [{ key: 'x' }], { spec: { tolerations: [{ key: 'x' }] } }, COMPONENTS],
  ['priorityClassName', 'high', { spec: { priorityClassName: 'high' } }, COMPONENTS],
  ['podSecurityContext', { fsGroup: 7 }, { spec: { securityContext: { fsGroup: 7 } } }, COMPONENTS],
  ['topologySpreadConstraints', [SPREAD], { spec: { topologySpreadConstraints: [SPREAD] } }, COMPONENTS.slice(0, 2)],
  ['serviceAccount.name', 'mine', { spec: { serviceAccountName: 'mine' } }, COMPONENTS.slice(0, 2)],
];

const OF_CONTAINERS: readonly [string, unknown][] = [
  ['extraEnv', [{ name: 'EXTRA', value: '1' }]],
  ['extraVolumeMounts', [{ name: 'extra', mountPath: '/extra' }]],
  ['securityContext', { privileged: false, runAsUser: 7 }],
];
const FIELDS: Readonly<Record<string, string>> = { extraEnv: 'env', extraVolumeMounts: 'volumeMounts' };

function suite(): void {
  test.each(OF_COMPONENTS)('%s reaches the pods', async (name, value, expected, components) => {
    const pods = await podsWith(Object.fromEntries(components.map((component) => [`${component}.${name}`, value])));
    for (const component of components) expect(pods.get(component)).toMatchObject(expected);
  });

  test.each(OF_CONTAINERS)('%s reaches the containers', async (name, value) => {
    const pods = await podsWith(Object.fromEntries(COMPONENTS.map((component) => [`${component}.${name}`, value])));
    for (const component of COMPONENTS) {
      const found = pods.get(component)?.spec.containers[0]?.[FIELDS[name] ?? name];
      expect(found).toEqual(
        Array.isArray(value) ? expect.arrayContaining(value) : expect.objectContaining(value as object),
      );
    }
  });

  test('extraVolumes reaches the pods', async () => {
    const volume = { name: 'extra', emptyDir: {} };
    const pods = await podsWith(
      Object.fromEntries(COMPONENTS.map((component) => [`${component}.extraVolumes`, [volume]])),
    );
    for (const component of COMPONENTS) expect(pods.get(component)?.spec['volumes']).toContainEqual(volume);
  });

  test('global.imageRegistry, imagePullSecrets, commonLabels and nameOverride reach all pods', async () => {
    const pods = await podsWith({
      'global.imageRegistry': 'mirror.example.com',
      imagePullSecrets: [{ name: 'registry' }],
      commonLabels: { team: 'platform' },
      nameOverride: 'limits',
    });
    expect([...pods.keys()].sort()).toEqual([...COMPONENTS].sort());
    for (const { metadata, spec } of pods.values()) {
      expect(spec.containers[0]?.['image']).toMatch(/^mirror\.example\.com\//);
      expect(spec['imagePullSecrets']).toContainEqual({ name: 'registry' });
      expect(metadata.labels).toMatchObject({ team: 'platform', 'app.kubernetes.io/name': 'limits' });
    }
  });
}

if (findHelm() === undefined) leaveOut('the values of platform teams', NO_HELM, suite);
else describe('the values of platform teams', suite);
