// What counts as a limiter that should be there, and as one that is: pods in every state that they can be in, and
// what limiters report.
import { beforeEach, describe, expect, test } from '@jest/globals';
import type { LimiterReport } from '../../../src/contract/limiter-report.ts';
import type { AckStream, AckTable, ReportChange } from '../../../src/controller/push/ack-table.ts';
import type { Pod } from '../../../src/controller/kube/kube-types.ts';
import { trimPod } from '../../../src/controller/world/pod-facts.ts';
import { isRelevant } from '../../../src/controller/world/pod-index.ts';
import { LIMITER_CONTAINER } from '../../../src/reconcile/injection/names.ts';
import type { LimiterTally } from '../../../src/reconcile/types.ts';
import { NAME, pod, STORE, TallyRig } from './tally-rig.ts';

let rig: TallyRig;
let pods: TallyRig['pods'];
let acks: AckTable;

beforeEach(() => {
  rig = new TallyRig();
  ({ pods, acks } = rig);
});

const connect = (of: Pod): AckStream => rig.connect(of);
const tally = (): LimiterTally => rig.tally();
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

  test('that has ended, as those of a Job do, is named', () => {
    pods.put(pod('b', { status: { phase: 'Succeeded' } }));
    pods.put(pod('a', { status: { phase: 'Failed' } }));
    pods.put(pod('c', { deleted: true }));
    pods.put(pod('d'));
    expect(tally()).toMatchObject({ matchingPods: 1, finishedPods: ['a', 'b'] });
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
    } as unknown as Pod;
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
