// Who may listen, as a real API server judges it: tokens made by `kubectl create token`, reviewed and authorised for
// the push port.
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { AckTable } from '../../../src/controller/push/ack-table.ts';
import { createTokenAuthenticator, type ReviewApi } from '../../../src/controller/push/authenticator.ts';
import { RESOURCES, type Pod } from '../../../src/controller/kube/kube-types.ts';
import { hasStatus, type Kube } from '../../../src/controller/kube/kube-api.ts';
import { connectKube } from '../../../src/controller/kube/kube.ts';
import { PushServer } from '../../../src/controller/push/push-server.ts';
import { SnapshotStore } from '../../../src/controller/push/snapshot-store.ts';
import type { PodView } from '../../../src/controller/push/visibility.ts';
import type { LimiterSelf } from '../../../src/contract/push-protocol.ts';
import { silentLogger } from '../../../src/lib/log.ts';
import { describeOnControlPlane } from '../../../tools/node-cluster/describe-cluster.ts';
import { reissueToken } from '../../../tools/node-cluster/tokens.ts';
import { makePushCertificates, type PushCertificates } from '../../contract/push-certificates.ts';
import { RawLimiter } from '../../contract/raw-limiter.ts';
import { sampleResource } from '../../contract/sample-config.ts';

const WEIR = ['--audience', 'weir.dev'];
const boundTo = (pod: string): string[] => ['--bound-object-kind', 'Pod', '--bound-object-name', pod];

describeOnControlPlane('the push port', {}, (cluster) => {
  let kube: Kube;
  let server: PushServer;
  let port: number;
  let certificates: PushCertificates;
  const opened: RawLimiter[] = [];

  const create = (object: object): Promise<string> =>
    cluster().mustKubectl(['create', '-f', '-'], { input: JSON.stringify(object) });
  const createPod = (namespace: string, name: string, app: string): Promise<string> =>
    create({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { namespace, name, labels: { app } },
      spec: { serviceAccountName: 'limiter', containers: [{ name: 'main', image: 'none' }] },
    });
  const tokenFor = async (namespace: string, ...args: string[]): Promise<string> =>
    (await cluster().mustKubectl(['-n', namespace, 'create', 'token', 'limiter', ...args])).trim();
  const expiring = (token: string, atMs: number): Promise<string> =>
    reissueToken(cluster().plane.folder, token, { expiresAtMs: atMs });
  const findPod = async (namespace: string, name: string): Promise<PodView | undefined> => {
    try {
      const { metadata } = await kube.get<Pod>(RESOURCES.pods, namespace, name);
      return { namespace, name, uid: metadata.uid ?? '', labels: metadata.labels ?? {} };
    } catch (error) {
      if (hasStatus(error, 404)) return undefined;
      throw error;
    }
  };
  const listen = (token: string | undefined, self: Partial<LimiterSelf> = {}): RawLimiter => {
    const raw = new RawLimiter({ port, ca: certificates.ca, ...(token === undefined ? {} : { token }) });
    opened.push(raw);
    return raw.subscribe(self);
  };
  const namesFor = async (token: string, self: Partial<LimiterSelf> = {}): Promise<string[]> =>
    (await listen(token, self).next(20_000)).resources.map(({ name }) => name).sort();
  const refusalOf = async (token: string | undefined, self: Partial<LimiterSelf> = {}): Promise<string | undefined> => {
    const raw = listen(token, self);
    const { code } = await raw.end(20_000);
    expect(raw.responses).toEqual([]);
    return status[code];
  };

  beforeAll(async () => {
    for (const name of ['a', 'b']) {
      await cluster().mustKubectl(['create', 'namespace', name]);
      await cluster().mustKubectl(['-n', name, 'create', 'serviceaccount', 'limiter']);
      await createPod(name, 'web', 'web');
    }
    kube = connectKube({ kubeconfig: cluster().kubeconfig });
    certificates = await makePushCertificates();
    const store = new SnapshotStore();
    for (const namespace of ['a', 'b']) {
      const workloadSelector = { matchLabels: { app: 'web' } };
      store.set(sampleResource(namespace, 'selected'), { namespace, workloadSelector });
      store.set(sampleResource(namespace, 'shared'), { namespace });
    }
    const reviews: ReviewApi = {
      reviewToken: (token, audiences) => kube.reviewToken(token, audiences),
      reviewAccess: (question) => kube.reviewAccess(question),
      findPod,
    };
    const authenticate = createTokenAuthenticator(reviews, silentLogger());
    const acks = new AckTable((view) => store.namesSeenBy(view));
    server = new PushServer(
      { store, acks, authenticate, log: silentLogger() },
      { host: '127.0.0.1', port: 0, tls: certificates.tls },
    );
    port = await server.listen();
  });
  afterAll(async () => {
    for (const raw of opened) raw.close();
    await server.close(100);
    await kube.close();
  });

  test('gives a sidecar what selects its pod in its own namespace, and nothing of another', async () => {
    expect(await namesFor(await tokenFor('a', ...WEIR, ...boundTo('web')))).toEqual(['ModelRoute/a/selected']);
    expect(await namesFor(await tokenFor('b', ...WEIR, ...boundTo('web')))).toEqual(['ModelRoute/b/selected']);
    await createPod('a', 'batch', 'batch');
    expect(await namesFor(await tokenFor('a', ...WEIR, ...boundTo('batch')))).toEqual([]);
  });

  test('gives nothing without a token, with a wrong audience, an expired one, or one that is none', async () => {
    const bound = await tokenFor('a', ...WEIR, ...boundTo('web'));
    expect(await refusalOf(undefined)).toBe('UNAUTHENTICATED');
    expect(await refusalOf('nonsense')).toBe('UNAUTHENTICATED');
    expect(await refusalOf(await tokenFor('a', ...boundTo('web')))).toBe('UNAUTHENTICATED');
    expect(await refusalOf(await tokenFor('a', '--audience', 'other', ...boundTo('web')))).toBe('UNAUTHENTICATED');
    expect(await refusalOf(await expiring(bound, Date.now() - 60_000))).toBe('UNAUTHENTICATED');
    expect(await refusalOf(`${bound.slice(0, -8)}AAAAAAAA`)).toBe('UNAUTHENTICATED');
  });

  test('ends the stream when the token expires', async () => {
    const token = await expiring(await tokenFor('a', ...WEIR, ...boundTo('web')), Date.now() + 4_000);
    const raw = listen(token);
    await raw.next(20_000);
    expect(status[(await raw.end(20_000)).code]).toBe('UNAUTHENTICATED');
  });

  test('gives nothing for the token of a deleted pod, also while the API server still remembers it', async () => {
    await createPod('a', 'short', 'web');
    const token = await tokenFor('a', ...WEIR, ...boundTo('short'));
    expect(await namesFor(token)).toEqual(['ModelRoute/a/selected']);
    await cluster().mustKubectl(['-n', 'a', 'delete', 'pod', 'short', '--force', '--grace-period=0']);
    expect(await refusalOf(token)).toBe('UNAUTHENTICATED');
    await createPod('a', 'short', 'web');
    expect(await refusalOf(token)).toBe('UNAUTHENTICATED');
  });

  test('gives a token without a pod the namespaces that RBAC grants, and no others', async () => {
    const token = await tokenFor('a', ...WEIR);
    expect(await refusalOf(token)).toBe('PERMISSION_DENIED');
    expect(await refusalOf(token, { namespaces: ['b'] })).toBe('PERMISSION_DENIED');
    const rules = [{ apiGroups: ['weir.dev'], resources: ['limiterconfigs'], verbs: ['get'] }];
    const metadata = { name: 'read-limiter-configs' };
    await create({ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole', metadata, rules });
    const bind = ['--clusterrole=read-limiter-configs', '--serviceaccount=a:limiter'];
    await cluster().mustKubectl(['-n', 'b', 'create', 'rolebinding', 'r', ...bind]);
    expect(await namesFor(token, { namespaces: ['b'] })).toEqual(['ModelRoute/b/selected', 'ModelRoute/b/shared']);
    expect(await refusalOf(token, { namespaces: ['a', 'b'] })).toBe('PERMISSION_DENIED');
    await cluster().mustKubectl(['create', 'clusterrolebinding', 'r', ...bind]);
    expect(await namesFor(token)).toHaveLength(4);
    expect(await namesFor(token, { namespaces: ['a'] })).toEqual(['ModelRoute/a/selected', 'ModelRoute/a/shared']);
    const sidecar = await tokenFor('a', ...WEIR, ...boundTo('web'));
    expect(await namesFor(sidecar, { namespaces: ['*'] })).toHaveLength(4);
  });
});
