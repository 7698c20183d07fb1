// On a real node, the installed product: a title and tests in; the tests run on a cluster with the images loaded and
// the chart installed with its default values, as a user has it, or skipped by name with what would enable them.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, jest } from '@jest/globals';
import type { KubectlResult } from '../../tools/node-cluster/kubectl.ts';
import { describeOnNode, type NodeTestCluster, type NodeTestOptions } from '../../tools/node-cluster/describe-node.ts';
import { isOpen } from '../../tools/node-cluster/ports.ts';
import { waitFor } from '../../tools/node-cluster/wait.ts';
import { isAsExpected, type Expected, type WeirObject } from '../e2e/harness.ts';
import { chat, flood, type Answer } from '../e2e/traffic.ts';
import { projectFolder } from '../rig/stack/cluster-access.ts';
import type { KubeManifest } from './workloads.ts';

jest.setTimeout(300_000);

const run = promisify(execFile);

export const SYSTEM = 'weir-system';
const CHART = join(projectFolder, 'deploy', 'helm');
/** Pods start within seconds, also on a busy machine within this. */
const ROLLOUT = '180s';
/** For a command that waits for such a thing. */
const COMMAND_MS = 200_000;
const STATUS_DEADLINE_MS = 60_000;

/** A pod as far as tests look at it. */
export interface PodSeen {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
  };
  readonly spec: {
    readonly containers: readonly { readonly name: string }[];
    readonly initContainers?: readonly { readonly name: string; readonly restartPolicy?: string }[];
  };
  readonly status: {
    readonly phase: string;
    readonly podIP?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    readonly initContainerStatuses?: readonly {
      readonly name: string;
      readonly ready: boolean;
      readonly restartCount: number;
    }[];
  };
}

/** What tests do on a cluster that has Weir. */
export class Installed {
  readonly cluster: NodeTestCluster;

  constructor(cluster: NodeTestCluster) {
    this.cluster = cluster;
  }

  /**
   * Installs, or upgrades to, the chart with its default values and what is given: without the values of a release
   * before it.
   */
  async install(values: Readonly<Record<string, string>> = {}): Promise<void> {
    const sets = Object.entries(values).flatMap(([name, value]) => ['--set', `${name}=${value}`]);
    await this.helm([
      ...['upgrade', '--install', 'weir', CHART, '--namespace', SYSTEM, '--create-namespace'],
      ...['--wait', '--timeout', '3m', '--reset-values', ...sets],
    ]);
    await this.#untilInjecting();
  }

  /** A busy kube-proxy hears of a ready operator seconds later, as of any webhook. */
  async #untilInjecting(): Promise<void> {
    const container = { name: 'web', image: 'web', ports: [{ name: 'http', containerPort: 8000 }] };
    const metadata = { name: 'asks', namespace: 'default', labels: { 'weir.dev/inject': 'true' } };
    const input = JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata, spec: { containers: [container] } });
    const isInjecting = async (): Promise<true | undefined> => {
      const made = await this.cluster.mustKubectl(['create', '--dry-run=server', '-o', 'json', '-f', '-'], { input });
      return made.includes('weir-limiter') || undefined;
    };
    await waitFor('the injector through its Service', isInjecting, { deadlineMs: 30_000, everyMs: 250 });
  }

  /** Throws when helm fails. */
  async helm(args: readonly string[]): Promise<string> {
    return await this.cluster.helm(args, { timeoutMs: 240_000 });
  }

  /** The command line of Weir itself, on the administrator's kubeconfig. */
  async weir(args: readonly string[]): Promise<string> {
    const env = { ...process.env, KUBECONFIG: this.cluster.kubeconfig };
    return (await run(join(projectFolder, 'bin', 'weir'), args, { env, timeout: 60_000 })).stdout;
  }

  /** Runs commands as a person at a terminal in the root of the repository would. @returns what they printed */
  async shell(text: string): Promise<string> {
    const { kubeconfig, helmProgram, kubectlProgram } = this.cluster;
    const path = [dirname(helmProgram), dirname(kubectlProgram), process.env['PATH'] ?? ''].join(':');
    const { stdout, stderr } = await run('bash', ['-euo', 'pipefail', '-c', text], {
      cwd: projectFolder,
      env: { ...process.env, PATH: path, KUBECONFIG: kubeconfig, HELM: helmProgram },
      timeout: 590_000,
      maxBuffer: 64 * 1024 * 1024,
    });
    return stdout + stderr;
  }

  /** Calls through a Service, two at a time, for as long as `step` runs. */
  async callsDuring([space, service]: readonly [string, string], step: () => Promise<unknown>): Promise<Answer[]> {
    const url = await this.serviceUrl(space, service);
    const answers: Answer[] = [];
    let isOver = false;
    const caller = async (): Promise<void> => {
      while (!isOver) answers.push(await chat(url, 'llama'));
    };
    const callers = [caller(), caller()];
    try {
      await step();
    } finally {
      isOver = true;
    }
    await Promise.all(callers);
    return answers;
  }

  /** The image of operator, limiter and stand-in model, as the chart names it. */
  get image(): string {
    return `weir:${version()}`;
  }

  async kubectl(...args: readonly string[]): Promise<string> {
    return await this.cluster.mustKubectl(args, { timeoutMs: COMMAND_MS });
  }

  async tryKubectl(args: readonly string[], input = ''): Promise<KubectlResult> {
    return await this.cluster.kubectl(args, { input });
  }

  async apply(...manifests: readonly object[]): Promise<void> {
    await this.cluster.mustKubectl(['apply', '-f', '-'], {
      input: manifests.map((each) => JSON.stringify(each)).join('\n'),
    });
  }

  async rolledOut(namespace: string, name: string): Promise<void> {
    await this.kubectl('rollout', 'status', `deployment/${name}`, '-n', namespace, `--timeout=${ROLLOUT}`);
  }

  async restart(namespace: string, name: string): Promise<void> {
    await this.kubectl('rollout', 'restart', `deployment/${name}`, '-n', namespace);
    await this.rolledOut(namespace, name);
  }

  /** The pods with these labels that are not going. */
  async pods(namespace: string, selector: string): Promise<PodSeen[]> {
    const text = await this.kubectl('get', 'pods', '-n', namespace, '-l', selector, '-o', 'json');
    const { items } = JSON.parse(text) as { items: PodSeen[] };
    return items.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  }

  /**
   * Where a Service answers: this machine is the node, so its address works here too. Resolves when kube-proxy has
   * heard of its pods, a second or two after they are ready.
   */
  async serviceUrl(namespace: string, name: string, port = 80): Promise<string> {
    const address = await this.kubectl('get', 'service', name, '-n', namespace, '-o', 'jsonpath={.spec.clusterIP}');
    const isReached = async (): Promise<true | undefined> => (await isOpen(port, address)) || undefined;
    await waitFor(`the Service ${namespace}/${name}`, isReached, { deadlineMs: 30_000, everyMs: 100 });
    return `http://${address}:${port}`;
  }

  /** Chat completions through the Service, unchanged as the user made it. */
  async ask(namespace: string, service: string, calls: number, model = 'llama'): Promise<Answer[]> {
    const url = await this.serviceUrl(namespace, service);
    return await flood(calls, 8, () => chat(url, model));
  }

  /** Throws when there is none. */
  async object(plural: string, namespace: string, name: string): Promise<WeirObject> {
    return JSON.parse(
      await this.kubectl('get', `${plural}.weir.dev`, name, '-n', namespace, '-o', 'json'),
    ) as WeirObject;
  }

  /** Waits until the condition of the object is as expected, at its present generation. */
  async untilCondition(
    [plural, namespace, name]: readonly [string, string, string],
    type: string,
    expected: Expected,
    deadlineMs = STATUS_DEADLINE_MS,
  ): Promise<WeirObject> {
    return await waitFor(
      `${plural} ${namespace}/${name}: ${type} ${JSON.stringify(expected)}`,
      async () => {
        const object = await this.object(plural, namespace, name);
        if (isAsExpected(object, type, expected)) return object;
        throw new Error(`its status is ${JSON.stringify(object.status)} at generation ${object.metadata.generation}`);
      },
      { deadlineMs, everyMs: 250 },
    );
  }
}

/** Runs the tests with Weir installed; the namespaces are made before them and removed after them. */
export function describeInstalled(
  title: string,
  namespaces: readonly KubeManifest[],
  body: (weir: () => Installed) => void,
  options: NodeTestOptions = {},
): void {
  describeOnNode(title, options, (cluster) => {
    let weir: Installed | undefined;
    const names = namespaces.map((each) => (each['metadata'] as { name: string }).name);
    beforeAll(async () => {
      weir = new Installed(cluster());
      await loadImages(cluster());
      await weir.install();
      if (namespaces.length > 0) await weir.apply(...namespaces);
    }, 600_000);
    afterAll(async () => {
      if (names.length > 0)
        await weir?.tryKubectl(['delete', 'namespace', '--wait=false', '--ignore-not-found', ...names]);
    });
    body(() => {
      if (weir === undefined) throw new Error('Weir is there only while tests run');
      return weir;
    });
  });
}

/** Those that the chart and the workloads name; built before by `make image`. */
async function loadImages(cluster: NodeTestCluster): Promise<void> {
  for (const image of [`weir:${version()}`, `weir-init:${version()}`, 'redis:7.0']) await cluster.loadImage(image);
}

/** Of this checkout, and so the tag of its images. */
export function version(): string {
  const text = readFileSync(join(projectFolder, 'package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
