// Injection on a real API server: the operator's webhook, registered as the chart registers it, and what the API server stored of
// the pods that were applied; what it printed to whoever applied them; and the webhook away.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { runOperator } from '../../../src/controller/main.ts';
import type { RunningOperator } from '../../../src/controller/settings.ts';
import { silentLogger } from '../../../src/lib/log.ts';
import { describeOnControlPlane } from '../../../tools/node-cluster/describe-cluster.ts';
import { waitFor } from '../../../tools/node-cluster/wait.ts';
import { objectsIn } from '../../helm/helm.ts';
import { counter, prepareCluster, route } from '../operator-rig.ts';

const OWN = 'weir-system';
const CHART = objectsIn(readFileSync(join(import.meta.dirname, '../../helm/golden/default.yaml'), 'utf8'));
const ENFORCED = { 'pod-security.kubernetes.io/enforce': 'restricted' };
const ASKED = { 'weir.dev/inject': 'true' };
const REFUSED = { 'weir.dev/inject': 'false' };
const SECURE = {
  runAsNonRoot: true,
  runAsUser: 65532,
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' },
};

interface Container {
  readonly name: string;
  readonly image: string;
  readonly args?: readonly string[];
  readonly ports?: readonly { readonly name?: string; readonly containerPort: number }[];
  readonly readinessProbe?: { readonly httpGet?: { readonly port: number | string } };
  readonly lifecycle?: { readonly preStop?: { readonly httpGet?: { readonly path: string; readonly port: number } } };
}
interface StoredPod {
  readonly metadata: { readonly annotations?: Readonly<Record<string, string>> };
  readonly spec: {
    readonly containers: readonly Container[];
    readonly initContainers?: readonly Container[];
    readonly volumes?: readonly { readonly name: string }[];
  };
}
interface Applied {
  readonly code: number;
  readonly stderr: string;
  /** As the API server has it. */
  readonly stored: StoredPod | undefined;
}
interface PodWish {
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly port?: object | undefined;
  readonly spec?: object;
  readonly dryRun?: boolean;
}

describeOnControlPlane('sidecar injection', {}, (cluster) => {
  let operator: RunningOperator;
  let folder = '';
  let pods = 0;

  const kubectl = (...args: string[]): Promise<string> => cluster().mustKubectl(args);

  async function apply(namespace: string, wish: PodWish = {}): Promise<Applied> {
    pods += 1;
    const name = `pod-${pods}`;
    const { labels = {}, annotations = {}, port = { name: 'http', containerPort: 8000 }, spec = {} } = wish;
    const main = {
      name: 'main',
      image: 'model:1',
      ports: [port],
      readinessProbe: { httpGet: { path: '/health', port: 8000 } },
      securityContext: SECURE,
    };
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace, labels, annotations },
      spec: { containers: [main], ...spec },
    };
    const more = wish.dryRun === true ? ['--dry-run=server', '-o', 'json'] : ['-o', 'json'];
    const { code, stdout, stderr } = await cluster().kubectl(['apply', '-f', '-', ...more], {
      input: JSON.stringify(pod),
    });
    const isStored = code === 0 && wish.dryRun !== true;
    const text = isStored ? await kubectl('-n', namespace, 'get', 'pod', name, '-o', 'json') : stdout;
    return { code, stderr, stored: code === 0 ? (JSON.parse(text) as StoredPod) : undefined };
  }

  async function namespace(name: string, labels: Readonly<Record<string, string>> = {}): Promise<void> {
    await kubectl('create', 'namespace', name);
    if (Object.keys(labels).length > 0)
      await kubectl('label', 'namespace', name, ...Object.entries(labels).map(([key, value]) => `${key}=${value}`));
    await kubectl('-n', name, 'create', 'serviceaccount', 'default');
  }

  /** The chart's, but dialled at this machine: there is no Service network here. */
  async function register(port: number): Promise<void> {
    const [configuration] = CHART.filter(({ kind }) => kind === 'MutatingWebhookConfiguration');
    const webhooks = (configuration?.['webhooks'] as { clientConfig: unknown }[]).map((webhook) => ({
      ...webhook,
      clientConfig: { url: `https://127.0.0.1:${port}/inject` },
    }));
    await cluster().mustKubectl(['apply', '-f', '-'], { input: JSON.stringify({ ...configuration, webhooks }) });
    await waitFor(
      'the CA in each webhook',
      async () => {
        const path = 'jsonpath={.webhooks[*].clientConfig.caBundle}';
        const bundles = await kubectl('get', 'mutatingwebhookconfiguration', 'weir-injector', '-o', path);
        if (bundles.split(' ').filter((each) => each !== '').length !== webhooks.length) throw new Error(bundles);
        return true;
      },
      { deadlineMs: 20_000, everyMs: 100 },
    );
  }

  beforeAll(async () => {
    await prepareCluster(cluster());
    folder = await mkdtemp(join(tmpdir(), 'weir-injection-'));
    const configFile = join(folder, 'injection.yaml');
    const injection = CHART.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === 'weir-injection');
    await writeFile(configFile, (injection?.['data'] as Record<string, string>)['injection.yaml'] ?? '');
    const listen = { host: '127.0.0.1', port: 0 };
    operator = await runOperator({
      source: { kind: 'cluster', kubeconfig: cluster().kubeconfig, namespaces: [] },
      pushListen: listen,
      adminListen: listen,
      tlsDir: join(folder, 'tls'),
      tlsNames: [],
      certificateSecret: 'weir-certificates',
      ownNamespace: OWN,
      webhookConfiguration: 'weir-injector',
      webhookService: 'weir-webhook',
      webhook: { listen, configFile, version: '0.2.0', ownNamespace: OWN, caConfigMap: 'weir-ca' },
      egressAllow: [],
      logLevel: 'error',
      log: silentLogger(),
    });
    await register(operator.webhookPort ?? 0);
    await namespace('asked', ASKED);
    await namespace('plain');
    await namespace('dry');
    await namespace('strict', { ...ASKED, ...ENFORCED });
    await kubectl('-n', 'kube-system', 'create', 'serviceaccount', 'default');
    await waitFor(
      'a pod of the labelled namespace with a limiter',
      async () => {
        if (!isInjected(await apply('asked'))) throw new Error('the webhook is not asked yet');
        return true;
      },
      { deadlineMs: 20_000, everyMs: 100 },
    );
  }, 90_000);

  afterAll(async () => {
    await operator.stop();
    await rm(folder, { recursive: true, force: true });
  }, 30_000);

  test('a named port: its name leads to the limiter, which comes first and calls its number; the CA is there', async () => {
    const { stored, stderr } = await apply('asked');
    const { containers = [], initContainers = [], volumes = [] } = stored?.spec ?? {};
    expect(initContainers.map(({ name }) => name)).toEqual(['weir-limiter']);
    const [limiter] = initContainers;
    expect(limiter).toMatchObject({
      image: 'weir:0.2.0',
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
    expect(unnamed.stderr).toContain('port 8000 has no name that the limiter could take over: name it');
    expect(wrong.stderr).toContain('annotation weir.dev/redirect: "yes" is neither "true" nor "false"');
    expect(typo.stderr).toContain('annotation weir.dev/prot means nothing');
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
      const text = await operator.metrics();
      expect(text).toMatch(/weir_operator_skipped_pods\{reason="SeveralPorts"\} 1/);
      expect(text).toMatch(/weir_operator_skipped_pods\{reason="OptedOut"\} 1/);
    });
  });

  test('what it was asked is counted by its answer', async () => {
    await apply('asked', { spec: { hostNetwork: true }, port: { containerPort: 8000 } });
    const text = await operator.metrics();
    expect(text).toMatch(/weir_admissions_total\{result="injected"\} [1-9]/);
    expect(text).toMatch(/weir_admissions_total\{result="HostNetwork"\} [1-9]/);
    expect(await counter(operator, 'weir_injection_config_faulty')).toBe(0);
  });

  test('while nobody listens, and while who listens never answers, pods are admitted without a limiter in time', async () => {
    const port = operator.webhookPort ?? 0;
    await operator.stop();
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

function isInjected({ stored }: Applied): boolean {
  const { initContainers = [] } = stored?.spec ?? {};
  const hasLimiter = initContainers.some(({ name }) => name === 'weir-limiter');
  expect(stored?.metadata.annotations?.['weir.dev/injected'] !== undefined).toBe(hasLimiter);
  return hasLimiter;
}

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
