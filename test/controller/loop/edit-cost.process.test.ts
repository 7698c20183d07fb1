// What one edit costs the operator, counted: with the same limiters it is the same work among a hundred objects and
// among a thousand. In: the operator's loop, snapshot store, ack table and sessions, without the wire; out: how often
// each function of src/ was called and each of its loops went round, as V8 counts it. No clock is looked at.
import { Session } from 'node:inspector/promises';
import { setFlagsFromString } from 'node:v8';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { AckTable } from '../../../src/controller/push/ack-table.ts';
import { MemoryLastGood } from '../../../src/controller/provider/memory-last-good.ts';
import { ALWAYS_LEADER } from '../../../src/controller/election/leadership.ts';
import { ObjectFeed } from '../../../src/controller/kube/object-feed.ts';
import { Operator } from '../../../src/controller/loop/reconcile-loop.ts';
import { OperatorMetrics } from '../../../src/controller/operator-metrics.ts';
import type { EndpointSlice, KubeObject, Pod, Service, StoredObject } from '../../../src/controller/kube/kube-types.ts';
import type { Provider } from '../../../src/controller/provider/provider.ts';
import { PushSession } from '../../../src/controller/push/push-session.ts';
import { NO_SECRETS } from '../../../src/controller/credentials/secret-watcher.ts';
import { SnapshotStore } from '../../../src/controller/push/snapshot-store.ts';
import { StreamIndex, type IndexedStream } from '../../../src/controller/push/stream-index.ts';
import type { LimiterView } from '../../../src/controller/push/visibility.ts';
import { LIMITER_CONFIG_TYPE_URL } from '../../../src/contract/push-protocol.ts';
import { silentLogger } from '../../../src/lib/log.ts';

const log = silentLogger();
const FEW = 100;
const MANY = 1_000;
/**
 * V8 may count a function too seldom that was being optimised before; one look at each further object would be twice
 * as much.
 */
const NOISE = (MANY - FEW) / 2;
/** Longer than the operator waits before it looks at an edit. */
const SETTLED_MS = 10_000;

interface Stream extends IndexedStream {
  readonly session: PushSession;
}

/** How the objects lie: the one that is edited is always `ns-0/route-0`. */
type Placement = (index: number) => { readonly namespace: string; readonly name: string };

/** Two sidecars of `ns-0` and a shared limiter, which acknowledge at once. */
class Rig {
  readonly sent = { responses: 0, resources: 0, bytes: 0 };
  writes = 0;
  readonly #routes = new ObjectFeed<StoredObject>({ name: 'modelroutes', log });
  readonly #pods = new ObjectFeed<Pod>({ name: 'pods', log });
  readonly #store = new SnapshotStore();
  readonly #acks = new AckTable((view) => this.#store.namesSeenBy(view));
  readonly #streams = new StreamIndex<Stream>();
  readonly #operator: Operator;
  #version = 1;

  constructor() {
    const none = <T extends KubeObject>(name: string): ObjectFeed<T> => new ObjectFeed<T>({ name, log });
    const provider: Provider = {
      objects: { ModelRoute: this.#routes, MCPServer: none<StoredObject>('mcpservers') },
      services: none<Service>('services'),
      pods: this.#pods,
      namespaces: none('namespaces'),
      creationEvents: none('events'),
      endpointSlices: none<EndpointSlice>('endpointslices'),
      secrets: NO_SECRETS,
      lastGood: new MemoryLastGood(),
      statusSink: {
        write: (object, status) => {
          this.writes += 1;
          this.#version += 1;
          const metadata = { ...object.metadata, resourceVersion: String(this.#version) };
          this.#routes.replaceSilently({ ...object, metadata, status });
          return Promise.resolve('written');
        },
        tell: () => undefined,
      },
      authenticate: () => Promise.reject(new Error('nobody comes over the wire')),
      start: () => undefined,
      whenReady: () => Promise.resolve(),
      isReady: () => true,
      waitsFor: () => [],
      stats: () => ({}),
      depths: () => ({}),
      stop: () => Promise.resolve(),
    };
    this.#operator = new Operator({
      provider,
      secrets: NO_SECRETS,
      store: this.#store,
      acks: this.#acks,
      leadership: ALWAYS_LEADER,
      metrics: new OperatorMetrics(),
      reconcileSettings: {},
      log,
    });
    this.#store.subscribe((names) => {
      for (const [stream, seen] of this.#streams.concernedBy(names)) stream.session.offer(seen);
    });
  }

  async start(objects: number, place: Placement): Promise<void> {
    for (const index of [0, 1]) {
      const metadata = { namespace: 'ns-0', name: `pod-${index}`, uid: `pod-${index}`, labels: { app: 'model' } };
      this.#pods.set(`ns-0/pod-${index}`, { metadata: { ...metadata, resourceVersion: '1' } });
    }
    for (let index = 0; index < objects; index += 1) this.put(place(index), 1, 1);
    const started = this.#operator.start();
    await jest.advanceTimersByTimeAsync(SETTLED_MS);
    await started;
    for (const index of [0, 1]) {
      const pod = { namespace: 'ns-0', name: `pod-${index}`, uid: `pod-${index}`, labels: { app: 'model' } };
      this.#connect(`pod/${index}`, { kind: 'pod', pod });
    }
    this.#connect('shared', { kind: 'shared', namespaces: 'all' });
    // The answers of many limiters are looked at a few hundred objects a second, and what is not programmed for a
    // minute is told.
    await jest.advanceTimersByTimeAsync(10 * SETTLED_MS);
  }

  put({ namespace, name }: ReturnType<Placement>, generation: number, maxTokens: number): void {
    this.#version += 1;
    this.#routes.set(`${namespace}/${name}`, {
      apiVersion: 'weir.dev/v1alpha1',
      kind: 'ModelRoute',
      metadata: {
        namespace,
        name,
        uid: `${namespace}/${name}`,
        generation,
        resourceVersion: String(this.#version),
        creationTimestamp: '2026-01-01T00:00:00Z',
      },
      spec: {
        modelName: name,
        workloadSelector: { matchLabels: { app: 'model' } },
        rateLimiting: {
          scope: 'Local',
          limits: [{ name: 'minute', measure: 'Requests', bucket: { maxTokens, refillPeriod: '1m' } }],
        },
      },
      // As an object that is edited has: a new generation comes with the status of the one before.
      ...given(this.#routes.get(`${namespace}/${name}`)?.status),
    });
  }

  summaryOf({ namespace, name }: ReturnType<Placement>): string | undefined {
    const status = this.#routes.get(`${namespace}/${name}`)?.status as
      { limiters?: { summary?: string }; observedGeneration?: number } | undefined;
    return `${status?.limiters?.summary ?? 'none'} of generation ${status?.observedGeneration ?? 'none'}`;
  }

  async end(): Promise<void> {
    await this.#operator.stop();
  }

  #connect(limiterId: string, view: LimiterView): void {
    const session = new PushSession(view, new Map(), {
      store: this.#store,
      acks: this.#acks.connect(limiterId, view, new Map()),
      maxResponseBytes: 2 ** 15,
      send: ({ nonce, resources }) => {
        this.sent.responses += 1;
        this.sent.resources += resources.length;
        this.sent.bytes += resources.reduce((sum, { resource }) => sum + (resource?.value.length ?? 0), 0);
        setImmediate(() => {
          session.answer({ type_url: LIMITER_CONFIG_TYPE_URL, response_nonce: nonce });
        });
      },
    });
    this.#streams.add({ limiterId, view, session });
    session.start();
  }
}

/** How often each part of src/ ran while `work` did: by file, function and place, the innermost blocks included. */
async function countsOf(work: () => Promise<void>): Promise<Map<string, number>> {
  const session = new Session();
  session.connect();
  // Of functions that are optimised into their callers V8 counts no calls.
  setFlagsFromString('--no-opt');
  setFlagsFromString('--no-maglev');
  try {
    await session.post('Profiler.enable');
    await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
    await work();
    const { result } = await session.post('Profiler.takePreciseCoverage');
    const counts = new Map<string, number>();
    for (const { url, functions } of result.filter(({ url }) => /\/src\//.test(url) && !url.includes('node_modules'))) {
      for (const { functionName, ranges } of functions) {
        for (const { startOffset, count } of ranges) {
          const key = `${url.slice(url.indexOf('/src/'))} ${functionName} ${startOffset}`;
          if (count > 0) counts.set(key, (counts.get(key) ?? 0) + count);
        }
      }
    }
    return counts;
  } finally {
    await session.post('Profiler.stopPreciseCoverage');
    session.disconnect();
    setFlagsFromString('--opt');
    setFlagsFromString('--maglev');
  }
}

/** The parts that ran more often, by more than V8's noise. */
function grown(few: ReadonlyMap<string, number>, many: ReadonlyMap<string, number>): string[] {
  return [...many].flatMap(([key, count]) => {
    const before = few.get(key) ?? 0;
    return count - before > NOISE ? [`${key}: ${before} -> ${count}`] : [];
  });
}

interface Cost {
  readonly counts: Map<string, number>;
  readonly sent: Rig['sent'];
  readonly writes: number;
}

/** The cost of the third edit of one object, until nothing is left to do. */
async function costOfEdit(objects: number, place: Placement): Promise<Cost> {
  const rig = new Rig();
  await rig.start(objects, place);
  expect(rig.summaryOf(place(0))).toBe('3/3 of generation 1');
  const edit = async (generation: number): Promise<void> => {
    rig.put(place(0), generation, generation * 100);
    await jest.advanceTimersByTimeAsync(SETTLED_MS);
  };
  await edit(2);
  await edit(3);
  const before = { sent: { ...rig.sent }, writes: rig.writes };
  const counts = await countsOf(() => edit(4));
  expect(rig.summaryOf(place(0))).toBe('3/3 of generation 4');
  await rig.end();
  const { responses, resources, bytes } = rig.sent;
  return {
    counts,
    sent: {
      responses: responses - before.sent.responses,
      resources: resources - before.sent.resources,
      bytes: bytes - before.sent.bytes,
    },
    writes: rig.writes - before.writes,
  };
}

function given(status: unknown): { status?: unknown } {
  return status === undefined ? {} : { status };
}

describe('an edit of one object', () => {
  beforeEach(() => {
    jest.useFakeTimers();
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  const placements: [string, Placement][] = [
    ['ten in each namespace', (index) => ({ namespace: `ns-${Math.floor(index / 10)}`, name: `route-${index % 10}` })],
    ['all in one namespace', (index) => ({ namespace: 'ns-0', name: `route-${index}` })],
  ];
  test.each(placements)(
    'is the same work among 100 objects and among 1,000: %s',
    async (_title, place) => {
      const few = await costOfEdit(FEW, place);
      const many = await costOfEdit(MANY, place);
      expect(few.sent).toMatchObject({ responses: 3, resources: 3 });
      expect(few.writes).toBeGreaterThan(0);
      expect({ sent: many.sent, writes: many.writes }).toEqual({ sent: few.sent, writes: few.writes });
      expect(grown(few.counts, many.counts)).toEqual([]);
    },
    60_000,
  );

  test('work that grows with the objects would be seen', async () => {
    const walk = async (objects: number): Promise<Map<string, number>> => {
      const store = new SnapshotStore();
      for (let index = 0; index < objects; index += 1) {
        const resource = { name: `ModelRoute/ns/${index}`, version: '1', bytes: Buffer.from('{}') };
        store.set(resource, { namespace: 'ns' });
      }
      return await countsOf(() => {
        store.namesSeenBy({ kind: 'shared', namespaces: 'all' });
        return Promise.resolve();
      });
    };
    expect(grown(await walk(FEW), await walk(MANY)).join()).toContain('isSeenBy');
  });
});
