// What counts as a limiter that should be there, and as one that is: pods in every state that they can be in, and what limiters report.
import { beforeEach, describe, expect, test } from '@jest/globals';
import { storeIdOf, type LimiterReport } from '../../../src/contract/limiter-report.ts';
import { AckTable, type AckStream, type ReportChange } from '../../../src/controller/push/ack-table.ts';
import type { Pod, Service } from '../../../src/controller/kube/kube-types.ts';
import { tallyLimiters } from '../../../src/controller/loop/limiter-tally.ts';
import { ObjectFeed, type Change, type Feed } from '../../../src/controller/kube/object-feed.ts';
import { trimService } from '../../../src/controller/world/object-references.ts';
import { isRelevant, PodIndex, podView, trimPod } from '../../../src/controller/world/pod-index.ts';
import { INJECTED_ANNOTATION, LIMITER_CONTAINER } from '../../../src/reconcile/injection/names.ts';
import { ServiceIndex } from '../../../src/controller/world/service-index.ts';
import { silentLogger } from '../../../src/lib/log.ts';
import { inject } from '../../../src/reconcile/injection/inject.ts';
import type { LimiterTally } from '../../../src/reconcile/types.ts';
import { LABELLED, patchedBy, settingsWith } from '../../reconcile/injection/patched.ts';

const NAME = 'ModelRoute/a/r';
const STORE = storeIdOf({ namespace: 'a', store: { type: 'redis', redis: { address: 'redis:6379' } } })!;

class Pods implements Feed<Pod> {
  readonly hasSynced = true;
  readonly #pods = new Map<string, Pod>();
  readonly #handlers: ((change: Change<Pod>) => void)[] = [];
  get size(): number {
    return this.#pods.size;
  }
  get(key: string): Pod | undefined {
    return this.#pods.get(key);
  }
  values(): IterableIterator<Pod> {
    return this.#pods.values();
  }
  onChange(handler: (change: Change<Pod>) => void): void {
    this.#handlers.push(handler);
  }
  put(pod: Pod): void {
    const key = `${pod.metadata.namespace}/${pod.metadata.name}`;
    const before = this.#pods.get(key);
    const after = trimPod(pod);
    this.#pods.set(key, after);
    for (const handler of this.#handlers) handler({ key, before, after });
  }
}

let pods: Pods;
let index: PodIndex;
let services: ObjectFeed<Service>;
let serviceIndex: ServiceIndex;
let acks: AckTable;

beforeEach(() => {
  pods = new Pods();
  index = new PodIndex(pods);
  services = new ObjectFeed({ name: 'services', log: silentLogger() });
  serviceIndex = new ServiceIndex(services);
  acks = new AckTable(() => [NAME]);
});

function pod(name: string, more: Partial<Pod> & { injected?: boolean; deleted?: boolean } = {}): Pod {
  const { injected = true, deleted = false, ...rest } = more;
  return {
    metadata: {
      namespace: 'a',
      name,
      uid: `uid-${name}`,
      labels: { app: 'web' },
      ...(injected ? { annotations: { [INJECTED_ANNOTATION]: '0.2.0' } } : {}),
      ...(deleted ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}),
    },
    status: { phase: 'Running' },
    ...rest,
  };
}

function connect(of: Pod): AckStream {
  const stream = acks.connect(of.metadata.uid!, { kind: 'pod', pod: podView(of) }, new Map());
  stream.acked(NAME, 'v1');
  return stream;
}

function tally(): LimiterTally {
  const ref = { kind: 'ModelRoute', namespace: 'a', name: 'r' } as const;
  return tallyLimiters({ ref, workloadSelector: { matchLabels: { app: 'web' } }, version: 'v1', store: STORE }, acks, {
    pods: index,
    services: serviceIndex,
  });
}

const told = ({ desired, synced, unlimited }: LimiterTally): unknown[] => [
  desired,
  synced,
  unlimited.map(({ pod }) => pod),
];

describe('a selected pod', () => {
  test('with a connected limiter is desired and synced', () => {
    pods.put(pod('x'));
    connect(pod('x'));
    expect(told(tally())).toEqual([1, 1, []]);
  });

  test.each([
    ['is Pending', { status: { phase: 'Pending' } }],
    ['has no phase yet', { status: {} }],
    ['runs, and its limiter does not', { status: { phase: 'Running' } }],
    ['is on a node that nobody hears of', { status: { phase: 'Unknown' } }],
  ])('that %s is desired, not synced, and not unlimited', (_name, more) => {
    pods.put(pod('x', more));
    expect(told(tally())).toEqual([1, 0, []]);
  });

  test.each([
    ['is terminating', { deleted: true }],
    ['was evicted', { status: { phase: 'Failed', reason: 'Evicted' } }],
    ['has finished', { status: { phase: 'Succeeded' } }],
  ])('that %s counts for nothing, also while its limiter is still connected', (_name, more) => {
    pods.put(pod('x'));
    connect(pod('x'));
    pods.put(pod('x', more));
    expect(told(tally())).toEqual([0, 0, []]);
  });

  test('a pod without a limiter that is ending may still answer: it is unlimited until it has finished or is gone', () => {
    pods.put(pod('x', { injected: false, deleted: true }));
    pods.put(pod('y', { injected: false }));
    expect(tally()).toMatchObject({
      desired: 0,
      matchingPods: 1,
      unlimited: [
        { pod: 'x', isEnding: true },
        { pod: 'y', isEnding: false },
      ],
    });
    pods.put(pod('x', { injected: false, deleted: true, status: { phase: 'Succeeded' } }));
    expect(tally()).toMatchObject({ matchingPods: 1, unlimited: [{ pod: 'y', isEnding: false }] });
  });

  test('pods without a limiter are named: host network, older than the webhook, whatever the cause', () => {
    pods.put(pod('b', { injected: false }));
    pods.put(pod('a', { injected: false, status: { phase: 'Pending' } }));
    pods.put(pod('c'));
    expect(told(tally())).toEqual([1, 0, ['a', 'b']]);
  });

  test('limiters that have not acknowledged the version are named, those that do not run elsewhere', () => {
    for (const name of ['d', 'c', 'b', 'a']) pods.put(pod(name));
    connect(pod('a'));
    connect(pod('b')).acked(NAME, 'v0');
    const waiting = { state: { waiting: { reason: 'ImagePullBackOff' } } };
    const initContainerStatuses = [{ name: LIMITER_CONTAINER, ...waiting }];
    pods.put(pod('e', { status: { phase: 'Pending', initContainerStatuses } }));
    acks.connect('limiter-0', { kind: 'shared', namespaces: 'all' }, new Map());
    expect(tally()).toMatchObject({ desired: 6, synced: 1, silent: ['b', 'c', 'd', 'limiter-0'] });
    expect(tally().notRunning.map((each) => each.pod)).toEqual(['e']);
  });

  test('a limiter that nobody injected limits its pod all the same', () => {
    pods.put(pod('x', { injected: false }));
    connect(pod('x'));
    expect(told(tally())).toEqual([1, 1, []]);
  });
});

describe('a limiter that does not run', () => {
  const state = (waiting: string | undefined, last?: string): Partial<Pod> => ({
    status: {
      phase: 'Pending',
      initContainerStatuses: [
        {
          name: LIMITER_CONTAINER,
          ...(waiting === undefined ? { state: { running: {} } } : { state: { waiting: { reason: waiting } } }),
          ...(last === undefined ? {} : { lastState: { terminated: { reason: last } } }),
        },
      ],
    },
  });

  test.each([
    ['ImagePullBackOff', undefined, 'ImagePullBackOff'],
    ['ErrImagePull', undefined, 'ImagePullBackOff'],
    ['CrashLoopBackOff', 'OOMKilled', 'CrashLoopBackOff after OOMKilled'],
    ['PodInitializing', undefined, undefined],
    [undefined, 'OOMKilled', undefined],
  ])('waits for %s after %s: %s', (waiting, last, reason) => {
    pods.put(pod('x', state(waiting, last)));
    expect(tally().notRunning).toEqual(reason === undefined ? [] : [{ pod: 'x', reason }]);
  });

  test('is none when it is connected, whatever the kubelet said last', () => {
    pods.put(pod('x', state('CrashLoopBackOff')));
    connect(pod('x'));
    expect(tally().notRunning).toEqual([]);
  });

  test('concerns the objects when the word changes, and not when anything else of the status does', () => {
    const [before, same, after] = [state('ErrImagePull'), state('ImagePullBackOff'), state('PodInitializing')].map(
      (more) => trimPod(pod('x', more)),
    );
    expect(isRelevant({ key: 'a/x', before, after: same })).toBe(false);
    expect(isRelevant({ key: 'a/x', before, after })).toBe(true);
  });

  test('a pod concerns the objects when it begins to end, and again when its containers have ended', () => {
    const [before, ending, finished] = [{}, { deleted: true }, { deleted: true, status: { phase: 'Failed' } }].map(
      (more) => trimPod(pod('x', { injected: false, ...more })),
    );
    expect(isRelevant({ key: 'a/x', before, after: ending })).toBe(true);
    expect(isRelevant({ key: 'a/x', before: ending, after: finished })).toBe(true);
  });

  test('what is kept of a pod is little, and of an annotation of the same name nothing', () => {
    const big = {
      ...pod('x', state('ImagePullBackOff')),
      spec: { containers: Array(100).fill({ image: 'x' }) },
    } as Pod;
    expect(JSON.stringify(trimPod(big)).length).toBeLessThan(300);
    const forged = pod('y');
    const annotations = { ...forged.metadata.annotations, 'weir.dev/limiter-trouble': 'forged' };
    pods.put({ ...forged, metadata: { ...forged.metadata, annotations } });
    expect(tally().notRunning).toEqual([]);
  });
});

describe('what limiters report', () => {
  const unreachable = (store = STORE): LimiterReport => ({
    stores: [{ store, kind: 'unreachable', detail: 'ECONNREFUSED' }],
    upstreams: [],
  });
  let changes: ReportChange[];
  beforeEach(() => {
    changes = [];
    acks.subscribeReports((change) => changes.push(change));
    pods.put(pod('x'));
  });

  test('concerns an object by its store, under the name of the pod', () => {
    connect(pod('x')).reported(unreachable());
    expect(tally().troubles).toEqual([{ limiter: 'x', kind: 'unreachable', detail: 'ECONNREFUSED' }]);
    expect([...changes[0]!.stores]).toEqual([STORE]);
  });

  test('of another store or another object says nothing of this one', () => {
    const upstreams = [{ object: 'ModelRoute/a/other', upstream: 'http://u:1', detail: 'accepts no connections' }];
    connect(pod('x')).reported({ ...unreachable('other'), upstreams });
    expect(tally().troubles).toEqual([]);
  });

  test('is told once while it stays the same, and again when it ends', () => {
    const stream = connect(pod('x'));
    stream.reported(unreachable());
    stream.reported(unreachable());
    expect(changes).toHaveLength(1);
    stream.reported({ stores: [], upstreams: [] });
    expect(changes).toHaveLength(2);
    expect(tally().troubles).toEqual([]);
  });

  test('holds over a reconnect until the limiter says something new', () => {
    connect(pod('x')).reported(unreachable());
    const again = connect(pod('x'));
    expect(tally().troubles).toHaveLength(1);
    again.reported({ stores: [], upstreams: [] });
    expect(tally().troubles).toEqual([]);
  });

  test('of models that pass unclaimed concerns the objects of the pod, once while it stays the same', () => {
    const stream = connect(pod('x'));
    const report = { stores: [], upstreams: [], unclaimed: ['b', 'a'] };
    stream.reported(report);
    stream.reported(report);
    expect(tally().unclaimed).toEqual(['a', 'b']);
    expect(changes.map(({ objects }) => [...objects])).toEqual([[NAME]]);
    stream.reported({ stores: [], upstreams: [] });
    expect(tally().unclaimed).toEqual([]);
    expect(changes).toHaveLength(2);
  });

  test('is forgotten with the limiter, and a former stream says nothing any more', () => {
    const former = connect(pod('x'));
    const stream = connect(pod('x'));
    former.reported(unreachable());
    expect(tally().troubles).toEqual([]);
    stream.reported(unreachable());
    stream.end('goodbye');
    expect(tally().troubles).toEqual([]);
  });
});

describe('a Service of injected pods', () => {
  /** As the webhook makes it. */
  const injectedPod = (name: string, annotations: Record<string, string> = {}): Pod => {
    const { metadata } = pod(name, { injected: false });
    const plain = {
      metadata: { ...metadata, annotations },
      spec: { containers: [{ name: 'main', ports: [{ name: 'http', containerPort: 8000 }] }] },
    };
    const outcome = inject(plain, LABELLED, settingsWith(), 'token');
    if (outcome.kind !== 'injected') throw new Error(outcome.kind);
    return { ...patchedBy(outcome.patch, plain), status: { phase: 'Running' } } as unknown as Pod;
  };
  const put = (name: string, port: object, spec: Partial<Service['spec']> = {}): void => {
    const whole = { selector: { app: 'web' }, clusterIP: '10.0.0.9', ports: [port], ...spec } as Service['spec'];
    services.set(`a/${name}`, trimService({ metadata: { namespace: 'a', name }, spec: whole! }));
  };
  const seen = (): string[] =>
    tally().bypasses.map(({ service, port, target, pods: count }) => `${service}:${port} > ${target} of ${count}`);

  test('that targets the number of their port goes past the limiters, by name or another port it does not', () => {
    pods.put(injectedPod('x'));
    pods.put(injectedPod('y'));
    put('named', { port: 80, targetPort: 'http' });
    put('limiter', { port: 80, targetPort: 18080 });
    put('metrics', { port: 9000 });
    put('udp', { port: 8000, protocol: 'UDP' });
    put('manual', { port: 8000 }, { selector: undefined } as never);
    put('other', { port: 8000 }, { selector: { app: 'db' } });
    put('narrower', { port: 8000 }, { selector: { app: 'web', tier: 'x' } });
    expect(seen()).toEqual([]);
    put('numbered', { port: 80, targetPort: 8000 });
    put('same', { port: 8000 });
    expect(seen()).toEqual(['numbered:80 > 8000 of 2', 'same:8000 > 8000 of 2']);
    put('numbered', { port: 80, targetPort: 'http' });
    services.set('a/same', undefined);
    expect(seen()).toEqual([]);
  });

  test('that is headless translates no port: what its callers dial counts', () => {
    pods.put(injectedPod('x'));
    put('same', { port: 8000, targetPort: 'http' }, { clusterIP: 'None' });
    put('other', { port: 80, targetPort: 8000 }, { clusterIP: 'None' });
    expect(tally().bypasses).toEqual([{ service: 'same', port: 8000, target: 8000, pods: 1, isHeadless: true }]);
  });

  test('passes no limiter of pods that redirect, and a forged annotation says nothing', () => {
    pods.put(injectedPod('x', { 'weir.dev/redirect': 'true' }));
    const plain = pod('y');
    pods.put({ ...plain, metadata: { ...plain.metadata, annotations: { 'weir.dev/unguarded-port': '8000' } } });
    put('numbered', { port: 80, targetPort: 8000 });
    expect(seen()).toEqual([]);
  });
});
