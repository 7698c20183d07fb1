// On a real node: what the status says of pods that Kubernetes refuses for their limiter's sake, of pods that the
// injector left alone, of traffic that goes past, of rollouts, and of a namespace that is no longer watched; each
// with the traffic that shows it.
import { beforeAll, expect, test } from '@jest/globals';
import { waitFor } from '../../tools/node-cluster/wait.ts';
import { conditionOf, type Expected, type WeirObject } from '../e2e/harness.ts';
import { chat, flood, tally } from '../e2e/traffic.ts';
import { describeInstalled } from './installed.ts';
import { namespace, sidecarRoute, workload, type KubeManifest } from './workloads.ts';

const QUOTA = 'told-quota';
const RANGE = 'told-range';
const SPACE = 'told';
const OTHER = 'told-other';
const ASKED = { 'weir.dev/inject': 'true' };
const limit = (maxTokens: number): object => ({ name: 'all', bucket: { maxTokens, refillPeriod: '8000h' } });
/** A container that leaves the room of a small quota to the limiter. */
const SMALL = { resources: { requests: { cpu: '50m', memory: '64Mi' }, limits: { cpu: '500m', memory: '200Mi' } } };

describeInstalled(
  'a status that says what is so',
  [QUOTA, RANGE, SPACE, OTHER].map((name) => namespace(name, ASKED)),
  (weir) => {
    const image = (): string => weir().image;
    const until = (space: string, name: string, status: Expected['status'], reason: string): Promise<WeirObject> =>
      weir().untilCondition(['modelroutes', space, name], 'Programmed', { status, reason }, 120_000);
    const said = (object: WeirObject): string => conditionOf(object, 'Programmed')?.message ?? '';

    beforeAll(async () => {
      const limits = [{ type: 'Container', max: { memory: '300Mi' } }];
      await weir().apply(
        {
          apiVersion: 'v1',
          kind: 'ResourceQuota',
          metadata: { name: 'small', namespace: QUOTA },
          spec: { hard: { 'limits.memory': '600Mi', 'limits.cpu': '2' } },
        },
        { apiVersion: 'v1', kind: 'LimitRange', metadata: { name: 'small', namespace: RANGE }, spec: { limits } },
      );
    });

    test('a ResourceQuota that refuses the limiter is quoted, and annotations make it fit', async () => {
      await weir().apply(
        ...workload({ namespace: QUOTA, name: 'chat', image: image(), container: SMALL }),
        sidecarRoute(`${QUOTA}/chat`, [limit(1)]),
      );
      const refused = await waitFor(
        'the words of the API server',
        async () => {
          const object = await until(QUOTA, 'chat', 'False', 'NoMatchingPods');
          return said(object).includes('cannot be created') ? object : undefined;
        },
        { deadlineMs: 120_000, everyMs: 500 },
      );
      expect(said(refused)).toMatch(
        /pods cannot be created: ReplicaSet chat-\w+: .*quota.*small.*weir-limiter|pods cannot be created: ReplicaSet chat-\w+: exceeded quota: small/s,
      );
      expect(said(refused)).toContain('weir.dev/limiter-memory-limit');
      await weir().kubectl(
        'annotate',
        'namespace',
        QUOTA,
        'weir.dev/limiter-memory-limit=256Mi',
        'weir.dev/limiter-cpu-limit=500m',
      );
      await weir().kubectl('rollout', 'restart', 'deployment/chat', '-n', QUOTA);
      await weir().rolledOut(QUOTA, 'chat');
      await weir().untilCondition(['modelroutes', QUOTA, 'chat'], 'Ready', { status: 'True', summary: '1/1' });
      expect(tally(await weir().ask(QUOTA, 'chat', 3))).toEqual({ 200: 1, 429: 2 });
    });

    test('a LimitRange of 300Mi admits a limiter with the chart’s defaults', async () => {
      await weir().apply(
        ...workload({ namespace: RANGE, name: 'chat', image: image(), container: SMALL }),
        sidecarRoute(`${RANGE}/chat`, [limit(1)]),
      );
      await weir().rolledOut(RANGE, 'chat');
      await weir().untilCondition(['modelroutes', RANGE, 'chat'], 'Ready', { status: 'True', summary: '1/1' });
      const path = 'jsonpath={.items[0].spec.initContainers[0].resources.limits.memory}';
      expect(await weir().kubectl('get', 'pods', '-n', RANGE, '-l', 'app=chat', '-o', path)).toBe('300Mi');
      expect(tally(await weir().ask(RANGE, 'chat', 3))).toEqual({ 200: 1, 429: 2 });
    });

    test('pods that the injector left alone are told each with its own reason', async () => {
      const ports = [
        { name: 'http', containerPort: 8000 },
        { name: 'admin', containerPort: 9000 },
      ];
      await weir().apply(
        ...workload({ namespace: SPACE, name: 'two', image: image(), container: { ports } }),
        ...workload({ namespace: SPACE, name: 'out', image: image(), labels: { 'weir.dev/inject': 'false' } }),
        sidecarRoute(`${SPACE}/two`, [limit(1)], { modelName: 'two' }),
        sidecarRoute(`${SPACE}/out`, [limit(1)], { modelName: 'out' }),
      );
      expect(said(await until(SPACE, 'two', 'False', 'UnlimitedPods'))).toMatch(
        /\(two-[\w-]+\): SeveralPorts: several ports are declared \(http 8000, admin 9000\): annotate weir\.dev\/port/,
      );
      expect(said(await until(SPACE, 'out', 'False', 'UnlimitedPods'))).toMatch(
        /\(out-[\w-]+\): OptedOut: .*remove the label/,
      );
    });

    test('a NodePort by number goes past: not Ready while nobody is limited; by name it is', async () => {
      const [deployment, service] = workload({ namespace: SPACE, name: 'node', image: image(), target: 'number' });
      const spec = { ...(service?.['spec'] as KubeManifest), type: 'NodePort' };
      await weir().apply(deployment ?? {}, { ...service, spec }, sidecarRoute(`${SPACE}/node`, [limit(3)]));
      await weir().rolledOut(SPACE, 'node');
      const past = await until(SPACE, 'node', 'False', 'LimiterBypassed');
      expect([past.status?.limiters?.summary, said(past)]).toEqual([
        '1/1',
        expect.stringContaining('Service node targets port number 8000'),
      ]);
      expect(tally(await weir().ask(SPACE, 'node', 5))).toEqual({ 200: 5 });
      const patch = [{ op: 'replace', path: '/spec/ports/0/targetPort', value: 'http' }];
      await weir().kubectl('patch', 'service', 'node', '-n', SPACE, '--type=json', '-p', JSON.stringify(patch));
      await weir().untilCondition(['modelroutes', SPACE, 'node'], 'Ready', { status: 'True', summary: '1/1' });
      await waitFor(
        'the limit through the Service',
        async () => {
          const url = await weir().serviceUrl(SPACE, 'node');
          const { status } = await chat(url, 'llama', { connection: 'close' });
          return status === 429 ? true : undefined;
        },
        { deadlineMs: 60_000, everyMs: 500 },
      );
    });

    test('a rollout and a scale-up write no Warning', async () => {
      await weir().apply(...workload({ namespace: SPACE, name: 'calm', image: image(), replicas: 2 }));
      await weir().rolledOut(SPACE, 'calm');
      await weir().apply(sidecarRoute(`${SPACE}/calm`, [limit(100)], { modelName: 'calm' }));
      const ready = (summary: string) =>
        weir().untilCondition(['modelroutes', SPACE, 'calm'], 'Ready', { status: 'True', summary }, 120_000);
      await ready('2/2');
      await weir().restart(SPACE, 'calm');
      await ready('2/2');
      await weir().kubectl('scale', 'deployment', 'calm', '-n', SPACE, '--replicas=3');
      await weir().rolledOut(SPACE, 'calm');
      await ready('3/3');
      const args = [
        'get',
        'events',
        '-n',
        SPACE,
        '--field-selector=involvedObject.name=calm,type=Warning',
        '-o',
        'name',
      ];
      expect(await weir().kubectl(...args)).toBe('');
    });

    test('narrowing watchNamespaces: limits hold where nobody watches any more, and the status says that nobody knows', async () => {
      await weir().apply(
        ...workload({ namespace: OTHER, name: 'chat', image: image() }),
        sidecarRoute(`${OTHER}/chat`, [limit(5)]),
      );
      await weir().rolledOut(OTHER, 'chat');
      await weir().untilCondition(['modelroutes', OTHER, 'chat'], 'Ready', { status: 'True', summary: '1/1' });
      expect(tally(await weir().ask(OTHER, 'chat', 3))).toEqual({ 200: 3 });
      // `default` is where the rig asks whether the injector answers.
      await weir().install({ watchNamespaces: `{${SPACE},default}` });
      const told = await until(OTHER, 'chat', 'Unknown', 'NotWatched');
      expect([conditionOf(told, 'Ready')?.status, told.status?.limiters?.summary]).toEqual(['Unknown', 'unknown']);
      const url = await weir().serviceUrl(OTHER, 'chat');
      expect(tally(await flood(6, 1, () => chat(url, 'llama')))).toEqual({ 200: 2, 429: 4 });
      const log = await weir().kubectl(
        'logs',
        '-n',
        'weir-system',
        '-l',
        'app.kubernetes.io/component=operator',
        '--tail=-1',
      );
      expect(log).toContain(`namespace ${OTHER} is not watched by this operator`);
      await weir().install();
      await weir().untilCondition(['modelroutes', OTHER, 'chat'], 'Ready', { status: 'True', summary: '1/1' }, 120_000);
    });
  },
);
