// End to end: tests on the built product. In: a title and tests; out: the tests run on a control plane, a Redis, an
// operator and limiters of their own, or are skipped by name.
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, jest } from '@jest/globals';
import { Redis } from 'ioredis';
import { describeOnControlPlane, type OwnTestCluster } from '../../tools/node-cluster/describe-cluster.ts';
import type { KubectlResult } from '../../tools/node-cluster/kubectl.ts';
import type { Server } from '../../tools/node-cluster/member-server.ts';
import { loopback } from '../../tools/node-cluster/servers.ts';
import { waitFor } from '../../tools/node-cluster/wait.ts';
import { leaveOut } from '../../tools/node-cluster/leave-out.ts';
import { redisMissing } from '../rig/redis/redis-server.ts';
import { prepareCluster } from '../rig/stack/cluster-access.ts';
import type { ObjectRef } from '../../src/contract/limiter-config.ts';
import { Stack } from '../rig/stack/stack.ts';
import { WeirStack, type Limiter, type LimiterOptions } from '../rig/stack/weir-stack.ts';
import { modelRoute, refOf, type Manifest } from './manifests.ts';
import { call, chat, flood, tally, type Answer } from './traffic.ts';

// The product's own waits (an outage, a lost limiter) are up to 30 s.
jest.setTimeout(120_000);
const STATUS_DEADLINE_MS = 20_000;

/**
 * Counts are exact as long as the store answers in time. A machine that runs all of this and more may stand still for
 * longer than the usual 50 ms; the tests of outages set the usual deadline themselves.
 */
export const PATIENT = ['--store-deadline', '2s'];

export interface EndToEndOptions {
  /** Shared limiters that run from the start: `limiter1`, `limiter2` …; default 2. */
  readonly limiters?: number;
  /** Beside those of {@link PATIENT}; later ones win. */
  readonly limiterFlags?: readonly string[];
  readonly operatorFlags?: readonly string[];
  /** false: no operator is started. */
  readonly operator?: boolean;
  /** The executable `weir` of another release that the operator is started from. */
  readonly operatorProgram?: () => string;
  /** false: the operator has no default Redis. */
  readonly defaultRedis?: boolean;
  /** true: what was counted outlives a restart of Redis. */
  readonly persistentRedis?: boolean;
  /** true: the API server writes an audit log. */
  readonly audit?: boolean;
}

/** A condition as the API has it. */
export interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration?: number;
}

/** An object of Weir as the API has it, as far as tests look at it. */
export interface WeirObject {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly creationTimestamp: string;
    readonly generation: number;
  };
  readonly spec: Readonly<Record<string, unknown>>;
  readonly status?: {
    readonly observedGeneration?: number;
    readonly configVersion?: string;
    readonly limitCount?: number;
    readonly toolCount?: number;
    readonly limiters?: {
      readonly desired: number;
      readonly synced: number;
      readonly rejected: number;
      readonly summary: string;
    };
    readonly conditions?: readonly Condition[];
  };
}

/** How calls are sent to an object. */
export interface SendOptions {
  /** Default {@link MODEL}. */
  readonly model?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly inFlight?: number;
}

/** The model of {@link EndToEnd.route}. */
export const MODEL = 'llama';

/** What a condition must be: its status, and where given its reason and what `status.limiters` says. */
export interface Expected {
  readonly status: Condition['status'];
  readonly reason?: string;
  /** `status.limiters.summary`, such as `2/2`. */
  readonly summary?: string;
}

/** Runs the tests on parts of their own, that all end with the file; a missing part skips them (or fails, in CI). */
export function describeEndToEnd(title: string, options: EndToEndOptions, body: (e2e: () => EndToEnd) => void): void {
  const notStarted = (): never => {
    throw new Error('the parts are there only while tests run');
  };
  const missing = redisMissing();
  if (missing !== undefined) {
    leaveOut(title, missing, () => {
      body(notStarted);
    });
    return;
  }
  describeOnControlPlane(title, { audit: options.audit ?? false }, (cluster) => {
    let parts: EndToEnd | undefined;
    beforeAll(async () => {
      parts = await EndToEnd.start(cluster(), options);
    }, 120_000);
    afterAll(async () => {
      await parts?.end();
    }, 60_000);
    body(() => parts ?? notStarted());
  });
}

/** Everything that a test file has to itself: the parts, and what tests do with them. */
export class EndToEnd {
  readonly cluster: OwnTestCluster;
  readonly weir: WeirStack;
  /** The limiters that were started, in that order. */
  readonly limiters: Limiter[] = [];
  readonly #redis: Redis;

  private constructor(cluster: OwnTestCluster, weir: WeirStack) {
    this.cluster = cluster;
    this.weir = weir;
    this.#redis = new Redis(weir.ports.redis, loopback, { lazyConnect: true });
    this.#redis.on('error', () => undefined); // tests stop Redis; a command of theirs then fails by itself
  }

  static async start(cluster: OwnTestCluster, options: EndToEndOptions): Promise<EndToEnd> {
    const stack = await Stack.create(await mkdtemp(join(tmpdir(), 'weir-e2e-')), { guarded: true });
    const ports = await WeirStack.choosePorts();
    const weir = new WeirStack(stack, ports, { plane: cluster.plane, kubectl: cluster.mustKubectl });
    const parts = new EndToEnd(cluster, weir);
    try {
      await parts.#startAll(options);
    } catch (error) {
      await parts.end();
      throw error;
    }
    return parts;
  }

  async #startAll(options: EndToEndOptions): Promise<void> {
    const { limiters = 2, limiterFlags = [], operatorFlags = [], defaultRedis = true, operatorProgram } = options;
    await Promise.all([
      prepareCluster(this.cluster.mustKubectl),
      this.weir.startRedis({ persistent: options.persistentRedis ?? false }),
      this.weir.startUpstream(),
    ]);
    const program = operatorProgram === undefined ? {} : { program: operatorProgram() };
    if (options.operator !== false) await this.weir.startOperator({ defaultRedis, flags: operatorFlags, ...program });
    for (let number = 1; number <= limiters; number++) {
      await this.startLimiter({ id: `limiter${number}`, flags: [...PATIENT, ...limiterFlags] });
    }
  }

  async end(): Promise<void> {
    this.#redis.disconnect();
    await this.weir.stack.end();
    await rm(this.weir.stack.folder, { recursive: true, force: true });
  }

  get operator(): Server {
    return this.weir.stack.server('operator');
  }

  get redis(): Server {
    return this.weir.stack.server('redis');
  }

  /** `host:port`, for `rateLimiting.redis.address`. */
  get redisAddress(): string {
    return `${loopback}:${this.weir.ports.redis}`;
  }

  /** The counting upstream, for `targets[].url`. */
  get upstreamUrl(): string {
    return this.weir.upstreamUrl;
  }

  async startLimiter(options: LimiterOptions): Promise<Limiter> {
    const limiter = await this.weir.startLimiter(options);
    const place = this.limiters.findIndex(({ id }) => id === limiter.id);
    if (place < 0) this.limiters.push(limiter);
    else this.limiters[place] = limiter;
    return limiter;
  }

  /** The base URL of an object at a limiter, by the limiter's place. */
  base(limiter: number, namespace: string, name: string): string {
    const { url } = this.limiters[limiter] ?? {};
    if (url === undefined) throw new Error(`no limiter at place ${limiter}`);
    return `${url}/${namespace}/${name}`;
  }

  async makeNamespace(name: string): Promise<void> {
    await this.cluster.mustKubectl(['create', 'namespace', name]);
  }

  /** A ModelRoute of {@link MODEL} to the counting upstream. */
  route(place: string, rateLimiting: object, more: Manifest['spec'] = {}): Manifest {
    return modelRoute(place, { modelName: MODEL, targets: [{ url: this.upstreamUrl }], rateLimiting, ...more });
  }

  /** Sends chat completions to `namespace/name` by turns over the limiters that run; their answers. */
  async ask(
    place: string,
    calls: number,
    { model = MODEL, headers, inFlight = 8 }: SendOptions = {},
  ): Promise<Answer[]> {
    const bases = this.limiters.filter(({ server }) => server.pid() !== undefined).map(({ url }) => `${url}/${place}`);
    return await flood(calls, inFlight, (index) => chat(bases[index % bases.length] ?? '', model, headers));
  }

  /** As {@link ask}; how many answers have each status. */
  async send(place: string, calls: number, options?: SendOptions): Promise<Record<number, number>> {
    return tally(await this.ask(place, calls, options));
  }

  /** Applies YAML, or objects as JSON; throws with what the API server said when it refuses. */
  async apply(...manifests: readonly (string | object)[]): Promise<void> {
    const { code, stderr } = await this.tryApply(...manifests);
    if (code !== 0) throw new Error(`kubectl apply ended with ${code}: ${stderr.trim()}`);
  }

  /** Applies, and answers kubectl's result whatever it is. */
  async tryApply(...manifests: readonly (string | object)[]): Promise<KubectlResult> {
    const texts = manifests.map((manifest) => (typeof manifest === 'string' ? manifest : JSON.stringify(manifest)));
    // A stream that begins like JSON is read as JSON alone.
    return await this.cluster.kubectl(['apply', '-f', '-'], { input: texts.map((text) => `---\n${text}\n`).join('') });
  }

  async remove(ref: ObjectRef): Promise<void> {
    await this.cluster.mustKubectl(['delete', ...resourceArgs(ref)]);
  }

  /** Throws when there is none. */
  async get(ref: ObjectRef): Promise<WeirObject> {
    return JSON.parse(await this.cluster.mustKubectl(['get', ...resourceArgs(ref), '-o', 'json'])) as WeirObject;
  }

  /** Waits until the condition is as expected and speaks of the object's present generation; answers the object. */
  async untilCondition(
    ref: ObjectRef,
    type: string,
    expected: Expected,
    deadlineMs = STATUS_DEADLINE_MS,
  ): Promise<WeirObject> {
    return await waitFor(
      `${ref.kind} ${ref.namespace}/${ref.name}: ${type} ${JSON.stringify(expected)}`,
      async () => {
        const object = await this.get(ref);
        if (isAsExpected(object, type, expected)) return object;
        throw new Error(`its status is ${JSON.stringify(object.status)} at generation ${object.metadata.generation}`);
      },
      { deadlineMs, everyMs: 100 },
    );
  }

  /** Waits until the object is Ready, with each of the limiters that run. */
  async untilReady(ref: ObjectRef, deadlineMs = STATUS_DEADLINE_MS): Promise<WeirObject> {
    const running = this.limiters.filter(({ server }) => server.pid() !== undefined).length;
    return await this.untilCondition(ref, 'Ready', { status: 'True', summary: `${running}/${running}` }, deadlineMs);
  }

  /** Applies one object and waits until every limiter that runs enforces it. */
  async enforce(manifest: Manifest): Promise<WeirObject> {
    await this.apply(manifest);
    return await this.untilReady(refOf(manifest));
  }

  /** Requests that the upstream has seen, of all objects. */
  async upstreamCount(): Promise<number> {
    return Number((await call(`${this.upstreamUrl}/count`)).body);
  }

  /** The keys in Redis of one namespace, sorted. */
  async keys(namespace: string): Promise<string[]> {
    return (await this.#redis.keys(`weir:{${namespace}}:*`)).sort();
  }

  /** One command to Redis. */
  async redisCall(command: string, ...args: readonly string[]): Promise<unknown> {
    return await this.#redis.call(command, ...args);
  }

  /** The commands that Redis ran meanwhile, each as its words in lower case. */
  async redisCommandsDuring(work: () => Promise<void>): Promise<string[][]> {
    const monitor = await this.#redis.monitor();
    try {
      const seen: string[][] = [];
      monitor.on('monitor', (_time: string, words: string[]) => seen.push(words.map((word) => word.toLowerCase())));
      await work();
      const end = randomUUID();
      await this.#redis.echo(end);
      await waitFor('the last command', () => seen.some((words) => words.includes(end)) || undefined, {
        deadlineMs: 8000,
      });
      return seen;
    } finally {
      monitor.disconnect();
    }
  }
}

/** A condition of an object as it was read. */
export function conditionOf({ status }: WeirObject, type: string): Condition | undefined {
  return status?.conditions?.find((condition) => condition.type === type);
}

function resourceArgs({ kind, namespace, name }: ObjectRef): string[] {
  const plural = kind === 'ModelRoute' ? 'modelroutes' : 'mcpservers';
  return [`${plural}.weir.dev`, name, '--namespace', namespace];
}

/** Whether a condition is as expected and speaks of the object's present generation. */
export function isAsExpected(object: WeirObject, type: string, expected: Expected): boolean {
  const { metadata, status } = object;
  const condition = conditionOf(object, type);
  const seen: Readonly<Record<string, unknown>> = { ...condition, summary: status?.limiters?.summary };
  const wanted = { ...expected, observedGeneration: metadata.generation };
  return Object.entries(wanted).every(([name, value]) => seen[name] === value);
}
