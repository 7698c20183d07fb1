// The operator with exactly the rights of deploy/rbac.yaml: they are enough, and they end where secrets begin.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Informer } from '../../src/controller/kube/informer.ts';
import { connectKube } from '../../src/controller/kube/kube.ts';
import { LAST_GOOD_LABEL } from '../../src/controller/provider/last-good.ts';
import { ClusterProvider } from '../../src/controller/provider/cluster-provider.ts';
import { RESOURCES, type ControllerRevision, type StoredObject } from '../../src/controller/kube/kube-types.ts';
import { ALWAYS_LEADER } from '../../src/controller/election/leadership.ts';
import { silentLogger } from '../../src/lib/log.ts';
import type { ObjectStatus } from '../../src/reconcile/types.ts';
import { describeOnControlPlane } from '../../tools/node-cluster/describe-cluster.ts';
import { waitFor } from '../../tools/node-cluster/wait.ts';
import { OperatorRig, prepareCluster, route, verdict } from './operator-rig.ts';

const ROUTE = 'modelroutes.weir.dev';
const ACCOUNT = 'system:serviceaccount:weir-system:weir-operator';

describeOnControlPlane('rights of the operator', {}, (cluster) => {
  let rig: OperatorRig;
  let kubeconfig = '';

  beforeAll(async () => {
    await prepareCluster(cluster());
    await cluster().mustKubectl(['apply', '--server-side', '-f', 'deploy/rbac.yaml']);
    const groups = ['system:serviceaccounts', 'system:serviceaccounts:weir-system', 'system:authenticated'];
    kubeconfig = await cluster().plane.kubeconfigFor({ user: ACCOUNT, groups });
    rig = await OperatorRig.make(cluster());
  }, 60_000);
  afterAll(async () => {
    await rig.end();
  }, 60_000);

  test('are enough for the whole line: watch, keep, push, tell', async () => {
    await rig.start({ source: { kind: 'cluster', kubeconfig, namespaces: [] }, reconnectGraceMs: 0 });
    await rig.limiter();
    await rig.apply(route('lean'));
    await rig.statusOf(ROUTE, 'lean', (status) => verdict(status) === 'True Ready');
    await waitFor(
      'the last good form and an Event',
      async () => {
        const kinds = await cluster().mustKubectl(['get', 'controllerrevisions,events.events.k8s.io', '-o', 'name']);
        return /controllerrevision/.test(kinds) && /event/.test(kinds) ? true : undefined;
      },
      { deadlineMs: 10_000 },
    );
    await cluster().mustKubectl(['delete', ROUTE, 'lean']);
    await waitFor(
      'its removal',
      async () =>
        (await cluster().mustKubectl(['get', 'controllerrevisions', '-o', 'name'])) === '' ? true : undefined,
      { deadlineMs: 10_000 },
    );
  });

  test('are enough to keep certificates in the own Secret and to hand the CA out', async () => {
    await cluster().mustKubectl(['create', 'namespace', 'tenant']);
    await cluster().mustKubectl(['label', 'namespace', 'tenant', 'weir.dev/inject=true']);
    const kept = {
      certificateSecret: 'weir-certificates',
      ownNamespace: 'weir-system',
      webhookConfiguration: 'weir-injector',
    };
    const pushListen = { host: '127.0.0.1', port: 0 };
    await rig.start({ source: { kind: 'cluster', kubeconfig, namespaces: [] }, pushListen, ...kept });
    await waitFor('the CA', () => cluster().mustKubectl(['-n', 'tenant', 'get', 'configmap', 'weir-ca']), {
      deadlineMs: 10_000,
    });
    const secret = ['-n', 'weir-system', 'secret', 'weir-certificates'];
    const leaf = (): Promise<string> => cluster().mustKubectl(['get', ...secret, '-o', 'jsonpath={.data.tls\\.crt}']);
    const before = await leaf();
    await cluster().mustKubectl(['annotate', ...secret, 'weir.dev/rotate=leaf']);
    await waitFor('another leaf', async () => ((await leaf()) === before ? undefined : true), { deadlineMs: 10_000 });
  });

  test('to create and delete ControllerRevisions end with those that are its own', async () => {
    const kube = connectKube({ kubeconfig });
    const revision = (name: string, labels: Record<string, string>): ControllerRevision => ({
      apiVersion: 'apps/v1',
      kind: 'ControllerRevision',
      metadata: { name, namespace: 'default', labels },
      revision: 1,
      data: {},
    });
    const own = { [LAST_GOOD_LABEL]: 'ModelRoute' };
    const create = (one: ControllerRevision): Promise<unknown> =>
      kube.create(RESOURCES.controllerRevisions, 'default', one);
    const remove = (name: string): Promise<void> => kube.remove(RESOURCES.controllerRevisions, 'default', name);
    try {
      await cluster().mustKubectl(['create', '-f', '-'], { input: JSON.stringify(revision('of-a-stateful-set', {})) });
      // The API server takes a new policy up within moments.
      await waitFor(
        'the policy',
        async () => {
          await expect(create(revision('foreign', { app: 'database' }))).rejects.toThrow(
            /only ControllerRevisions with/,
          );
          return true;
        },
        { deadlineMs: 20_000 },
      );
      await expect(remove('of-a-stateful-set')).rejects.toThrow(
        /only ControllerRevisions with the label weir.dev\/last/,
      );
      await create(revision('kept', own));
      await remove('kept');
      const left = await cluster().mustKubectl(['get', 'controllerrevisions', '-o', 'name']);
      expect(left).toContain('of-a-stateful-set');
      expect(left).not.toContain('kept');
    } finally {
      await cluster().kubectl(['delete', 'controllerrevision', 'of-a-stateful-set', 'foreign', '--ignore-not-found']);
      await kube.close();
    }
  });

  test('with a namespace named, objects elsewhere are nobody’s business', async () => {
    await cluster().mustKubectl(['create', 'namespace', 'elsewhere']);
    const operator = await rig.start({
      source: { kind: 'cluster', kubeconfig, namespaces: ['default'] },
      pushListen: { host: '127.0.0.1', port: 0 },
    });
    const [one, two] = [route('here'), route('there')] as [StoredObject, StoredObject];
    await rig.apply(one, { ...two, metadata: { name: 'there', namespace: 'elsewhere' } });
    await waitFor(
      'one object',
      async () => (/weir_watched_objects\{type="modelroutes"\} 1\n/.test(await operator.metrics()) ? true : undefined),
      {
        deadlineMs: 10_000,
      },
    );
  });

  test('a namespace that is named and not there holds nothing up, and gets the CA when it is made', async () => {
    const operator = await rig.start({
      source: { kind: 'cluster', kubeconfig, namespaces: ['tenant', 'later'] },
      pushListen: { host: '127.0.0.1', port: 0 },
      certificateSecret: 'weir-certificates',
      ownNamespace: 'weir-system',
    });
    const lacking = async (): Promise<string | undefined> =>
      /^weir_ca_undistributed (\d+)$/m.exec(await operator.metrics())?.[1];
    await waitFor('nobody to lack the CA', async () => (await lacking()) === '0' || undefined, { deadlineMs: 10_000 });
    const held = ['-n', 'later', 'get', 'configmap', 'weir-ca', '-o', 'name'];
    expect((await cluster().kubectl(held)).code).not.toBe(0);
    await cluster().mustKubectl(['create', 'namespace', 'later']);
    await waitFor('the CA', () => cluster().mustKubectl(held), { deadlineMs: 20_000 });
    expect(await lacking()).toBe('0');
  });

  test.each(['get', 'list', 'watch'])('do not include to %s Secrets', async (verb) => {
    const { stdout } = await cluster().kubectl(['auth', 'can-i', verb, 'secrets', '--as', ACCOUNT, '--all-namespaces']);
    expect(stdout.trim()).toBe('no');
  });

  test('a status goes to the version that it was computed from: else it is read again, or gone', async () => {
    const kube = connectKube({ kubeconfig });
    const provider = new ClusterProvider({ kube, namespaces: [], leadership: ALWAYS_LEADER, log: silentLogger() });
    try {
      await rig.apply(route('raced'));
      provider.start();
      await provider.whenReady();
      const object = provider.objects.ModelRoute.get('default/raced')!;
      const status: ObjectStatus = {
        observedGeneration: 1,
        limitCount: 1,
        toolCount: 0,
        limiters: { desired: 0, synced: 0, rejected: 0, summary: '0/0' },
        limits: [],
        unlimitedPods: { count: 0, names: [] },
        conditions: [],
      };
      const written = await provider.write(object, status);
      expect(['written', 'outdated']).toContain(written);
      expect(await provider.write({ ...object, metadata: { ...object.metadata, resourceVersion: '1' } }, status)).toBe(
        'outdated',
      );
      await cluster().mustKubectl(['delete', ROUTE, 'raced']);
      expect(await provider.write(object, status)).toBe('gone');
    } finally {
      await provider.stop();
      await kube.close();
    }
  });

  test('a limit of its reach is an informer that says so and never claims to have synced', async () => {
    const kube = connectKube({ kubeconfig });
    const informer = new Informer<StoredObject>({
      kube,
      type: RESOURCES.secrets,
      namespaces: [],
      trim: (object) => object,
      log: silentLogger(),
      timing: { baseBackoffMs: 10, maxBackoffMs: 20 },
    });
    informer.start();
    await waitFor('two refusals', () => (informer.stats.failures >= 2 ? true : undefined), { deadlineMs: 10_000 });
    expect(informer.hasSynced).toBe(false);
    await informer.stop();
    await kube.close();
  });
});
