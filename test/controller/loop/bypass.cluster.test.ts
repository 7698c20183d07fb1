// Ways past the limiters, on a real API server: pods as the injector makes them, Services, EndpointSlices and ports
// of the node that lead to the server itself. Programmed is False while all that is known goes past, Degraded True
// while some does.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { inject } from '../../../src/reconcile/injection/inject.ts';
import type { InjectablePod } from '../../../src/reconcile/injection/pod.ts';
import { describeOnControlPlane } from '../../../tools/node-cluster/describe-cluster.ts';
import { LABELLED, patchedBy, settingsWith } from '../../reconcile/injection/patched.ts';
import { condition, OperatorRig, prepareCluster, route, verdict, type Status } from '../operator-rig.ts';

describeOnControlPlane('ways past the limiters', {}, (cluster) => {
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
    await rig.apply(route('chat', 10, { workloadSelector: { matchLabels: { app: 'chat' } } }));
  }, 60_000);
  afterAll(async () => {
    await rig.end();
  }, 60_000);

  /** As the webhook would have made it, with its limiter connected. */
  const pod = async (name: string, port: object = {}, annotations: Record<string, string> = {}): Promise<void> => {
    const container = { name: 'main', image: 'none', ports: [{ name: 'http', containerPort: 8000, ...port }] };
    const plain = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: 'default', labels: { app: 'chat' }, annotations },
      spec: { serviceAccountName: 'limiter', containers: [container] },
    } as unknown as InjectablePod;
    const outcome = inject(plain, LABELLED, settingsWith(), 'token');
    if (outcome.kind !== 'injected') throw new Error(outcome.kind);
    await rig.apply(patchedBy(outcome.patch, plain));
    await rig.sidecar('default', name);
  };
  const service = (name: string, spec: object): Promise<void> => {
    const metadata = { name, namespace: 'default' };
    return rig.apply({ apiVersion: 'v1', kind: 'Service', metadata, spec: { selector: { app: 'chat' }, ...spec } });
  };
  const until = (ready: string, degraded: string): Promise<Status> =>
    rig.statusOf(
      'modelroute',
      'chat',
      (status) => `${verdict(status)}, ${verdict(status, 'Degraded')}` === `${ready}, ${degraded}`,
    );
  const untilHealthy = (): Promise<Status> => until('True Ready', 'False Healthy');

  test('a Service by number: nobody is limited, and the status is not Ready; another one by name: some are', async () => {
    await pod('one');
    await untilHealthy();
    await service('numbered', { ports: [{ port: 80, targetPort: 8000 }] });
    const past = await until('False LimiterBypassed', 'True LimiterBypassed');
    expect(condition(past, 'Programmed')!.message).toBe(
      'all known traffic bypasses the limiters of 1 pod (one); port 80 of Service numbered targets port number 8000 of 1 pod, which bypasses the limiter: set its targetPort to the name of that port (http), or annotate the pod template weir.dev/redirect: "true" and restart the pods',
    );
    expect(past.limiters?.summary).toBe('1/1');
    await service('named', { ports: [{ port: 80, targetPort: 'http' }] });
    await until('True Ready', 'True LimiterBypassed');
    await service('numbered', { ports: [{ port: 80, targetPort: 'http' }] });
    await untilHealthy();
    await kubectl('delete', 'service', 'numbered', 'named');
    await untilHealthy();
  });

  test('endpoints that a user writes for a Service without a selector', async () => {
    const status = { phase: 'Running', podIP: '10.9.8.7', podIPs: [{ ip: '10.9.8.7' }] };
    await kubectl('patch', 'pod', 'one', '--subresource=status', '--type=merge', '-p', JSON.stringify({ status }));
    const slice = (port: number): object => ({
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'by-hand', namespace: 'default', labels: { 'kubernetes.io/service-name': 'by-hand' } },
      addressType: 'IPv4',
      endpoints: [{ addresses: ['10.9.8.7'] }],
      ports: [{ name: 'http', port, protocol: 'TCP' }],
    });
    await rig.apply(slice(8000));
    const past = await until('False LimiterBypassed', 'True LimiterBypassed');
    expect(condition(past, 'Programmed')!.message).toContain('endpoints of by-hand');
    await rig.apply(slice(18_080));
    await untilHealthy();
    await rig.apply(slice(8000));
    await until('False LimiterBypassed', 'True LimiterBypassed');
    await kubectl('delete', 'endpointslice', 'by-hand');
    await untilHealthy();
  });

  test('a port of the node leads to the limiter of a pod that is injected now, past that of one of an older release', async () => {
    await pod('host', { hostPort: 8080 });
    const ports = JSON.parse(
      await kubectl('get', 'pod', 'host', '-o', 'jsonpath={.spec.containers[0].ports}'),
    ) as object;
    expect(ports).toEqual([
      { containerPort: 8000, protocol: 'TCP' },
      { containerPort: 18_080, hostPort: 8080, protocol: 'TCP' },
    ]);
    await rig.statusOf(
      'modelroute',
      'chat',
      (status) => verdict(status) === 'True Ready' && status.limiters?.summary === '2/2',
    );
    const text = await kubectl('get', 'pod', 'host', '-o', 'json');
    await kubectl('delete', 'pod', 'host', '--force', '--grace-period=0');
    const { spec } = JSON.parse(text) as { spec: { containers: { ports: object[] }[] } };
    const [main] = spec.containers;
    main!.ports = [{ containerPort: 8000, hostPort: 8080 }];
    const metadata = {
      name: 'host',
      namespace: 'default',
      labels: { app: 'chat' },
      annotations: { 'weir.dev/injected': '0.2.0' },
    };
    await rig.apply({ apiVersion: 'v1', kind: 'Pod', metadata, spec });
    await rig.sidecar('default', 'host');
    const past = await until('False LimiterBypassed', 'True LimiterBypassed');
    expect(condition(past, 'Programmed')!.message).toMatch(
      /\(host\); hostPort 8080 leads to port 8000 of 1 pod, which bypasses the limiter: restart/,
    );
    expect((await rig.operator!.metrics()).match(/^weir_operator_bypassed_pods .*$/m)?.[0]).toBe(
      'weir_operator_bypassed_pods 1',
    );
  });

  test('a pod that is passed by counts until it is gone', async () => {
    const patch = (finalizers: string[]): Promise<string> =>
      kubectl('patch', 'pod', 'host', '--type=merge', '-p', JSON.stringify({ metadata: { finalizers } }));
    // Stands for a kubelet that has not yet ended it.
    await patch(['test.weir.dev/kubelet']);
    await kubectl('delete', 'pod', 'host', '--wait=false');
    const ending = await rig.statusOf('modelroute', 'chat', ({ limiters }) => limiters?.summary === '1/1');
    expect(verdict(ending)).toBe('False LimiterBypassed');
    await patch([]);
    await untilHealthy();
  });
});
