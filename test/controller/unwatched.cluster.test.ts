// What an operator does not look at it takes from nobody, on a real API server: namespaces that are no longer
// watched, a kind of a newer operator, a right that is gone. Limiters keep what they have, are told why they are not
// served, and no status goes on saying what nobody knows.
import { afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { describeOnControlPlane } from '../../tools/node-cluster/describe-cluster.ts';
import { freePorts } from '../../tools/node-cluster/ports.ts';
import { waitFor } from '../../tools/node-cluster/wait.ts';
import { ELECTION_TIMING } from '../../src/controller/election/leader-election.ts';
import type { OperatorSettings } from '../../src/controller/settings.ts';
import { capturingLogger } from '../lib/capturing-logger.ts';
import { RawLimiter } from '../contract/raw-limiter.ts';
import {
  condition,
  OperatorRig,
  prepareCluster,
  route,
  verdict,
  type Status,
  type TestLimiter,
} from './operator-rig.ts';

const ROUTE = 'modelroutes.weir.dev';
const ACCOUNT = 'system:serviceaccount:weir-system:weir-operator';
const SOON = { deadlineMs: 20_000, everyMs: 100 };
const watchesAll: readonly string[] = [];
const watchesBoth = ['kept', 'dropped'];
const name = (namespace: string): string => `ModelRoute/${namespace}/chat`;

describeOnControlPlane('what is not watched', {}, (cluster) => {
  let rig: OperatorRig;
  const kubectl = (...args: string[]): Promise<string> => cluster().mustKubectl(args);

  beforeAll(async () => {
    await prepareCluster(cluster());
    await kubectl('apply', '--server-side', '-f', 'deploy/rbac.yaml');
    for (const namespace of ['kept', 'dropped']) {
      await kubectl('create', 'namespace', namespace);
      await kubectl('-n', namespace, 'create', 'serviceaccount', 'limiter');
    }
  }, 60_000);
  beforeEach(async () => {
    rig = await OperatorRig.make(cluster());
    await rig.apply(...['kept', 'dropped'].flatMap((namespace) => [pod(namespace), selecting(namespace, 10)]));
  }, 60_000);
  afterEach(async () => {
    await rig.end();
    for (const namespace of ['kept', 'dropped']) {
      await kubectl('delete', ROUTE, '--all', '-n', namespace);
      await kubectl('delete', 'pod', 'web', '-n', namespace, '--force', '--grace-period=0');
    }
  }, 60_000);

  const pod = (namespace: string): unknown => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'web', namespace, labels: { app: 'web' }, annotations: { 'weir.dev/injected': '0.2.0' } },
    spec: { serviceAccountName: 'limiter', containers: [{ name: 'main', image: 'none' }] },
  });
  const selecting = (namespace: string, maxTokens: number): unknown =>
    route('chat', maxTokens, { workloadSelector: { matchLabels: { app: 'web' } } }, namespace);
  const watching = (...namespaces: string[]): Partial<OperatorSettings> => ({
    source: { kind: 'cluster', kubeconfig: cluster().kubeconfig, namespaces },
    reconnectGraceMs: 0,
  });
  const until = (namespace: string, is: (status: Status) => boolean): Promise<Status> =>
    rig.statusOf(ROUTE, 'chat', is, 20_000, namespace);
  const versionAt = (limiter: TestLimiter, namespace: string): string | undefined =>
    limiter.held.get(name(namespace))?.version;
  const inForce = (limiter: TestLimiter, namespace: string, version: string | undefined): Promise<true> =>
    waitFor('the config', () => (versionAt(limiter, namespace) === version ? true : undefined), SOON);

  const leaseAnnotations = (): Promise<string> =>
    kubectl('-n', 'weir-system', 'get', 'lease', 'unwatched', '-o', 'jsonpath={.metadata.annotations}');
  const noted = (annotations: string, namespaces: readonly string[]): true | undefined => {
    const text = namespaces.length === 0 ? '*' : namespaces.toSorted().join(',');
    return annotations.includes(`"weir.dev/watched-namespaces":"${text}"`) ? true : undefined;
  };

  test('a namespace that is no longer watched: its limiters keep their configs, and its statuses say that nobody looks', async () => {
    await rig.start(watching());
    const sidecars = { kept: await rig.sidecar('kept', 'web'), dropped: await rig.sidecar('dropped', 'web') };
    const shared = await rig.limiter();
    const isWhole = (status: Status): boolean => verdict(status) === 'True Ready' && status.limiters?.summary === '2/2';
    const before = await until('dropped', isWhole);
    await until('kept', isWhole);
    await rig.operator!.stop();

    const { log, lines } = capturingLogger();
    await rig.start({ ...watching('kept'), log });
    const after = await until('dropped', (status) => verdict(status) === 'Unknown NotWatched');
    expect(['Programmed', 'Degraded', 'Accepted'].map((type) => verdict(after, type))).toEqual([
      'Unknown NotWatched',
      'Unknown NotWatched',
      'True Accepted',
    ]);
    expect(condition(after, 'Programmed')!.message).toMatch(/no longer watches namespace dropped.*watchNamespaces/);
    expect(after).toMatchObject({ configVersion: before.configVersion, limiters: { summary: 'unknown' } });
    expect(after.unlimitedPods?.count).toBeUndefined();

    // An edit where it looks has reached all who are served: what was to be taken away would have been by then.
    await rig.apply(selecting('kept', 20));
    const edited = await until('kept', (status) => verdict(status) === 'True Ready' && status.observedGeneration === 2);
    for (const limiter of [sidecars.kept, shared]) await inForce(limiter, 'kept', edited.configVersion);
    expect(versionAt(sidecars.dropped, 'dropped')).toBe(before.configVersion);
    expect(versionAt(shared, 'dropped')).toBe(before.configVersion);
    const refusals = lines.filter((line) => JSON.stringify(line).includes('limiter refused'));
    expect(JSON.stringify(refusals)).toMatch(
      /PERMISSION_DENIED.*namespace dropped is not watched by this operator \(it watches kept\)/,
    );
    await rig.operator!.stop();

    await rig.start(watching());
    await until('dropped', isWhole);
  }, 120_000);

  test.each([
    ['all', watchesAll],
    ['it and others', watchesBoth],
  ])(
    'a namespace without limiters, no longer watched by the holder of the Lease that watched %s',
    async (_of, before) => {
      const noLimiter = (status: Status): boolean => verdict(status) === 'False Pending';
      const elected = { election: { namespace: 'weir-system', leaseName: 'unwatched', ...ELECTION_TIMING } };
      await rig.start({ ...watching(...before), ...elected });
      await until('dropped', noLimiter);
      await waitFor('what is watched, in the Lease', async () => noted(await leaseAnnotations(), before), SOON);
      await rig.operator!.stop();

      await rig.start({ ...watching('kept'), ...elected });
      await until('dropped', (status) => verdict(status) === 'Unknown NotWatched');
      await waitFor('what is watched now', async () => noted(await leaseAnnotations(), ['kept']), SOON);
      await rig.operator!.stop();

      await rig.start({ ...watching(), ...elected });
      await until('dropped', noLimiter);
    },
    120_000,
  );

  test('what it does watch is taken away when it is gone, also while nobody looked', async () => {
    await rig.start(watching());
    const sidecar = await rig.sidecar('kept', 'web');
    await until('kept', (status) => verdict(status) === 'True Ready');
    await rig.operator!.stop();
    await kubectl('delete', ROUTE, 'chat', '-n', 'kept');
    await rig.start(watching('kept'));
    await inForce(sidecar, 'kept', undefined);
  }, 60_000);

  test('a limiter of a newer operator keeps the kinds that this one does not know', async () => {
    const operator = await rig.start(watching());
    const token = (
      await kubectl('create', 'token', '-n', 'weir-system', 'weir-limiter', '--audience', 'weir.dev')
    ).trim();
    const raw = new RawLimiter({ port: operator.pushPort, ca: readFileSync(operator.caFile, 'utf8'), token });
    try {
      const held = { 'LLMRoute/kept/new': 'v1', 'ModelRoute/kept/gone': 'v1' };
      raw.subscribe({ nodeId: 'newer' }, { initial_resource_versions: held });
      expect((await raw.next()).removed_resources).toEqual(['ModelRoute/kept/gone']);
    } finally {
      raw.close();
    }
  }, 60_000);

  test('a right that is gone at the start: the operator says so, opens to nobody and takes nothing away', async () => {
    await rig.start(watching());
    const sidecar = await rig.sidecar('kept', 'web');
    const { configVersion } = await until('kept', (status) => verdict(status) === 'True Ready');
    await rig.operator!.stop();
    const groups = ['system:serviceaccounts', 'system:serviceaccounts:weir-system', 'system:authenticated'];
    const kubeconfig = await cluster().plane.kubeconfigFor({ user: ACCOUNT, groups });
    const rules = await kubectl('get', 'clusterrole', 'weir-operator', '-o', 'json');
    const without = rules.replace('"mcpservers"', '"mcpserver"');
    expect(without).not.toBe(rules);
    await cluster().mustKubectl(['replace', '-f', '-'], { input: without });
    const [adminPort = 0] = await freePorts(1);
    const started = rig.start({
      ...watching(),
      source: { kind: 'cluster', kubeconfig, namespaces: [] },
      adminListen: { host: '127.0.0.1', port: adminPort },
    });
    try {
      const told = await waitFor(
        'what it waits for',
        async () => {
          const text = await fetch(`http://127.0.0.1:${adminPort}/readyz`).then(
            (answer) => answer.text(),
            () => '',
          );
          return text.includes('forbidden') ? text : undefined;
        },
        SOON,
      );
      expect(told).toMatch(/mcpservers.*forbidden/);
      expect(told).not.toContain('modelroutes');
      expect(versionAt(sidecar, 'kept')).toBe(configVersion);
    } finally {
      await cluster().mustKubectl(['replace', '--force', '-f', '-'], { input: rules });
      await started;
    }
    await until('kept', (status) => verdict(status) === 'True Ready');
    expect(versionAt(sidecar, 'kept')).toBe(configVersion);
  }, 120_000);
});
