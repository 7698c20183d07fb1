// Pods that are not there because the API server refuses them, on a real API server: Events as the controllers write
// them, quoted by the object that selects the pods, for each kind of maker, until pods are made again.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { timeOf, wordsOf } from '../../../src/controller/world/creation-failures.ts';
import { describeOnControlPlane } from '../../../tools/node-cluster/describe-cluster.ts';
import { condition, OperatorRig, prepareCluster, route, verdict, type Status } from '../operator-rig.ts';

const QUOTA =
  'exceeded quota: small, requested: limits.memory=768Mi, used: limits.memory=0, limited: limits.memory=600Mi';

describe('the words of an Event', () => {
  const event = (message: string) => ({ metadata: { name: 'e' }, message });

  test.each([
    [`Error creating: pods "chat-7d4b-x2x9" is forbidden: ${QUOTA}`, QUOTA],
    [`create Pod web-0 in StatefulSet web failed error: pods "web-0" is forbidden: ${QUOTA}`, QUOTA],
    [
      'Error creating: Internal error occurred: failed calling webhook',
      'Internal error occurred: failed calling webhook',
    ],
    [
      'create Pod web-0 in StatefulSet web failed error: Pod "web-0" is invalid: spec: bad',
      'create Pod web-0 in StatefulSet web failed error: Pod "web-0" is invalid: spec: bad',
    ],
    ['', ''],
  ])('%s', (message, words) => {
    expect(wordsOf(event(message))).toBe(words);
  });

  test('are bounded, and its time is the newest that it has, in whole seconds as pods have them', () => {
    expect(wordsOf(event('x'.repeat(5000)))).toHaveLength(1000);
    const metadata = { name: 'e', creationTimestamp: '2026-01-01T00:00:00Z' };
    const eventTime = '2026-01-01T00:00:01.123456Z';
    expect(timeOf({ metadata, eventTime, lastTimestamp: null, series: null })).toBe('2026-01-01T00:00:01Z');
    const series = { lastObservedTime: '2026-01-01T00:00:05.5Z' };
    expect(timeOf({ metadata, eventTime, series })).toBe('2026-01-01T00:00:05Z');
    expect(timeOf({ metadata })).toBe('2026-01-01T00:00:00Z');
  });
});

describeOnControlPlane('pods that cannot be created', {}, (cluster) => {
  let rig: OperatorRig;
  const kubectl = (...args: string[]): Promise<string> => cluster().mustKubectl(args);

  beforeAll(async () => {
    await prepareCluster(cluster());
    await kubectl('apply', '--server-side', '-f', 'deploy/rbac.yaml');
    const groups = ['system:serviceaccounts', 'system:serviceaccounts:weir-system', 'system:authenticated'];
    const user = 'system:serviceaccount:weir-system:weir-operator';
    const kubeconfig = await cluster().plane.kubeconfigFor({ user, groups });
    rig = await OperatorRig.make(cluster());
    await rig.start({ source: { kind: 'cluster', kubeconfig, namespaces: [] }, reconnectGraceMs: 0 });
  }, 60_000);
  afterAll(async () => {
    await rig.end();
  }, 60_000);

  const template = (app: string): object => ({
    metadata: { labels: { app, 'pod-template-hash': 'x' } },
    spec: { containers: [{ name: 'main', image: 'none' }] },
  });
  const event = (kind: string, name: string, words: string, atMs = Date.now(), reason = 'FailedCreate'): object => ({
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { name: `${name}.${reason.toLowerCase()}`, namespace: 'default' },
    involvedObject: { kind, name, namespace: 'default' },
    reason,
    message: `Error creating: pods "${name}-abcde" is forbidden: ${words}`,
    type: 'Warning',
    lastTimestamp: new Date(atMs).toISOString().replace(/\.\d+Z/, 'Z'),
  });
  const select = (app: string): Promise<void> =>
    rig.apply(route(app, 10, { workloadSelector: { matchLabels: { app } } }));
  const until = (app: string, words: string | RegExp, reason = 'False NoMatchingPods'): Promise<Status> =>
    rig.statusOf('modelroute', app, (status) => {
      const message = condition(status, 'Programmed')?.message ?? '';
      return verdict(status) === reason && (typeof words === 'string' ? message.includes(words) : words.test(message));
    });
  const selector = (app: string): object => ({ matchLabels: { app, 'pod-template-hash': 'x' } });

  test.each<[string, string, (app: string) => object]>([
    ['ReplicaSet', 'apps/v1', (app) => ({ selector: selector(app), template: template(app) })],
    ['StatefulSet', 'apps/v1', (app) => ({ serviceName: app, selector: selector(app), template: template(app) })],
    ['DaemonSet', 'apps/v1', (app) => ({ selector: selector(app), template: template(app) })],
    [
      'Job',
      'batch/v1',
      (app) => {
        const { metadata, spec } = template(app) as { metadata: object; spec: object };
        return { template: { metadata, spec: { ...spec, restartPolicy: 'Never' } } };
      },
    ],
  ])('of a %s are told in the words of the API server, until the Event is gone', async (kind, apiVersion, spec) => {
    const app = kind.toLowerCase();
    await select(app);
    await until(app, 'matches no pod that runs');
    await rig.apply({ apiVersion, kind, metadata: { name: app, namespace: 'default' }, spec: spec(app) });
    await rig.apply(event(kind, app, QUOTA));
    const told = await until(app, 'pods cannot be created');
    expect(condition(told, 'Programmed')!.message).toContain(
      `pods cannot be created: ${kind} ${app}: ${QUOTA}: if it is for the limiter`,
    );
    expect(condition(told, 'Programmed')!.message).not.toContain('compare it with the labels');
    await kubectl('delete', 'event', `${app}.failedcreate`);
    await until(app, 'matches no pod that runs');
  });

  test('of another app, of another reason, and of a maker that wants none are not told', async () => {
    await select('quiet');
    const replicaSet = (name: string, app: string, replicas: number): object => ({
      apiVersion: 'apps/v1',
      kind: 'ReplicaSet',
      metadata: { name, namespace: 'default' },
      spec: { replicas, selector: selector(app), template: template(app) },
    });
    await rig.apply(replicaSet('zero', 'quiet', 0), replicaSet('some', 'quiet', 1), replicaSet('other', 'loud', 1));
    await select('loud');
    await rig.apply(event('ReplicaSet', 'zero', QUOTA), event('ReplicaSet', 'some', QUOTA, Date.now(), 'Failing'));
    await rig.apply(event('ReplicaSet', 'other', QUOTA));
    await until('loud', 'pods cannot be created');
    expect(condition(await until('quiet', ''), 'Programmed')!.message).toContain('matches no pod that runs');
  });

  test('are told beside pods without a limiter, and no longer once the maker has made one', async () => {
    const pod = (name: string, labels: object): object => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: 'default', labels },
      spec: { serviceAccountName: 'limiter', containers: [{ name: 'main', image: 'none' }] },
    });
    await select('restarted');
    await rig.apply(pod('old', { app: 'restarted', 'pod-template-hash': 'before' }));
    await until('restarted', '(old): NoInjector', 'False UnlimitedPods');
    const metadata = { name: 'restarted', namespace: 'default' };
    const spec = { selector: selector('restarted'), template: template('restarted') };
    await rig.apply({ apiVersion: 'apps/v1', kind: 'ReplicaSet', metadata, spec });
    await rig.apply(event('ReplicaSet', 'restarted', QUOTA, Date.now() - 5000));
    await until(
      'restarted',
      /\(old\): NoInjector.*; new pods cannot be created: ReplicaSet restarted: exceeded quota/s,
      'False UnlimitedPods',
    );
    await rig.apply(pod('new', { app: 'restarted', 'pod-template-hash': 'x' }));
    const status = await until('restarted', '(new, old): NoInjector', 'False UnlimitedPods');
    expect(condition(status, 'Programmed')!.message).not.toContain('cannot be created');
  });
});
