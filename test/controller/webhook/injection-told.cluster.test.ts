// What pods and objects tell of injection, on a real API server: resources that annotations and LimitRanges make, and
// why a pod has no limiter, in its annotation and in the status of the object that selects it.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { describeOnControlPlane } from '../../../tools/node-cluster/describe-cluster.ts';
import { waitFor } from '../../../tools/node-cluster/wait.ts';
import { route } from '../operator-rig.ts';
import { ASKED, InjectionRig, isInjected, REFUSED, type Applied, type PodWish } from './injection-rig.ts';

describeOnControlPlane('what is told of injection', {}, (cluster) => {
  let rig: InjectionRig;
  const kubectl = (...args: string[]): Promise<string> => rig.kubectl(...args);
  const apply = (namespace: string, wish?: PodWish): Promise<Applied> => rig.apply(namespace, wish);

  beforeAll(async () => {
    rig = await InjectionRig.make(cluster());
    await rig.namespace('plain');
    await kubectl('-n', 'kube-system', 'create', 'serviceaccount', 'default');
  }, 90_000);
  afterAll(async () => {
    await rig.end();
  }, 30_000);

  test('resources by annotations of pod and namespace, and as much as a LimitRange of 300Mi leaves of them', async () => {
    await rig.namespace('ranged', ASKED);
    const limits = [{ type: 'Container', max: { memory: '300Mi' } }];
    const range = {
      apiVersion: 'v1',
      kind: 'LimitRange',
      metadata: { name: 'small', namespace: 'ranged' },
      spec: { limits },
    };
    await cluster().mustKubectl(['apply', '-f', '-'], { input: JSON.stringify(range) });
    const resourcesOf = ({ stored }: Applied): unknown =>
      stored?.spec.initContainers?.map(({ resources }) => resources);
    const main = { name: 'main', image: 'model:1', ports: [{ name: 'http', containerPort: 8000 }] };
    const small = { spec: { containers: [{ ...main, resources: { limits: { memory: '100Mi' } } }] } };
    const ranged = await apply('ranged', small);
    expect(ranged.stderr).toContain(
      'Warning: weir: the limiter gets memory limit 300Mi instead of 512Mi (LimitRange small)',
    );
    expect(resourcesOf(ranged)).toEqual([{ requests: { cpu: '50m', memory: '96Mi' }, limits: { memory: '300Mi' } }]);
    await kubectl(
      'annotate',
      'namespace',
      'ranged',
      'weir.dev/limiter-memory-limit=256Mi',
      'weir.dev/limiter-cpu-limit=1',
    );
    const annotations = { 'weir.dev/limiter-cpu-limit': '500m', 'weir.dev/redirect': 'true' };
    const limited = { limits: { memory: '256Mi', cpu: '500m' } };
    expect(resourcesOf(await apply('ranged', { ...small, annotations }))).toEqual([
      { ...limited, requests: { cpu: '500m', memory: '256Mi' } },
      { ...limited, requests: { cpu: '50m', memory: '96Mi' } },
    ]);
    const wrong = await apply('ranged', { ...small, annotations: { 'weir.dev/limiter-memory-limit': 'lots' } });
    expect([wrong.code, isInjected(wrong)]).toEqual([0, false]);
    expect(wrong.stored?.metadata.annotations?.['weir.dev/not-injected']).toBe(
      'WrongAnnotation: annotation weir.dev/limiter-memory-limit: "lots" is not a quantity above 0, such as 256Mi: correct the annotation',
    );
  });

  describe('an object that selects a pod without a limiter tells why this one has none', () => {
    /** The message of Programmed once it has the reason. */
    const untilTold = (where: string, app: string, reason: string): Promise<string> =>
      waitFor(
        `${reason} of ${app}`,
        async () => {
          const path = 'jsonpath={.status.conditions[?(@.type=="Programmed")].message}';
          const message = await kubectl('-n', where, 'get', 'modelroutes.weir.dev', app, '-o', path);
          if (!message.includes(`: ${reason}: `)) throw new Error(message);
          return message;
        },
        { deadlineMs: 20_000, everyMs: 100 },
      );
    const select = (where: string, app: string): Promise<string> => {
      const object = route(app, 10, { workloadSelector: { matchLabels: { app } } }, where);
      return cluster().mustKubectl(['apply', '-f', '-'], { input: JSON.stringify(object) });
    };
    const of = (app: string, more: Readonly<Record<string, string>> = {}): PodWish => ({ labels: { app, ...more } });

    test.each<[string, string, PodWish, string, string]>([
      ['unnamed', 'asked', { port: { containerPort: 8000 } }, 'UnnamedPort', 'port 8000 has no name'],
      ['taken', 'asked', { port: { name: 'http', containerPort: 18090 } }, 'PortTaken', 'port 18090'],
      ['other', 'asked', { port: { name: 'grpc', containerPort: 8000 } }, 'NotHttp', 'grpc 8000'],
      [
        'host',
        'asked',
        { spec: { hostNetwork: true }, port: { containerPort: 8000 } },
        'HostNetwork',
        'shared limiter',
      ],
      ['typo', 'asked', { annotations: { 'weir.dev/redirect': 'yes' } }, 'WrongAnnotation', 'weir.dev/redirect: "yes"'],
      ['opted-out', 'asked', { labels: REFUSED }, 'OptedOut', 'remove the label'],
      ['unlabelled', 'plain', {}, 'NotAsked', 'kubectl label namespace plain weir.dev/inject=true'],
      ['system', 'kube-system', {}, 'ExcludedNamespace', 'excluded from injection'],
    ])('%s, in %s', async (app, where, wish, reason, words) => {
      const { stored } = await apply(where, { ...wish, labels: { app, ...wish.labels } });
      await select(where, app);
      const message = await untilTold(where, app, reason);
      expect(message).toContain(words);
      const annotation = stored?.metadata.annotations?.['weir.dev/not-injected'];
      const isSeen = where === 'asked' && reason !== 'OptedOut';
      expect(annotation === undefined ? undefined : message.includes(annotation)).toBe(isSeen ? true : undefined);
    });

    test('a pod made before the label: first the label is asked for, then a restart; a pod restarted has its own reason', async () => {
      await apply('plain', of('late'));
      await select('plain', 'late');
      await untilTold('plain', 'late', 'NotAsked');
      await kubectl('label', 'namespace', 'plain', 'weir.dev/inject=true');
      try {
        expect(await untilTold('plain', 'late', 'NotSeen')).toContain('kubectl rollout restart');
        await kubectl('-n', 'plain', 'delete', 'pod', '-l', 'app=late', '--force', '--grace-period=0');
        const ports = [8000, 9000].map((containerPort) => ({ name: `p${containerPort}`, containerPort }));
        await apply('plain', { ...of('late'), spec: { containers: [{ name: 'main', image: 'model:1', ports }] } });
        expect(await untilTold('plain', 'late', 'SeveralPorts')).toContain(
          '(p8000 8000, p9000 9000): annotate weir.dev/port',
        );
      } finally {
        await kubectl('label', 'namespace', 'plain', 'weir.dev/inject-');
      }
      const text = await rig.operator.metrics();
      expect(text).toMatch(/weir_operator_skipped_pods\{reason="SeveralPorts"\} 1/);
      expect(text).toMatch(/weir_operator_skipped_pods\{reason="OptedOut"\} 1/);
    });
  });
});
