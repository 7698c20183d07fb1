// On a real node: injected pods with the kubelet's probes, hooks and network: ports by name and by number behind
// unchanged Services, probes that cost nothing, a Job that ends, a namespace under Pod Security, and pods that get no
// limiter.
import { beforeAll, expect, test } from '@jest/globals';
import { waitFor } from '../../tools/node-cluster/wait.ts';
import { chat, flood, tally } from '../e2e/traffic.ts';
import { describeInstalled } from './installed.ts';
import { namespace, sidecarRoute, workload, type KubeManifest } from './workloads.ts';

const SPACE = 'injection';
const STRICT = 'injection-strict';
const OPEN = { 'weir.dev/inject': 'true' };
const limit = (maxTokens: number): object => ({ name: 'all', bucket: { maxTokens, refillPeriod: '8000h' } });
/** A gRPC health service in the pod, beside the model: the smallest one that the kubelet's probe accepts. */
const GRPC_HEALTH = `
const http2 = require('node:http2');
http2.createServer().on('stream', (stream) => {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.end(Buffer.from([0, 0, 0, 0, 2, 8, 1]));
  stream.resume();
}).listen(9001, '0.0.0.0');
`;

const RESTARTS =
  'jsonpath={.items[*].status.containerStatuses[*].restartCount} {.items[*].status.initContainerStatuses[*].restartCount}';
const STRICT_LABELS = { ...OPEN, 'pod-security.kubernetes.io/enforce': 'restricted' };

describeInstalled('sidecars on a node', [namespace(SPACE, OPEN), namespace(STRICT, STRICT_LABELS)], (weir) => {
  const image = (): string => weir().image;

  beforeAll(async () => {
    const probe = { periodSeconds: 1, failureThreshold: 3 };
    const http = { httpGet: { path: '/healthz', port: 8000 }, ...probe };
    await weir().apply(
      ...workload({ namespace: SPACE, name: 'named', image: image(), container: { livenessProbe: http } }),
      ...workload({
        namespace: SPACE,
        name: 'numbered',
        image: image(),
        target: 'number',
        annotations: { 'weir.dev/redirect': 'true' },
        container: { livenessProbe: http, startupProbe: { tcpSocket: { port: 8000 }, ...probe } },
      }),
      ...workload({ namespace: SPACE, name: 'bypass', image: image(), target: 'number' }),
      sidecarRoute(`${SPACE}/named`, [limit(1)]),
      sidecarRoute(`${SPACE}/numbered`, [limit(1)], { modelName: 'numbered' }),
      sidecarRoute(`${SPACE}/bypass`, [limit(1)], { modelName: 'bypass' }),
    );
    for (const name of ['named', 'numbered', 'bypass']) await weir().rolledOut(SPACE, name);
    for (const name of ['named', 'numbered']) {
      await weir().untilCondition(['modelroutes', SPACE, name], 'Ready', { status: 'True', summary: '1/1' });
    }
  }, 600_000);

  test.each([
    ['named', 'llama', ['weir-limiter']],
    ['numbered', 'numbered', ['weir-init', 'weir-limiter']],
  ])('%s port, unchanged Service: the limit is whole after many probes, then used up', async (name, model, inits) => {
    const [pod] = await weir().pods(SPACE, `app=${name}`);
    expect(pod?.spec.initContainers?.map((each) => each.name)).toEqual(inits);
    await untilProbed(name);
    expect(tally(await weir().ask(SPACE, name, 4, model))).toEqual({ 200: 1, 429: 3 });
    // Used up, and the kubelet's probes pass all the same: nothing restarts, the pod stays ready.
    await untilProbed(name);
    const [after] = await weir().pods(SPACE, `app=${name}`);
    expect(after?.metadata.uid).toBe(pod?.metadata.uid);
    expect(after?.status.conditions?.find(({ type }) => type === 'Ready')?.status).toBe('True');
    const restarts = await weir().kubectl('get', 'pods', '-n', SPACE, '-l', `app=${name}`, '-o', RESTARTS);
    expect(
      restarts
        .split(' ')
        .map(Number)
        .filter((count) => count > 0),
    ).toEqual([]);
  });

  test('a gRPC probe of the kubelet passes beside the limiter', async () => {
    const grpc = {
      name: 'health',
      image: image(),
      command: ['node', '-e', GRPC_HEALTH],
      readinessProbe: { grpc: { port: 9001 }, periodSeconds: 1 },
      securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
    };
    const [deployment, service] = workload({ namespace: SPACE, name: 'grpc', image: image() });
    const spec = deployment?.['spec'] as { template: { spec: { containers: KubeManifest[] } } };
    spec.template.spec.containers.push(grpc);
    await weir().apply(deployment ?? {}, service ?? {});
    await weir().rolledOut(SPACE, 'grpc');
    const [pod] = await weir().pods(SPACE, 'app=grpc');
    expect(pod?.metadata.annotations?.['weir.dev/injected']).toBeDefined();
  });

  test('a Service that targets the number without a redirect goes past the limiter, and the object says so', async () => {
    expect(tally(await weir().ask(SPACE, 'bypass', 3, 'bypass'))).toEqual({ 200: 3 });
    const object = ['modelroutes', SPACE, 'bypass'] as const;
    await weir().untilCondition(object, 'Degraded', { status: 'True', reason: 'LimiterBypassed' });
    await weir().untilCondition(object, 'Ready', { status: 'False', reason: 'LimiterBypassed', summary: '1/1' });
    const described = await weir().kubectl('describe', 'modelroutes.weir.dev', 'bypass', '-n', SPACE);
    expect(described).toContain('of Service bypass targets port number 8000');
    const patch = [{ op: 'replace', path: '/spec/ports/0/targetPort', value: 'http' }];
    await weir().kubectl('patch', 'service', 'bypass', '-n', SPACE, '--type=json', '-p', JSON.stringify(patch));
    await weir().untilCondition(object, 'Degraded', { status: 'False', reason: 'Healthy' });
    await weir().untilCondition(object, 'Ready', { status: 'True' });
    await waitFor(
      'the Service to lead to the limiter',
      async () => {
        // A kept connection would still lead where the Service led when it was opened.
        const { status } = await chat(await weir().serviceUrl(SPACE, 'bypass'), 'bypass', { connection: 'close' });
        if (status !== 429) throw new Error('nothing is refused yet');
        return true;
      },
      { deadlineMs: 30_000, everyMs: 500 },
    );
  });

  test('a hostPort leads to the limiter: the limit holds for who dials the node', async () => {
    const ports = [{ name: 'http', containerPort: 8000, hostPort: 28080 }];
    const [deployment] = workload({ namespace: SPACE, name: 'hostport', image: image(), container: { ports } });
    await weir().apply(deployment ?? {}, sidecarRoute(`${SPACE}/hostport`, [limit(5)]));
    await weir().rolledOut(SPACE, 'hostport');
    await weir().untilCondition(['modelroutes', SPACE, 'hostport'], 'Ready', { status: 'True', summary: '1/1' });
    const node = await weir().kubectl('get', 'nodes', '-o', 'jsonpath={.items[0].status.addresses[0].address}');
    const answers = await flood(20, 4, () => chat(`http://${node.trim()}:28080`, 'llama'));
    expect(tally(answers)).toEqual({ 200: 5, 429: 15 });
  });

  test('a Job with the label ends', async () => {
    const container = {
      name: 'work',
      image: image(),
      command: ['node', '-e', '0'],
      securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
    };
    const template = { metadata: { labels: OPEN }, spec: { restartPolicy: 'Never', containers: [container] } };
    const metadata = { namespace: SPACE, name: 'once' };
    await weir().apply({ apiVersion: 'batch/v1', kind: 'Job', metadata, spec: { backoffLimit: 0, template } });
    await weir().kubectl('wait', '--for=condition=complete', 'job/once', '-n', SPACE, '--timeout=120s');
    const [pod] = await weir().pods(SPACE, 'job-name=once');
    expect(pod?.spec.initContainers?.map(({ name }) => name)).toEqual(['weir-limiter']);
  });

  test('a pod in the network of its node is admitted without a limiter, kubectl says why, and the object names it', async () => {
    const metadata = { namespace: SPACE, name: 'host', labels: { app: 'host' } };
    const container = {
      name: 'model',
      image: image(),
      args: ['stand-in', '--listen', '127.0.0.1:28000'],
      ports: [{ name: 'http', containerPort: 28000, hostPort: 28000 }],
    };
    const pod = { apiVersion: 'v1', kind: 'Pod', metadata, spec: { hostNetwork: true, containers: [container] } };
    const { code, stderr } = await weir().tryKubectl(['apply', '-f', '-'], JSON.stringify(pod));
    expect([code, stderr]).toEqual([
      0,
      expect.stringContaining('weir: the pod gets no limiter: the pod uses the network'),
    ]);
    await weir().apply(sidecarRoute(`${SPACE}/host`, [limit(1)], { modelName: 'host' }));
    const expected = { status: 'False', reason: 'UnlimitedPods' } as const;
    const object = await weir().untilCondition(['modelroutes', SPACE, 'host'], 'Programmed', expected);
    expect(JSON.stringify(object.status)).toContain('"names":["host"]');
    expect(JSON.stringify(object.status)).toContain('(host): HostNetwork: the pod uses the network of its node');
  });

  test('under Pod Security restricted a named port is limited, and a redirect is refused by name', async () => {
    await weir().apply(
      ...workload({ namespace: STRICT, name: 'named', image: image() }),
      sidecarRoute(`${STRICT}/named`, [limit(1)]),
    );
    await weir().rolledOut(STRICT, 'named');
    await weir().untilCondition(['modelroutes', STRICT, 'named'], 'Ready', { status: 'True', summary: '1/1' });
    expect(tally(await weir().ask(STRICT, 'named', 3))).toEqual({ 200: 1, 429: 2 });
    const annotations = { 'weir.dev/redirect': 'true' };
    await weir().apply(...workload({ namespace: STRICT, name: 'redirect', image: image(), annotations }));
    await waitFor(
      'the refusal of the redirected pod',
      async () => {
        const told = await weir().kubectl('describe', 'replicaset', '-n', STRICT, '-l', 'app=redirect');
        if (!/violates PodSecurity.*weir-init/s.test(told)) throw new Error(told);
        return true;
      },
      { deadlineMs: 60_000, everyMs: 500 },
    );
  });

  /** The kubelet has looked at least five times more, as its own metrics count. */
  async function untilProbed(name: string): Promise<void> {
    const [pod] = await weir().pods(SPACE, `app=${name}`);
    const node = (await weir().kubectl('get', 'nodes', '-o', 'jsonpath={.items[0].metadata.name}')).trim();
    const count = async (): Promise<number> => {
      const text = await weir().kubectl('get', '--raw', `/api/v1/nodes/${node}/proxy/metrics/probes`);
      const lines = text
        .split('\n')
        .filter((line) => line.startsWith('prober_probe_total{') && line.includes(`pod="${pod?.metadata.name ?? ''}"`))
        .filter((line) => line.includes('container="model"') && line.includes('result="successful"'));
      return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
    };
    const before = await count();
    await waitFor(
      'five more probes',
      async () => {
        const now = await count();
        if (now < before + 5) throw new Error(`${now - before} so far`);
        return true;
      },
      { deadlineMs: 60_000, everyMs: 500 },
    );
  }
});
