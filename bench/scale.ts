// Benchmark of scale: namespaces x objects x limiters, each limiter with the objects of its namespace, and one shared
// limiter with all. In: sizes, seconds; out: JSON. Real etcd and kube-apiserver, the built operator with TLS and
// token review, tokens bound to pods; the limiters are light (bench/scale-limiters.ts) and share two processes.
// Measured twice: with a tenth of the objects, and with all.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { Kube } from '../src/controller/kube/kube-api.ts';
import { connectKube } from '../src/controller/kube/kube.ts';
import { RESOURCES, type KubeObject, type StoredObject } from '../src/controller/kube/kube-types.ts';
import { up, type ControlPlane } from '../tools/node-cluster/control-plane.ts';
import { mustKubectl } from '../tools/node-cluster/kubectl.ts';
import { waitFor } from '../tools/node-cluster/wait.ts';
import { CannotStart, findPrograms } from '../test/rig/dev/dev-stack.ts';
import { prepareCluster, type Kubectl } from '../test/rig/stack/cluster-access.ts';
import { Stack } from '../test/rig/stack/stack.ts';
import { WeirStack } from '../test/rig/stack/weir-stack.ts';
import { drawer, SEED, timesOf, type Times } from './figures.ts';
import { cpuMsOf, memoryOf } from './process-figures.ts';
import { Fleet } from './scale-fleet.ts';
import type { LightLimiter } from './scale-limiters.ts';
import { namespaceList, namespaceOf, podOf, routeOf } from './scale-objects.ts';
import { kindOf } from '../src/crd/kinds/kinds.ts';

export interface ScaleBenchOptions {
  readonly namespaces: number;
  /** In each namespace. */
  readonly objects: number;
  /** In each namespace, one pod each. */
  readonly limiters: number;
  readonly seconds: number;
}

export interface StartFigures {
  readonly objects: number;
  readonly connections: number;
  /**
   * From the operator's start to the last object acknowledged by the last limiter; its caches and those of the
   * limiters were empty.
   */
  readonly startToReadyMs: number;
  readonly startToLastAckMs: number;
  /** CPU of the operator until then: it says more than the time where other work shares the machine. */
  readonly cpuToLastAckMs: number;
  /** Until nothing was reconciled or written any more: statuses, last good forms and Events included. */
  readonly startToSilenceMs: number;
  /** Right after the last ACK, at rest after everything, and the most there ever was. */
  readonly memoryMiB: { readonly afterSync: number; readonly atRest: number; readonly peak: number };
}

export interface ScaleFigures extends StartFigures {
  /** Of one core, with nothing to do: before and after the edits. */
  readonly cpuAtRestPercent: readonly [number, number];
  /**
   * One edit of one object, to the last ACK of the limiters that have it: from sending, and from the API server's
   * answer.
   */
  readonly fromSending: Times;
  readonly fromAnswer: Times;
  /**
   * CPU of the operator per edit, status, last good form and Events included; what it does at rest, before and after,
   * subtracted.
   */
  readonly cpuPerEditMs: number;
}

export interface ScaleBenchResult extends ScaleBenchOptions {
  readonly seed: number;
  readonly tenth: ScaleFigures;
  /**
   * Nine tenths of the objects are new to the operator: it writes a status, a last good form and an Event or two for
   * each.
   */
  readonly whole: ScaleFigures;
  /** The same once more, with nothing new: as after an update of the operator. */
  readonly restart: StartFigures;
}

const AT_ONCE = 24;
const CLIENT_PROCESSES = 2;
/** Edits begin this far apart. */
const EDIT_EVERY_MS = 250;
/** The first edits are not counted: their code is still being compiled. */
const WARM_UP_SHARE = 0.2;
const AT_REST_MS = 15_000;
const SILENT_MS = 3_000;
const SYNC_DEADLINE_MS = 600_000;
const EDIT_DEADLINE_MS = 60_000;
const COUNTERS = [
  'weir_reconciles_total',
  'weir_status_writes_total',
  'weir_events_total',
  'weir_push_latency_seconds_count',
];
const TOKENS = { group: '', version: 'v1' };

const log = (line: string): void => void process.stderr.write(`${line}\n`);

class ScaleBench {
  readonly #options: ScaleBenchOptions;
  readonly #kube: Kube;
  readonly #weir: WeirStack;
  readonly #restMs: number;
  #fleets: Fleet[] = [];
  #mark = 1;

  constructor(options: ScaleBenchOptions, plane: ControlPlane, weir: WeirStack) {
    this.#options = options;
    this.#kube = connectKube({ kubeconfig: plane.kubeconfig });
    this.#weir = weir;
    this.#restMs = Math.min(AT_REST_MS, options.seconds * 1_000);
  }

  async end(): Promise<void> {
    await Promise.all(this.#fleets.map((fleet) => fleet.end()));
    await this.#kube.close();
  }

  async run(kubectl: Kubectl): Promise<ScaleBenchResult> {
    const { namespaces, limiters, objects } = this.#options;
    await prepareCluster(kubectl);
    log('an operator on the empty cluster, which makes the certificates');
    await this.#weir.startOperator({ defaultRedis: false });
    log(`${namespaces} namespaces with ${limiters} pods each`);
    await kubectl(['create', '-f', '-'], { input: namespaceList(namespaces) });
    const fleet = await this.#makeLimiters();
    const few = Math.max(1, Math.round(objects / 10));
    await this.#makeObjects(0, few);
    const tenth = await this.#measure(few, fleet);
    await this.#makeObjects(few, objects);
    const whole = await this.#measure(objects, fleet);
    const { figures: restart } = await this.#start(objects, fleet);
    return { ...this.#options, seed: SEED, tenth, whole, restart };
  }

  async #makeLimiters(): Promise<LightLimiter[]> {
    const { namespaces, limiters } = this.#options;
    await this.#each(namespaces, async (index) => {
      const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'limiter' } };
      await this.#kube.create({ ...TOKENS, plural: 'serviceaccounts' }, namespaceOf(index), account);
    });
    const sidecars: LightLimiter[] = [];
    await this.#each(namespaces * limiters, async (index) => {
      const namespace = namespaceOf(index % namespaces);
      const name = `pod-${Math.floor(index / namespaces)}`;
      await this.#kube.create(RESOURCES.pods, namespace, podOf(name));
      sidecars.push({ nodeId: name, token: await this.#token(namespace, 'limiter', name) });
    });
    const token = await this.#token('weir-system', 'weir-limiter');
    return [...sidecars, { nodeId: 'shared', token, namespaces: ['*'] }];
  }

  async #token(namespace: string, account: string, pod?: string): Promise<string> {
    const bound = pod === undefined ? {} : { boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: pod } };
    const body = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      metadata: { name: account },
      spec: { audiences: ['weir.dev'], expirationSeconds: 86_400, ...bound },
    };
    const plural = `serviceaccounts/${account}/token`;
    const answer = await this.#kube.create<KubeObject>({ ...TOKENS, plural }, namespace, body);
    return (answer as { status?: { token?: string } }).status?.token ?? '';
  }

  async #makeObjects(from: number, to: number): Promise<void> {
    const { namespaces } = this.#options;
    log(`objects ${from} to ${to} of each namespace`);
    await this.#each((to - from) * namespaces, async (index) => {
      await this.#apply(index % namespaces, from + Math.floor(index / namespaces), 1);
    });
  }

  async #measure(objects: number, limiters: readonly LightLimiter[]): Promise<ScaleFigures> {
    const { pid, figures } = await this.#start(objects, limiters);
    const edits = await this.#edits(objects, pid);
    return {
      ...figures,
      memoryMiB: { ...(await restAndPeakOf(pid)), afterSync: figures.memoryMiB.afterSync },
      ...edits,
    };
  }

  /**
   * Starts a new operator with `objects` per namespace, and new limiters before it: they look for it. Resolves when
   * all is silent.
   */
  async #start(
    objects: number,
    limiters: readonly LightLimiter[],
  ): Promise<{ readonly pid: number; readonly figures: StartFigures }> {
    const total = objects * this.#options.namespaces;
    await Promise.all(this.#fleets.map((fleet) => fleet.end()));
    await this.#weir.stack.server('operator').stop();
    const ca = await readFile(join(this.#weir.stack.folder, 'operator-data', 'ca.crt'), 'utf8');
    const shares = Array.from({ length: CLIENT_PROCESSES }, (_, share) =>
      limiters.filter((_each, index) => index % CLIENT_PROCESSES === share),
    );
    this.#fleets = shares.map((share) => new Fleet(this.#weir.ports.push, ca, share));
    const beginMs = nowMs();
    const sinceBegin = (): number => Math.round(nowMs() - beginMs);
    const operator = await this.#weir.startOperator({ defaultRedis: false, readyWithinMs: SYNC_DEADLINE_MS });
    const pid = operator.pid() ?? NaN;
    const startToReadyMs = sinceBegin();
    const wanted = total * this.#options.limiters + total;
    await waitFor('every limiter with every object', () => this.#sum('held') === wanted || undefined, {
      deadlineMs: SYNC_DEADLINE_MS,
      everyMs: 20,
    });
    const [startToLastAckMs, cpuToLastAckMs] = [sinceBegin(), await cpuMsOf(pid)];
    const afterSync = (await memoryOf(pid)).rssMiB;
    log(`${total} objects: ready after ${startToReadyMs} ms, last ACK after ${startToLastAckMs} ms, ${afterSync} MiB`);
    await this.#silence();
    const memoryMiB = { afterSync, ...(await restAndPeakOf(pid)) };
    const connections = this.#sum('connected');
    const startToSilenceMs = sinceBegin();
    log(`silent after ${startToSilenceMs} ms, ${JSON.stringify(memoryMiB)}`);
    const times = { startToReadyMs, startToLastAckMs, cpuToLastAckMs, startToSilenceMs };
    return { pid, figures: { objects: total, connections, ...times, memoryMiB } };
  }

  /** Resolves when nothing waits, and nothing was reconciled or written for three seconds. */
  async #silence(): Promise<void> {
    let last = '';
    let sinceMs = nowMs();
    await waitFor(
      'silence of the operator',
      async () => {
        const answer = await fetch(`${this.#weir.operatorAdminUrl}/metrics`);
        const lines = (await answer.text()).split('\n');
        const counts = lines.filter((line) => COUNTERS.some((name) => line.startsWith(name))).join();
        const isWaiting = lines.some((line) => line.startsWith('weir_queue_depth{') && !line.endsWith(' 0'));
        if (counts !== last || isWaiting) [last, sinceMs] = [counts, nowMs()];
        return nowMs() - sinceMs > SILENT_MS || undefined;
      },
      { deadlineMs: SYNC_DEADLINE_MS, everyMs: 500 },
    );
  }

  /** @returns the share of one core. */
  async #cpuAtRest(pid: number): Promise<number> {
    const [cpuMs, beginMs] = [await cpuMsOf(pid), nowMs()];
    await pause(this.#restMs);
    return ((await cpuMsOf(pid)) - cpuMs) / (nowMs() - beginMs);
  }

  /**
   * At a fixed rate; what is written after the last ACK of an edit belongs to it, so the CPU is read when all is
   * silent again.
   */
  async #edits(
    objects: number,
    pid: number,
  ): Promise<Pick<ScaleFigures, 'cpuAtRestPercent' | 'fromSending' | 'fromAnswer' | 'cpuPerEditMs'>> {
    const draw = drawer(objects * this.#options.namespaces);
    await this.#editFor(this.#options.seconds * 1_000 * WARM_UP_SHARE, draw);
    await this.#silence();
    const before = await this.#cpuAtRest(pid);
    const [cpuMs, beginMs] = [await cpuMsOf(pid), nowMs()];
    const edits = await this.#editFor(this.#options.seconds * 1_000, draw);
    await this.#silence();
    const [usedMs, tookMs] = [(await cpuMsOf(pid)) - cpuMs, nowMs() - beginMs];
    const after = await this.#cpuAtRest(pid);
    const perEditMs = (usedMs - ((before + after) / 2) * tookMs) / edits.length;
    return {
      cpuAtRestPercent: [Math.round(before * 1_000) / 10, Math.round(after * 1_000) / 10],
      fromSending: timesOf(edits.map(({ sent, acked }) => acked - sent)),
      fromAnswer: timesOf(edits.map(({ answered, acked }) => acked - answered)),
      cpuPerEditMs: Math.round(perEditMs * 10) / 10,
    };
  }

  async #editFor(forMs: number, draw: () => number): Promise<{ sent: number; answered: number; acked: number }[]> {
    const edits: { sent: number; answered: number; acked: number }[] = [];
    const beginMs = nowMs();
    while (nowMs() - beginMs < forMs) {
      edits.push(await this.#edit(draw()));
      await pause(Math.max(0, beginMs + edits.length * EDIT_EVERY_MS - nowMs()));
    }
    return edits;
  }

  async #edit(index: number): Promise<{ sent: number; answered: number; acked: number }> {
    const { namespaces, limiters } = this.#options;
    const [namespace, object] = [index % namespaces, Math.floor(index / namespaces)];
    const wanted = `ModelRoute/${namespaceOf(namespace)}/route-${object}`;
    const times: number[] = [];
    for (const fleet of this.#fleets) {
      fleet.onAck = (name, atMs) => {
        if (name === wanted) times.push(atMs);
      };
    }
    this.#mark += 1;
    const sent = nowMs();
    await this.#apply(namespace, object, this.#mark);
    const answered = nowMs();
    await waitFor('the last ACK', () => times.length >= limiters + 1 || undefined, {
      deadlineMs: EDIT_DEADLINE_MS,
      everyMs: 2,
    });
    return { sent, answered, acked: Math.max(...times) };
  }

  #sum(what: 'held' | 'connected'): number {
    return this.#fleets.reduce((sum, fleet) => sum + fleet[what], 0);
  }

  #apply(namespace: number, object: number, maxTokens: number): Promise<StoredObject> {
    return this.#kube.apply(kindOf('ModelRoute'), namespaceOf(namespace), routeOf(namespace, object, maxTokens));
  }

  async #each(count: number, work: (index: number) => Promise<void>): Promise<void> {
    let next = 0;
    const worker = async (): Promise<void> => {
      for (let index = next++; index < count; index = next++) await work(index);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  }
}

async function restAndPeakOf(pid: number): Promise<{ readonly atRest: number; readonly peak: number }> {
  const { rssMiB: atRest, peakMiB: peak } = await memoryOf(pid);
  return { atRest, peak };
}

/** On the clock that all processes of a machine share. */
function nowMs(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}

/** Runs the benchmark once, on parts of its own that all end with it. */
export async function benchScale(options: ScaleBenchOptions): Promise<ScaleBenchResult> {
  const programs = await findPrograms(log);
  const folder = await mkdtemp(join(tmpdir(), 'weir-bench-'));
  const stack = await Stack.create(join(folder, 'stack'), { guarded: true });
  let plane: ControlPlane | undefined;
  let bench: ScaleBench | undefined;
  try {
    plane = await up({ folder: join(folder, 'cluster'), programs });
    const { kubeconfig } = plane;
    const kubectl: Kubectl = (args, more) => mustKubectl(args, { kubeconfig, program: programs.kubectl, ...more });
    bench = new ScaleBench(options, plane, new WeirStack(stack, await WeirStack.choosePorts(), { plane, kubectl }));
    return await bench.run(kubectl);
  } finally {
    await bench?.end();
    await stack.end();
    await plane?.down();
    await rm(folder, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const text = (value: string) => ({ type: 'string', default: value }) as const;
  const { values } = parseArgs({
    options: { namespaces: text('100'), objects: text('100'), limiters: text('10'), seconds: text('30') },
  });
  const { namespaces, objects, limiters, seconds } = values;
  const sizes = { namespaces: Number(namespaces), objects: Number(objects), limiters: Number(limiters) };
  try {
    process.stdout.write(`${JSON.stringify(await benchScale({ ...sizes, seconds: Number(seconds) }), null, 2)}\n`);
  } catch (error) {
    if (!(error instanceof CannotStart)) throw error;
    log(error.message);
    process.exitCode = 1;
  }
}
