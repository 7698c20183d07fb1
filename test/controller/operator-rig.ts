// Test rig: an operator in this process on a real API server, and limiters that speak the real push protocol to it.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../src/lib/log.ts';
import { runOperator } from '../../src/controller/main.ts';
import type { OperatorSettings, RunningOperator } from '../../src/controller/settings.ts';
import { ConfigClient } from '../../src/limiter/config/config-client.ts';
import type { ApplyConfigs, ConfigOutcome, VersionedConfig } from '../../src/limiter/config/config-source.ts';
import { untilEstablished } from '../../tools/node-cluster/established.ts';
import type { TestCluster } from '../../tools/node-cluster/describe-cluster.ts';
import { waitFor } from '../../tools/node-cluster/wait.ts';

export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration: number;
  readonly lastTransitionTime: string;
}

export interface Status {
  readonly observedGeneration?: number;
  readonly configVersion?: string;
  readonly limiters?: { readonly summary: string };
  readonly unlimitedPods?: { readonly count: number; readonly names: readonly string[] };
  readonly conditions?: readonly Condition[];
}

export interface Held {
  readonly metadata: { readonly name: string; readonly generation: number; readonly resourceVersion: string };
  readonly status?: Status;
}

/** Rejects what the test names, keeps the rest: the least of a limiter. */
export class TestLimiter {
  readonly held = new Map<string, VersionedConfig>();
  readonly #reject: (name: string) => string | undefined;
  readonly #client: ConfigClient;

  constructor(client: ConfigClient, reject: (name: string) => string | undefined) {
    this.#client = client;
    this.#reject = reject;
  }

  async start(): Promise<void> {
    const apply: ApplyConfigs = ({ updates, removals }) => {
      for (const name of removals) this.held.delete(name);
      return updates.map((update) => this.#take(update));
    };
    await this.#client.start(apply);
  }

  close(): Promise<void> {
    return this.#client.close();
  }

  #take(update: VersionedConfig): ConfigOutcome {
    const { name, version } = update;
    const message = this.#reject(name);
    if (message !== undefined) return { name, version, accepted: false, message };
    this.held.set(name, update);
    return { name, version, accepted: true };
  }
}

/** One folder, any number of operators (one after the other) and limiters; `end` stops them all. */
export class OperatorRig {
  readonly #cluster: TestCluster;
  readonly #folder: string;
  readonly #ends: (() => Promise<void>)[] = [];
  #limiters = 0;
  operator: RunningOperator | undefined;

  constructor(cluster: TestCluster, folder: string) {
    this.#cluster = cluster;
    this.#folder = folder;
  }

  static async make(cluster: TestCluster): Promise<OperatorRig> {
    return new OperatorRig(cluster, await mkdtemp(join(tmpdir(), 'weir-operator-')));
  }

  /** Port 0 the first time; later operators take the former one's port, so that limiters find them. */
  async start(more: Partial<OperatorSettings> = {}): Promise<RunningOperator> {
    const port = this.operator?.pushPort ?? 0;
    const operator = await runOperator({
      source: { kind: 'cluster', kubeconfig: this.#cluster.kubeconfig, namespaces: [] },
      pushListen: { host: '127.0.0.1', port },
      adminListen: { host: '127.0.0.1', port: 0 },
      tlsDir: join(this.#folder, 'tls'),
      tlsNames: [],
      egressAllow: [],
      logLevel: 'error',
      log: silentLogger(),
      reconnectGraceMs: 1500,
      ...more,
    });
    this.operator = operator;
    this.#ends.push(() => operator.stop());
    return operator;
  }

  /** A shared limiter of all namespaces. */
  limiter(reject: (name: string) => string | undefined = () => undefined): Promise<TestLimiter> {
    return this.#limiterWith(['-n', 'weir-system', 'weir-limiter'], reject);
  }

  /** The sidecar of a pod that is there; `account` is that of the pod. */
  sidecar(namespace: string, pod: string, account = 'limiter'): Promise<TestLimiter> {
    const bound = ['--bound-object-kind', 'Pod', '--bound-object-name', pod];
    return this.#limiterWith(['-n', namespace, account, ...bound], () => undefined);
  }

  async #limiterWith(account: string[], reject: (name: string) => string | undefined): Promise<TestLimiter> {
    const { operator } = this;
    if (operator === undefined) throw new Error('start an operator first');
    this.#limiters += 1;
    const tokenFile = join(this.#folder, `token-${this.#limiters}`);
    const token = await this.#cluster.mustKubectl(['create', 'token', ...account, '--audience', 'weir.dev']);
    await writeFile(tokenFile, token.trim(), { mode: 0o600 });
    const client = new ConfigClient({
      operator: `127.0.0.1:${operator.pushPort}`,
      caFile: operator.caFile,
      tokenFile,
      self: { nodeId: `limiter-${this.#limiters}`, version: 'test' },
      log: silentLogger(),
    });
    const limiter = new TestLimiter(client, reject);
    await limiter.start();
    this.#ends.push(() => limiter.close());
    return limiter;
  }

  async end(): Promise<void> {
    for (const end of this.#ends.reverse()) await end();
    await rm(this.#folder, { recursive: true, force: true });
  }

  async apply(...objects: unknown[]): Promise<void> {
    const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
    await this.#cluster.mustKubectl(['apply', '--server-side', '-f', '-'], { input });
  }

  async get(kind: string, name: string, namespace = 'default'): Promise<Held> {
    return JSON.parse(await this.#cluster.mustKubectl(['get', kind, name, '-n', namespace, '-o', 'json'])) as Held;
  }

  /** The status of an object as soon as it is what `is` asks for. */
  statusOf(
    kind: string,
    name: string,
    is: (status: Status, held: Held) => boolean,
    deadlineMs = 20_000,
    namespace = 'default',
  ): Promise<Status> {
    return waitFor(
      `the status of ${name}`,
      async () => {
        const held = await this.get(kind, name, namespace);
        const { status = {} } = held;
        if (is(status, held)) return status;
        throw new Error(JSON.stringify(status));
      },
      { deadlineMs, everyMs: 100 },
    );
  }
}

export function condition(status: Status, type: string): Condition | undefined {
  return status.conditions?.find((each) => each.type === type);
}

/** `True Ready`, `False NoLimiters` … */
export function verdict(status: Status, type = 'Ready'): string {
  const found = condition(status, type);
  return found === undefined ? 'absent' : `${found.status} ${found.reason}`;
}

/** The value of a counter, all its labels together. */
export async function counter(operator: RunningOperator, name: string): Promise<number> {
  const lines = (await operator.metrics())
    .split('\n')
    .filter((line) => line.startsWith(name) && /^[{ ]/.test(line.slice(name.length)));
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

/** The CRDs, the account of shared limiters, and one for pods. */
export async function prepareCluster(cluster: TestCluster): Promise<void> {
  await cluster.mustKubectl(['apply', '--server-side', '-f', 'deploy/crds', '-f', 'deploy/shared-limiter.yaml']);
  await untilEstablished((args) => cluster.mustKubectl(args), ['crd', '--all']);
  await cluster.mustKubectl(['create', 'serviceaccount', 'limiter']);
}

/** A ModelRoute with one bucket, whose counters are local: it needs no Redis. */
export function route(
  name: string,
  maxTokens = 10,
  spec: Record<string, unknown> = {},
  namespace = 'default',
): unknown {
  return {
    apiVersion: 'weir.dev/v1alpha1',
    kind: 'ModelRoute',
    metadata: { name, namespace },
    spec: {
      modelName: `model-${name}`,
      targets: [{ url: 'http://127.0.0.1:9' }],
      rateLimiting: {
        scope: 'Local',
        limits: [{ name: 'requests', measure: 'Requests', bucket: { maxTokens, refillPeriod: '1h' } }],
      },
      ...spec,
    },
  };
}
