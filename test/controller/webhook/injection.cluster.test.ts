// Injection on a real API server: the operator's webhook, registered as the chart registers it, and what the API
// server stored of the pods that were applied; what it printed to whoever applied them; and the webhook away.
import { createServer, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ownVersion } from '../../../src/cli/version.ts';
import { describeOnControlPlane } from '../../../tools/node-cluster/describe-cluster.ts';
import { counter } from '../operator-rig.ts';
import { ASKED, InjectionRig, isInjected, REFUSED, type Applied, type PodWish } from './injection-rig.ts';

const ENFORCED = { 'pod-security.kubernetes.io/enforce': 'restricted' };

describeOnControlPlane('sidecar injection', {}, (cluster) => {
  let rig: InjectionRig;
  const kubectl = (...args: string[]): Promise<string> => rig.kubectl(...args);
  const apply = (namespace: string, wish?: PodWish): Promise<Applied> => rig.apply(namespace, wish);

  beforeAll(async () => {
    rig = await InjectionRig.make(cluster());
    await rig.namespace('plain');
    await rig.namespace('dry');
    await rig.namespace('strict', { ...ASKED, ...ENFORCED });
    await kubectl('-n', 'kube-system', 'create', 'serviceaccount', 'default');
  }, 90_000);
  afterAll(async () => {
    await rig.end();
  }, 30_000);

  test('a named port: its name leads to the limiter, which comes first and calls its number; the CA is there', async () => {
    const { stored, stderr } = await apply('asked');
    const { containers = [], initContainers = [], volumes = [] } = stored?.spec ?? {};
    expect(initContainers.map(({ name }) => name)).toEqual(['weir-limiter']);
    const [limiter] = initContainers;
    expect(limiter).toMatchObject({
      image: `weir:${ownVersion()}`,
      restartPolicy: 'Always',
      args: expect.arrayContaining([
        '--upstream=http://127.0.0.1:8000',
        '--operator=weir-operator.weir-system.svc:18000',
      ]),
    });
    expect(limiter?.ports).toContainEqual({ name: 'http', containerPort: 18080, protocol: 'TCP' });
    expect(containers[0]).toMatchObject({
      ports: [{ containerPort: 8000, protocol: 'TCP' }],
      readinessProbe: { httpGet: { port: 8000 } },
      lifecycle: { preStop: { httpGet: { path: '/drain?delay=5s&max=15s', port: 18090 } } },
    });
    expect(volumes.map(({ name }) => name)).toEqual(expect.arrayContaining(['weir-token', 'weir-ca', 'weir-state']));
    expect(stored?.metadata.annotations?.['weir.dev/injected']).toBe('0.2.0');
    expect(stderr).toBe('');
    expect(await kubectl('-n', 'asked', 'get', 'configmap', 'weir-ca', '-o', 'jsonpath={.data.ca\\.crt}')).toContain(
      'BEGIN CERTIFICATE',
    );
  });

  test('a numbered port is redirected by an init container before the limiter, and probed past it', async () => {
    const { stored } = await apply('asked', {
      annotations: { 'weir.dev/redirect': 'true' },
      port: { containerPort: 8000 },
    });
    expect(stored?.spec.initContainers?.map(({ name }) => name)).toEqual(['weir-init', 'weir-limiter']);
    expect(stored?.spec.containers[0]).toMatchObject({
      ports: [{ containerPort: 8000 }],
      readinessProbe: { httpGet: { port: 18091 } },
    });
  });

  test.each([
    ['label false in a labelled namespace', 'asked', { labels: REFUSED }, false],
    ['label true in an unlabelled namespace', 'plain', { labels: ASKED }, true],
    ['no label in an unlabelled namespace', 'plain', {}, false],
    ['label true in kube-system', 'kube-system', { labels: ASKED }, false],
  ])('%s', async (_title, where, wish, expected) => {
    const applied = await apply(where, wish);
    expect([applied.code, applied.stderr, isInjected(applied)]).toEqual([0, '', expected]);
  });

  test('an image of its own, and nothing else of the pod, is what its annotation names', async () => {
    const { stored } = await apply('asked', { annotations: { 'weir.dev/image': 'registry.example/weir:9' } });
    const containers = [...(stored?.spec.initContainers ?? []), ...(stored?.spec.containers ?? [])];
    expect(containers.map(({ image }) => image)).toEqual(['registry.example/weir:9', 'model:1']);
  });

  test('hostNetwork, a port without a name, wrong and unknown annotations: admitted as they came, and kubectl says why', async () => {
    const host = await apply('asked', {
      port: { name: 'http', containerPort: 8000, hostPort: 8000 },
      spec: { hostNetwork: true },
    });
    const unnamed = await apply('asked', { port: { containerPort: 8000 } });
    const wrong = await apply('asked', { annotations: { 'weir.dev/redirect': 'yes' } });
    const typo = await apply('asked', { annotations: { 'weir.dev/prot': 'http' } });
    expect([host, unnamed, wrong, typo].map((each) => [each.code, isInjected(each)])).toEqual([
      [0, false],
      [0, false],
      [0, false],
      [0, true],
    ]);
    expect(host.stderr).toContain(
      'Warning: weir: the pod gets no limiter: the pod uses the network of its node (hostNetwork)',
    );
    expect(unnamed.stderr).toContain('port 8000 has no name, which the limiter needs: name it');
    expect(wrong.stderr).toContain('annotation weir.dev/redirect: "yes" is neither "true" nor "false"');
    expect(typo.stderr).toContain('annotation weir.dev/prot is unknown');
    for (const { stored } of [host, unnamed, wrong]) expect(stored?.spec.initContainers).toBeUndefined();
  });

  describe('a namespace that enforces Pod Security restricted', () => {
    test('admits an injected pod', async () => {
      expect(isInjected(await apply('strict'))).toBe(true);
    });

    test('refuses a redirected one: Kubernetes names the container, Weir what to do', async () => {
      const { code, stderr } = await apply('strict', { annotations: { 'weir.dev/redirect': 'true' } });
      expect(code).not.toBe(0);
      expect(stderr).toMatch(/violates PodSecurity "restricted:latest".*weir-init.*NET_ADMIN/s);
      expect(stderr).toContain('Warning: weir: namespace strict enforces Pod Security restricted');
      expect(stderr).toContain('name the port');
    });
  });

  test('a dry run shows the limiter and leaves nothing behind', async () => {
    const applied = await apply('dry', { labels: ASKED, dryRun: true });
    expect([applied.code, isInjected(applied)]).toEqual([0, true]);
    const left = ['-n', 'dry', 'get', 'pods,configmaps', '-o', 'name'];
    expect((await kubectl(...left)).split('\n').filter((name) => name.includes('weir'))).toEqual([]);
    // The same for good does make it: the line above can fail.
    expect(isInjected(await apply('dry', { labels: ASKED }))).toBe(true);
    expect(await kubectl(...left)).toContain('configmap/weir-ca');
  });

  test('what it was asked is counted by its answer', async () => {
    await apply('asked', { spec: { hostNetwork: true }, port: { containerPort: 8000 } });
    const text = await rig.operator.metrics();
    expect(text).toMatch(/weir_admissions_total\{result="injected"\} [1-9]/);
    expect(text).toMatch(/weir_admissions_total\{result="HostNetwork"\} [1-9]/);
    expect(await counter(rig.operator, 'weir_injection_config_faulty')).toBe(0);
  });

  test('while nobody listens, and while who listens never answers, pods are admitted without a limiter in time', async () => {
    const port = rig.operator.webhookPort ?? 0;
    await rig.operator.stop();
    const closed = await apply('asked');
    expect([closed.code, isInjected(closed)]).toEqual([0, false]);
    const { server, end } = await mute(port);
    try {
      const startMs = performance.now();
      const silent = await apply('asked');
      expect([silent.code, isInjected(silent)]).toEqual([0, false]);
      // 5 s of the webhook, the rest of it is kubectl on a busy machine.
      expect(performance.now() - startMs).toBeLessThan(15_000);
      expect(server.listening).toBe(true);
    } finally {
      await end();
    }
  });
});

/** Takes connections and says nothing. */
async function mute(port: number): Promise<{ server: Server; end: () => Promise<void> }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => undefined));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(port, '127.0.0.1', resolve);
  });
  return {
    server,
    end: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
      });
    },
  };
}
