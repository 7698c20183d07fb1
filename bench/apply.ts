// Benchmark of an apply: from an edit of one object at the API server to every limiter having it in force and the
// operator having every ACK. In: objects, limiters, seconds; out: JSON. All parts are real processes on loopback:
// etcd, kube-apiserver, Redis, the built operator, and one process per limiter (bench/apply-limiter.ts).
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { Kube } from '../src/controller/kube/kube-api.ts';
import { connectKube } from '../src/controller/kube/kube.ts';
import { type StoredObject } from '../src/controller/kube/kube-types.ts';
import { up, type ControlPlane } from '../tools/node-cluster/control-plane.ts';
import { mustKubectl } from '../tools/node-cluster/kubectl.ts';
import { waitFor } from '../tools/node-cluster/wait.ts';
import { CannotStart, findPrograms } from '../test/rig/dev/dev-stack.ts';
import { prepareCluster, writeLimiterToken, type Kubectl } from '../test/rig/stack/cluster-access.ts';
import { Stack } from '../test/rig/stack/stack.ts';
import { WeirStack } from '../test/rig/stack/weir-stack.ts';
import type { ApplyLimiterOptions, InForceMessage } from './apply-limiter.ts';
import { drawer, SEED, timesOf, type Times } from './figures.ts';
import { kindOf } from '../src/crd/kinds/kinds.ts';

export interface ApplyBenchOptions {
  readonly objects: number;
  readonly limiters: number;
  readonly seconds: number;
}

export interface ApplyBenchResult extends ApplyBenchOptions {
  readonly seed: number;
  readonly limiterProcesses: number;
  /** From the operator's start to its being ready with all objects, and from the limiters' start to all having all. */
  readonly operatorReadyMs: number;
  readonly firstSyncMs: number;
  /** The edit's own request: sent to answered. */
  readonly request: Times;
  /** From the API server's answer. In force: the limiter decides by the new config, its ACK leaves at that moment. */
  readonly fromAnswer: {
    readonly firstLimiterInForce: Times;
    readonly lastLimiterInForce: Times;
    /** The operator's own count of ACKs, asked for again and again: an upper bound. */
    readonly lastAckAtOperator: Times;
    /** The object's status at the API server names all limiters as synced; asked for again and again. */
    readonly statusSaysAll: Times;
  };
  /** From the moment the edit was sent. */
  readonly fromSending: { readonly lastLimiterInForce: Times; readonly lastAckAtOperator: Times };
}

/**
 * Between two edits, so that what the last one set off (files, statuses) is over: one edit is measured, not a stream
 * of them.
 */
const REST_MS = 400;
const AT_ONCE = 16;
const NAMESPACE = 'bench';
const EDIT_DEADLINE_MS = 30_000;
const SYNC_DEADLINE_MS = 180_000;

const log = (line: string): void => void process.stderr.write(`${line}\n`);

/** A limiter and what it has in force. */
class LimiterProcess {
  /** Object -> the amount in force and since when, ms on the shared clock. */
  readonly inForce = new Map<string, { readonly mark: number; readonly atMs: number }>();
  readonly #child: ChildProcess;

  constructor(options: ApplyLimiterOptions) {
    this.#child = fork(new URL('apply-limiter.ts', import.meta.url), [JSON.stringify(options)]);
    this.#child.on('message', ({ name, mark, atNs }: InForceMessage) => {
      this.inForce.set(name, { mark, atMs: Number(BigInt(atNs) / 1000n) / 1000 });
    });
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    this.#child.kill();
    await once(this.#child, 'exit');
  }
}

/** The parts of one run, and the edits on them. */
class ApplyBench {
  readonly #options: ApplyBenchOptions;
  readonly #kube: Kube;
  readonly #weir: WeirStack;
  readonly #limiters: LimiterProcess[] = [];
  #mark = 1;

  constructor(options: ApplyBenchOptions, plane: ControlPlane, weir: WeirStack) {
    this.#options = options;
    this.#kube = connectKube({ kubeconfig: plane.kubeconfig });
    this.#weir = weir;
  }

  async end(): Promise<void> {
    await Promise.all(this.#limiters.map((limiter) => limiter.end()));
    await this.#kube.close();
  }

  async run(kubectl: Kubectl): Promise<ApplyBenchResult> {
    const { objects, limiters, seconds } = this.#options;
    await Promise.all([prepareCluster(kubectl), this.#weir.startRedis()]);
    await kubectl(['create', 'namespace', NAMESPACE]);
    log(`applying ${objects} ModelRoutes`);
    await this.#applyAll();
    log(`starting the operator and ${limiters} limiters`);
    const started = nowMs();
    await this.#weir.startOperator();
    const operatorReadyMs = Math.round(nowMs() - started);
    const firstSyncMs = Math.round(await this.#startLimiters(kubectl));
    await this.#settled();
    log(`editing one object after the other for ${seconds} s`);
    return {
      ...this.#options,
      seed: SEED,
      limiterProcesses: limiters,
      operatorReadyMs,
      firstSyncMs,
      ...(await this.#edits()),
    };
  }

  async #applyAll(): Promise<void> {
    const queue = Array.from({ length: this.#options.objects }, (_, index) => index);
    const work = async (): Promise<void> => {
      for (let index = queue.pop(); index !== undefined; index = queue.pop()) await this.#apply(index);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
  }

  /** @returns ms from the first process to the last object in force at the last limiter. */
  async #startLimiters(kubectl: Kubectl): Promise<number> {
    const { folder } = this.#weir.stack;
    const tokenFile = join(folder, 'limiter.token');
    await writeLimiterToken(kubectl, tokenFile);
    const begin = nowMs();
    for (let index = 0; index < this.#options.limiters; index++) {
      const operator = `127.0.0.1:${this.#weir.ports.push}`;
      const caFile = join(folder, 'operator-data', 'ca.crt');
      this.#limiters.push(new LimiterProcess({ id: `limiter${index}`, operator, caFile, tokenFile, folder }));
    }
    const isWhole = ({ inForce }: LimiterProcess): boolean =>
      [...inForce.keys()].filter((name) => name.startsWith('ModelRoute/')).length === this.#options.objects;
    await waitFor('every limiter with every object', () => this.#limiters.every(isWhole) || undefined, {
      deadlineMs: SYNC_DEADLINE_MS,
      everyMs: 20,
    });
    return nowMs() - begin;
  }

  /** Resolves when nothing was reconciled or written for two seconds. */
  async #settled(): Promise<void> {
    let last = '';
    let sinceMs = nowMs();
    await waitFor(
      'silence of the operator',
      async () => {
        const counts = [
          await this.#count('weir_reconciles_total'),
          await this.#count('weir_status_writes_total'),
        ].join();
        if (counts !== last) [last, sinceMs] = [counts, nowMs()];
        return nowMs() - sinceMs > 2_000 || undefined;
      },
      { deadlineMs: SYNC_DEADLINE_MS, everyMs: 200 },
    );
  }

  async #edits(): Promise<Pick<ApplyBenchResult, 'request' | 'fromAnswer' | 'fromSending'>> {
    const draw = drawer(this.#options.objects);
    const edits: Awaited<ReturnType<ApplyBench['edit']>>[] = [];
    const end = nowMs() + this.#options.seconds * 1_000;
    while (nowMs() < end) {
      edits.push(await this.edit(draw()));
      await pause(REST_MS);
    }
    type Moment = keyof (typeof edits)[number];
    const times = (from: Moment, to: Moment): Times => timesOf(edits.map((edit) => edit[to] - edit[from]));
    return {
      request: times('sent', 'answered'),
      fromAnswer: {
        firstLimiterInForce: times('answered', 'firstInForce'),
        lastLimiterInForce: times('answered', 'lastInForce'),
        lastAckAtOperator: times('answered', 'acked'),
        statusSaysAll: times('answered', 'status'),
      },
      fromSending: { lastLimiterInForce: times('sent', 'lastInForce'), lastAckAtOperator: times('sent', 'acked') },
    };
  }

  /** One edit. @returns its moments, ms on the shared clock. */
  async edit(
    index: number,
  ): Promise<Record<'sent' | 'answered' | 'firstInForce' | 'lastInForce' | 'acked' | 'status', number>> {
    this.#mark++;
    const wait = { deadlineMs: EDIT_DEADLINE_MS, everyMs: 1 };
    const acksBefore = await this.#count('weir_push_latency_seconds_count');
    const sent = nowMs();
    const object = await this.#apply(index);
    const answered = nowMs();
    const name = `ModelRoute/${NAMESPACE}/${nameOf(index)}`;
    const inForce = await waitFor(
      'every limiter with the edit',
      () => {
        const at = this.#limiters.map((limiter) => limiter.inForce.get(name));
        return at.every((one) => one?.mark === this.#mark) ? at.map((one) => one?.atMs ?? NaN) : undefined;
      },
      wait,
    );
    const acks = acksBefore + this.#limiters.length;
    await waitFor(
      'every ACK',
      async () => (await this.#count('weir_push_latency_seconds_count')) >= acks || undefined,
      wait,
    );
    const acked = nowMs();
    await waitFor('the status', () => this.#statusSaysAll(index, object.metadata.generation ?? 0), wait);
    return {
      sent,
      answered,
      firstInForce: Math.min(...inForce),
      lastInForce: Math.max(...inForce),
      acked,
      status: nowMs(),
    };
  }

  async #statusSaysAll(index: number, generation: number): Promise<true | undefined> {
    const { status } = await this.#kube.get<StoredObject>(kindOf('ModelRoute'), NAMESPACE, nameOf(index));
    const seen = status as { observedGeneration?: number; limiters?: { synced: number } } | undefined;
    return (seen?.observedGeneration === generation && seen.limiters?.synced === this.#limiters.length) || undefined;
  }

  async #apply(index: number): Promise<StoredObject> {
    return await this.#kube.apply(kindOf('ModelRoute'), NAMESPACE, manifest(index, this.#mark));
  }

  /** The sum of a metric of the operator. */
  async #count(metric: string): Promise<number> {
    const answer = await fetch(`${this.#weir.operatorAdminUrl}/metrics`);
    const lines = (await answer.text()).split('\n').filter((line) => line.startsWith(metric));
    return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
  }
}

function nameOf(index: number): string {
  return `route-${index}`;
}

function manifest(index: number, maxTokens: number): StoredObject {
  const name = nameOf(index);
  return {
    apiVersion: 'weir.dev/v1alpha1',
    kind: 'ModelRoute',
    metadata: { name, namespace: NAMESPACE },
    spec: {
      modelName: `model-${index}`,
      targets: [{ url: 'http://127.0.0.1:9' }],
      rateLimiting: {
        limits: [
          {
            name: 'requests',
            measure: 'Requests',
            bucket: { maxTokens, refillPeriod: '1h' },
            per: [{ header: 'x-team' }],
          },
        ],
      },
    },
  };
}

/** On the clock that all processes of a machine share. */
function nowMs(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}

/** Runs the benchmark once, on parts of its own that all end with it. */
export async function benchApply(options: ApplyBenchOptions): Promise<ApplyBenchResult> {
  const programs = await findPrograms(log);
  const folder = await mkdtemp(join(tmpdir(), 'weir-bench-'));
  const stack = await Stack.create(join(folder, 'stack'), { guarded: true });
  let plane: ControlPlane | undefined;
  let bench: ApplyBench | undefined;
  try {
    plane = await up({ folder: join(folder, 'cluster'), programs });
    const { kubeconfig } = plane;
    const kubectl: Kubectl = (args, more) => mustKubectl(args, { kubeconfig, program: programs.kubectl, ...more });
    bench = new ApplyBench(options, plane, new WeirStack(stack, await WeirStack.choosePorts(), { plane, kubectl }));
    return await bench.run(kubectl);
  } finally {
    await bench?.end();
    await stack.end();
    await plane?.down();
    await rm(folder, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      objects: { type: 'string', default: '1000' },
      limiters: { type: 'string', default: '10' },
      seconds: { type: 'string', default: '10' },
    },
  });
  const { objects, limiters, seconds } = values;
  try {
    const options = { objects: Number(objects), limiters: Number(limiters), seconds: Number(seconds) };
    process.stdout.write(`${JSON.stringify(await benchApply(options), null, 2)}\n`);
  } catch (error) {
    if (!(error instanceof CannotStart)) throw error;
    log(error.message);
    process.exitCode = 1;
  }
}
