// Secrets on a real API server, the operator with exactly the rights of deploy/rbac.yaml: what is granted and
// labelled reaches limiters, live, and nothing else does; every other state is told with the way to mend it.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { grantsFor } from '../../../src/cli/grant-command.ts';
import { describeOnControlPlane } from '../../../tools/node-cluster/describe-cluster.ts';
import { waitFor } from '../../../tools/node-cluster/wait.ts';
import { capturingLogger } from '../../lib/capturing-logger.ts';
import {
  condition,
  OperatorRig,
  prepareCluster,
  route,
  verdict,
  type Status,
  type TestLimiter,
} from '../operator-rig.ts';

const ROUTE = 'modelroutes.weir.dev';
const ACCOUNT = 'system:serviceaccount:weir-system:weir-operator';
const GROUPS = ['system:serviceaccounts', 'system:serviceaccounts:weir-system', 'system:authenticated'];
const SOON = { deadlineMs: 30_000, everyMs: 100 };

describeOnControlPlane('Secrets that objects name', {}, (cluster) => {
  let rig: OperatorRig;
  let limiter: TestLimiter;
  const { log, lines } = capturingLogger();

  const kubectl = (...args: string[]): Promise<string> => cluster().mustKubectl(args);
  const secret = (
    name: string,
    data: object,
    labels: object = { 'weir.dev/credential': 'true' },
    namespace = 'default',
  ) => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name, namespace, labels },
    stringData: data,
  });
  const withRedis = (name: string, secretName: string, namespace = 'default'): object => {
    const redis = { address: 'redis:6379', passwordSecretRef: { name: secretName, key: 'password' } };
    const limits = [{ name: 'all', measure: 'Requests', bucket: { maxTokens: 1, refillPeriod: '1h' } }];
    const object = route(name, 1, { rateLimiting: { redis, limits } }) as { metadata: object };
    return { ...object, metadata: { ...object.metadata, namespace } };
  };
  const grant = async (namespace: string, ...names: string[]): Promise<void> => {
    const input = grantsFor(new Map([[namespace, new Set(names)]]), 'weir-system/weir-operator');
    await cluster().mustKubectl(['apply', '-f', '-'], { input });
  };
  const resolved = (name: string, wanted: string): Promise<Status> =>
    rig.statusOf(ROUTE, name, (status) => verdict(status, 'ResolvedRefs') === wanted, 40_000);
  /** The password that the limiter was given for an object; undefined: none. */
  const held = (name: string, namespace = 'default'): string | undefined =>
    [...(limiter.held.get(`ModelRoute/${namespace}/${name}`)?.secrets?.values() ?? [])][0];
  const untilHeld = (name: string, value: string | undefined): Promise<true> =>
    waitFor(`the password of ${name}`, () => held(name) === value || undefined, SOON).then(() => true);

  beforeAll(async () => {
    await prepareCluster(cluster());
    await kubectl('apply', '--server-side', '-f', 'deploy/rbac.yaml');
    const kubeconfig = await cluster().plane.kubeconfigFor({ user: ACCOUNT, groups: GROUPS });
    rig = await OperatorRig.make(cluster());
    await rig.start({ source: { kind: 'cluster', kubeconfig, namespaces: [] }, reconnectGraceMs: 0, log });
    limiter = await rig.limiter();
  }, 60_000);
  afterAll(async () => {
    await rig.end();
  }, 60_000);

  test('step by step: forbidden, granted, made, labelled, rotated, without its key, deleted, made again, label off', async () => {
    await rig.apply(withRedis('chat', 'redis-auth'));
    const forbidden = condition(await resolved('chat', 'False SecretForbidden'), 'ResolvedRefs');
    const command = 'weir grant --namespace default --secret redis-auth | kubectl apply -f -';
    expect(forbidden?.message).toContain(command);
    await grant('default', 'redis-auth');
    await resolved('chat', 'False SecretNotFound');
    await rig.apply(secret('redis-auth', { password: 'first-secret' }, {}));
    const unlabelled = condition(await resolved('chat', 'False SecretNotPermitted'), 'ResolvedRefs');
    expect(unlabelled?.message).toContain(
      'kubectl label secret redis-auth --namespace default weir.dev/credential=true',
    );
    expect(held('chat')).toBeUndefined();
    await kubectl('label', 'secret', 'redis-auth', 'weir.dev/credential=true');
    await resolved('chat', 'True ResolvedRefs');
    await rig.statusOf(ROUTE, 'chat', (status) => verdict(status) === 'True Ready');
    await untilHeld('chat', 'first-secret');
    const before = (await rig.get(ROUTE, 'chat')).status?.configVersion;
    await rig.apply(secret('redis-auth', { password: 'second-secret\n' }));
    await untilHeld('chat', 'second-secret');
    await rig.statusOf(
      ROUTE,
      'chat',
      ({ configVersion, ...status }) => configVersion !== before && verdict(status) === 'True Ready',
    );
    await rig.apply(secret('redis-auth', { other: 'x' }));
    await kubectl('patch', 'secret', 'redis-auth', '--type', 'json', '-p', '[{"op":"remove","path":"/data/password"}]');
    await resolved('chat', 'False SecretKeyMissing');
    expect(held('chat')).toBe('second-secret');
    await kubectl('delete', 'secret', 'redis-auth');
    const gone = condition(await resolved('chat', 'False SecretNotFound'), 'ResolvedRefs');
    expect(gone?.message).toContain('the value that was read last stays in use');
    expect(held('chat')).toBe('second-secret');
    await rig.apply(secret('redis-auth', { password: 'third-secret' }));
    await untilHeld('chat', 'third-secret');
    await resolved('chat', 'True ResolvedRefs');
    await kubectl('label', 'secret', 'redis-auth', 'weir.dev/credential-');
    await resolved('chat', 'False SecretNotPermitted');
    await untilHeld('chat', undefined);
  }, 120_000);

  test('an object gets the Secret of its own namespace, and not that of the same name elsewhere', async () => {
    await kubectl('create', 'namespace', 'mine');
    await kubectl('create', 'namespace', 'theirs');
    await grant('theirs', 'shared-name');
    await rig.apply(secret('shared-name', { password: 'their-secret' }, undefined, 'theirs'));
    await rig.apply(withRedis('one', 'shared-name', 'mine'), withRedis('one', 'shared-name', 'theirs'));
    await waitFor('their password', () => held('one', 'theirs') === 'their-secret' || undefined, SOON);
    await waitFor('an object without', () => limiter.held.has('ModelRoute/mine/one') || undefined, SOON);
    expect(held('one', 'mine')).toBeUndefined();
  }, 60_000);

  test('one grant gives one Secret: not its neighbour, not a list, not to write', async () => {
    const can = async (...what: string[]): Promise<string> =>
      (await cluster().kubectl(['auth', 'can-i', ...what, '--as', ACCOUNT, '--namespace', 'default'])).stdout.trim();
    expect(await can('get', 'secrets/redis-auth')).toBe('yes');
    expect(await can('watch', 'secrets/redis-auth')).toBe('yes');
    for (const what of [
      ['get', 'secrets/other'],
      ['list', 'secrets'],
      ['watch', 'secrets'],
      ['update', 'secrets/redis-auth'],
    ])
      expect(await can(...what)).toBe('no');
  });

  test('nothing of a Secret is in what the operator logs, keeps, tells or counts', async () => {
    const kinds = `${ROUTE},controllerrevisions,events.events.k8s.io,events`;
    const objects = await kubectl('get', kinds, '--all-namespaces', '-o', 'yaml', '--show-managed-fields');
    const texts = { log: lines.join(''), objects, metrics: (await rig.operator?.metrics()) ?? '' };
    for (const text of Object.values(texts)) expect(text).not.toMatch(/(first|second|third|their)-secret/);
    expect(texts.objects).toContain('SecretNotPermitted');
    expect(texts.log).toContain('"secret":"default/redis-auth"');
    const held64 = Buffer.from('second-secret').toString('base64').slice(0, 12);
    for (const text of Object.values(texts)) expect(text).not.toContain(held64);
  });
});
