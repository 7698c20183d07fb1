// Test rig: an operator with the injector in this process on a real API server, registered as the chart registers it,
// and pods that are applied to it.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from '@jest/globals';
import { runOperator } from '../../../src/controller/main.ts';
import type { RunningOperator } from '../../../src/controller/settings.ts';
import { silentLogger } from '../../../src/lib/log.ts';
import type { TestCluster } from '../../../tools/node-cluster/describe-cluster.ts';
import { waitFor } from '../../../tools/node-cluster/wait.ts';
import { objectsIn } from '../../helm/helm.ts';
import { prepareCluster } from '../operator-rig.ts';

const OWN = 'weir-system';
const CHART = objectsIn(readFileSync(join(import.meta.dirname, '../../helm/golden/default.yaml'), 'utf8'));
/** Labels of pods and namespaces. */
export const ASKED = { 'weir.dev/inject': 'true' };
export const REFUSED = { 'weir.dev/inject': 'false' };
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
  readonly resources?: object;
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
export interface Applied {
  readonly code: number;
  readonly stderr: string;
  /** As the API server has it. */
  readonly stored: StoredPod | undefined;
}
export interface PodWish {
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly port?: object | undefined;
  readonly spec?: object;
  readonly dryRun?: boolean;
}

export class InjectionRig {
  readonly operator: RunningOperator;
  readonly #cluster: TestCluster;
  readonly #folder: string;
  #pods = 0;

  private constructor(cluster: TestCluster, folder: string, operator: RunningOperator) {
    this.#cluster = cluster;
    this.#folder = folder;
    this.operator = operator;
  }

  /** Resolves when pods of the namespace `asked`, which is made and labelled, get a limiter. */
  static async make(cluster: TestCluster): Promise<InjectionRig> {
    await prepareCluster(cluster);
    const folder = await mkdtemp(join(tmpdir(), 'weir-injection-'));
    const rig = new InjectionRig(cluster, folder, await startOperator(cluster, folder));
    await rig.#register(rig.operator.webhookPort ?? 0);
    await rig.namespace('asked', ASKED);
    await waitFor(
      'a pod of the labelled namespace with a limiter',
      async () => {
        if (!isInjected(await rig.apply('asked'))) throw new Error('the webhook is not asked yet');
        return true;
      },
      { deadlineMs: 20_000, everyMs: 100 },
    );
    return rig;
  }

  async end(): Promise<void> {
    await this.operator.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }

  kubectl(...args: string[]): Promise<string> {
    return this.#cluster.mustKubectl(args);
  }

  /** Applies a pod of its own name. */
  async apply(namespace: string, wish: PodWish = {}): Promise<Applied> {
    this.#pods += 1;
    const name = `pod-${this.#pods}`;
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
    const { code, stdout, stderr } = await this.#cluster.kubectl(['apply', '-f', '-', ...more], {
      input: JSON.stringify(pod),
    });
    const isStored = code === 0 && wish.dryRun !== true;
    const text = isStored ? await this.kubectl('-n', namespace, 'get', 'pod', name, '-o', 'json') : stdout;
    return { code, stderr, stored: code === 0 ? (JSON.parse(text) as StoredPod) : undefined };
  }

  /** With the account that pods need. */
  async namespace(name: string, labels: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.kubectl('create', 'namespace', name);
    if (Object.keys(labels).length > 0)
      await this.kubectl(
        'label',
        'namespace',
        name,
        ...Object.entries(labels).map(([key, value]) => `${key}=${value}`),
      );
    await this.kubectl('-n', name, 'create', 'serviceaccount', 'default');
  }

  /** The chart's, but dialled at this machine: there is no Service network here. */
  async #register(port: number): Promise<void> {
    const [configuration] = CHART.filter(({ kind }) => kind === 'MutatingWebhookConfiguration');
    const webhooks = (configuration?.['webhooks'] as { clientConfig: unknown }[]).map((webhook) => ({
      ...webhook,
      clientConfig: { url: `https://127.0.0.1:${port}/inject` },
    }));
    await this.#cluster.mustKubectl(['apply', '-f', '-'], { input: JSON.stringify({ ...configuration, webhooks }) });
    await waitFor(
      'the CA in each webhook',
      async () => {
        const path = 'jsonpath={.webhooks[*].clientConfig.caBundle}';
        const bundles = await this.kubectl('get', 'mutatingwebhookconfiguration', 'weir-injector', '-o', path);
        if (bundles.split(' ').filter((each) => each !== '').length !== webhooks.length) throw new Error(bundles);
        return true;
      },
      { deadlineMs: 20_000, everyMs: 100 },
    );
  }
}

async function startOperator(cluster: TestCluster, folder: string): Promise<RunningOperator> {
  const configFile = join(folder, 'injection.yaml');
  const injection = CHART.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === 'weir-injection');
  await writeFile(configFile, (injection?.['data'] as Record<string, string>)['injection.yaml'] ?? '');
  const listen = { host: '127.0.0.1', port: 0 };
  return await runOperator({
    source: { kind: 'cluster', kubeconfig: cluster.kubeconfig, namespaces: [] },
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
}

/** The annotation and the container say the same. */
export function isInjected({ stored }: Applied): boolean {
  const { initContainers = [] } = stored?.spec ?? {};
  const hasLimiter = initContainers.some(({ name }) => name === 'weir-limiter');
  expect(stored?.metadata.annotations?.['weir.dev/injected'] !== undefined).toBe(hasLimiter);
  return hasLimiter;
}
