// Benchmark of pods: what a sidecar costs on a real node. In: a cluster that has Weir (WEIR_TEST_KUBECONFIG, or the
// one of `make cluster-up` with `make image`), seconds; out: JSON: the image, an idle limiter's memory, and the time
// from asking for a pod to its being ready, with and without injection, in turns.
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Kube } from '../src/controller/kube/kube-api.ts';
import { connectKube } from '../src/controller/kube/kube.ts';
import { RESOURCES, type KubeObject, type StoredObject } from '../src/controller/kube/kube-types.ts';
import { mustKubectl } from '../tools/node-cluster/kubectl.ts';
import { attachNode } from '../tools/node-cluster/node/node-cluster.ts';
import { obtainProgram } from '../tools/node-cluster/programs.ts';
import { waitFor } from '../tools/node-cluster/wait.ts';
import { CannotStart } from '../test/rig/dev/dev-stack.ts';
import { projectFolder, type Kubectl } from '../test/rig/stack/cluster-access.ts';
import { timesOf, type Times } from './figures.ts';
import { imageSize, type ImageSize } from './image-size.ts';
import { kindOf } from '../src/crd/kinds/kinds.ts';

export interface PodBenchOptions {
  /** Pods of each kind. */
  readonly pods: number;
  /** How long a limiter does nothing before its memory is read. */
  readonly seconds: number;
}

export interface PodBenchResult extends PodBenchOptions {
  /** Absent: it was not built on this machine. */
  readonly image?: ImageSize;
  /** Of the container of an idle limiter with one object, as the kubelet says: the median over the pods. */
  readonly limiterIdleMiB: { readonly rss: number; readonly workingSet: number };
  /** From the request to create a pod to the condition Ready, seen by a watch. */
  readonly bare: Times;
  readonly injected: Times;
  /** Of the medians. */
  readonly addedMs: number;
}

interface PodSeen extends KubeObject {
  readonly spec?: object;
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

const NAMESPACES = { bare: 'bench-bare', injected: 'bench-injected' };
const READY_MS = 120_000;
const LIMITER = 'weir-limiter';

const log = (line: string): void => void process.stderr.write(`${line}\n`);

class PodBench {
  readonly #kube: Kube;
  readonly #kubectl: Kubectl;
  readonly #image: string;

  constructor(kubeconfig: string, kubectl: Kubectl, image: string) {
    this.#kube = connectKube({ kubeconfig });
    this.#kubectl = kubectl;
    this.#image = image;
  }

  async run(options: PodBenchOptions): Promise<Omit<PodBenchResult, 'image'>> {
    await this.#prepare();
    const times = { bare: [] as number[], injected: [] as number[] };
    // The first of each kind is not counted: what the node reads from its disk is in memory after it.
    for (let index = 0; index <= options.pods; index += 1) {
      for (const kind of ['bare', 'injected'] as const) {
        const ms = await this.#startPod(kind, `pod-${index}`);
        if (index > 0) times[kind].push(ms);
        if (kind === 'bare' || index < options.pods) await this.#removePod(NAMESPACES[kind], `pod-${index}`);
      }
    }
    log(`an idle limiter, ${options.seconds} s`);
    const limiterIdleMiB = await this.#idleMemory(`pod-${options.pods}`, options.seconds);
    const [bare, injected] = [timesOf(times.bare), timesOf(times.injected)];
    return { ...options, limiterIdleMiB, bare, injected, addedMs: Math.round(injected.medianMs - bare.medianMs) };
  }

  async end(): Promise<void> {
    await this.#kube.close();
    await this.#kubectl(['delete', 'namespace', '--wait=false', '--ignore-not-found', ...Object.values(NAMESPACES)]);
  }

  /** The limiter is ready when it has its object, so there is one before the pods. */
  async #prepare(): Promise<void> {
    for (const namespace of Object.values(NAMESPACES)) {
      const labels = namespace === NAMESPACES.injected ? { 'weir.dev/inject': 'true' } : {};
      const metadata = { name: namespace, labels };
      const input = JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata });
      await this.#kubectl(['apply', '-f', '-'], { input });
    }
    const route = {
      apiVersion: 'weir.dev/v1alpha1',
      kind: 'ModelRoute',
      metadata: { name: 'model', namespace: NAMESPACES.injected },
      spec: {
        modelName: 'llama',
        workloadSelector: { matchLabels: { app: 'model' } },
        rateLimiting: {
          scope: 'Local',
          limits: [{ name: 'all', measure: 'Requests', bucket: { maxTokens: 10, refillPeriod: '1m' } }],
        },
      },
    } as StoredObject;
    await this.#kube.apply(kindOf('ModelRoute'), NAMESPACES.injected, route);
    await waitFor('the account of the namespaces', () => this.#accounts(), { deadlineMs: READY_MS, everyMs: 100 });
  }

  async #accounts(): Promise<true | undefined> {
    const type = { group: '', version: 'v1', plural: 'serviceaccounts' };
    const found = Object.values(NAMESPACES).map((namespace) => this.#kube.get(type, namespace, 'default'));
    return await Promise.all(found).then(
      () => true,
      () => undefined,
    );
  }

  /** @returns ms. */
  async #startPod(kind: keyof typeof NAMESPACES, name: string): Promise<number> {
    const namespace = NAMESPACES[kind];
    const stopping = new AbortController();
    const ready = this.#whenReady(namespace, name, AbortSignal.any([stopping.signal, AbortSignal.timeout(READY_MS)]));
    // Heard of below, or no longer of interest.
    ready.catch(() => undefined);
    try {
      // The watch is open before the pod is asked for.
      await pause(200);
      const beginMs = performance.now();
      const made = await this.#kube.create<PodSeen>(RESOURCES.pods, namespace, podOf(name, this.#image));
      const isInjected = JSON.stringify(made.spec).includes(LIMITER);
      if (isInjected !== (kind === 'injected')) {
        const what = isInjected ? 'has a' : 'has no';
        throw new CannotStart(`a pod of namespace ${namespace} ${what} limiter: is Weir installed with its injector?`);
      }
      const ms = (await ready) - beginMs;
      log(`${kind} ${name}: ready after ${Math.round(ms)} ms`);
      return ms;
    } finally {
      stopping.abort();
    }
  }

  /** @returns when the pod was ready, on the clock of `performance`. */
  async #whenReady(namespace: string, name: string, signal: AbortSignal): Promise<number> {
    const { resourceVersion } = await this.#kube.list(RESOURCES.pods, { namespace });
    const life = { timeoutSeconds: READY_MS / 1_000, silenceMs: READY_MS };
    const events = this.#kube.watch<PodSeen>(RESOURCES.pods, { namespace, resourceVersion, ...life, signal });
    for await (const { type, object } of events) {
      if (type !== 'BOOKMARK' && object.metadata.name === name && isReady(object)) return performance.now();
    }
    throw new Error(`pod ${namespace}/${name} is not ready within ${READY_MS / 1_000} s`);
  }

  /** Resolves when it is gone: the next one has the node to itself. */
  async #removePod(namespace: string, name: string): Promise<void> {
    await this.#kube.remove(RESOURCES.pods, namespace, name);
    const isGone = (): Promise<true | undefined> =>
      this.#kube.get(RESOURCES.pods, namespace, name).then(
        () => undefined,
        () => true,
      );
    await waitFor(`the end of pod ${name}`, isGone, { deadlineMs: READY_MS, everyMs: 100 });
  }

  /** The kubelet's own figures: it looks every ten seconds or so. */
  async #idleMemory(name: string, seconds: number): Promise<PodBenchResult['limiterIdleMiB']> {
    await pause(Math.max(15, seconds) * 1_000);
    const pod = await this.#kube.get<PodSeen & { spec?: { nodeName?: string } }>(
      RESOURCES.pods,
      NAMESPACES.injected,
      name,
    );
    // Without the figures of disks, which a kubelet on an odd root device cannot tell.
    const path = `/api/v1/nodes/${pod.spec?.nodeName ?? ''}/proxy/stats/summary?only_cpu_and_memory=true`;
    const summary = JSON.parse(await this.#kubectl(['get', '--raw', path])) as Summary;
    const stats = summary.pods.find(({ podRef }) => podRef.name === name && podRef.namespace === NAMESPACES.injected);
    const memory = stats?.containers.find((container) => container.name === LIMITER)?.memory;
    if (memory === undefined) throw new Error('the kubelet tells nothing of the limiter');
    const mib = (bytes = NaN): number => Math.round(bytes / 2 ** 20);
    return { rss: mib(memory.rssBytes), workingSet: mib(memory.workingSetBytes) };
  }
}

interface Summary {
  readonly pods: readonly {
    readonly podRef: { readonly name: string; readonly namespace: string };
    readonly containers: readonly {
      readonly name: string;
      readonly memory?: { readonly rssBytes?: number; readonly workingSetBytes?: number };
    }[];
  }[];
}

function isReady({ status }: PodSeen): boolean {
  return status?.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True') === true;
}

/** No readiness probe of the workload's own: it would round every time up to its period. */
function podOf(name: string, image: string): PodSeen {
  const container = {
    name: 'model',
    image,
    imagePullPolicy: 'IfNotPresent',
    args: ['stand-in', '--listen', '0.0.0.0:8000'],
    ports: [{ name: 'http', containerPort: 8000 }],
    securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
  };
  const spec = {
    terminationGracePeriodSeconds: 1,
    securityContext: { runAsNonRoot: true, runAsUser: 65_532, seccompProfile: { type: 'RuntimeDefault' } },
    containers: [container],
  };
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name, labels: { app: 'model' } }, spec };
}

/** The cluster of `make cluster-up` in this checkout, or the one that is named. */
async function kubeconfigOf(): Promise<string> {
  const named = process.env['WEIR_TEST_KUBECONFIG'];
  if (named !== undefined && named !== '') return named;
  const local = await attachNode(join(projectFolder, '.run', 'node-cluster'));
  if (local !== undefined) return local.kubeconfig;
  throw new CannotStart('no cluster: set WEIR_TEST_KUBECONFIG, or run make cluster-up, make image and helm install');
}

/** Runs the benchmark once, on a cluster that stays as it was. */
export async function benchPod(options: PodBenchOptions, given?: string): Promise<PodBenchResult> {
  const { version } = JSON.parse(await readFile(join(projectFolder, 'package.json'), 'utf8')) as { version: string };
  const name = process.env['WEIR_BENCH_IMAGE'] ?? `weir:${version}`;
  const image = await imageSize(name);
  const found = await obtainProgram('kubectl', { log });
  if (found.kind === 'unavailable') throw new CannotStart(`${found.reason}; ${found.remedy}`);
  const kubeconfig = given ?? (await kubeconfigOf());
  const kubectl: Kubectl = (args, more) => mustKubectl(args, { kubeconfig, program: found.path, ...more });
  const bench = new PodBench(kubeconfig, kubectl, name);
  try {
    return { ...(image === undefined ? {} : { image }), ...(await bench.run(options)) };
  } finally {
    await bench.end();
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { pods: { type: 'string', default: '12' }, seconds: { type: 'string', default: '30' } },
  });
  try {
    const result = await benchPod({ pods: Number(values.pods), seconds: Number(values.seconds) });
    process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
  } catch (error) {
    if (!(error instanceof CannotStart)) throw error;
    log(error.message);
    process.exitCode = 1;
  }
}
