// Sharers: who is told how many limiters share the buckets of an object, when, in which order, and what that costs a
// large fleet.
import { beforeEach, describe, expect, test } from '@jest/globals';
import {
  isSharersName,
  nameOfResource,
  namespaceSharersNameOf,
  parseResourceName,
  sharersNameOf,
  type ObjectRef,
} from '../../../src/contract/limiter-config.ts';
import { PARTIAL_RESPONSE, type DeltaDiscoveryResponse } from '../../../src/contract/push-protocol.ts';
import { AckTable } from '../../../src/controller/push/ack-table.ts';
import { publishFleet } from '../../../src/controller/push/fleet.ts';
import { PushSession } from '../../../src/controller/push/push-session.ts';
import { countShared, publishedSidecars, publishSidecars } from '../../../src/controller/push/sharers.ts';
import { SnapshotStore } from '../../../src/controller/push/snapshot-store.ts';
import { StreamIndex, type IndexedStream } from '../../../src/controller/push/stream-index.ts';
import type { LimiterView } from '../../../src/controller/push/visibility.ts';
import { waitFor } from '../../../tools/node-cluster/wait.ts';
import { sampleConfig, sampleResource } from '../../contract/sample-config.ts';

const refOf = (namespace: string, name: string, kind: ObjectRef['kind'] = 'ModelRoute'): ObjectRef => ({
  kind,
  namespace,
  name,
});
const selecting = (app: string): { matchLabels: Record<string, string> } => ({ matchLabels: { app } });
const podView = (namespace: string, app: string, name: string): LimiterView => ({
  kind: 'pod',
  pod: { namespace, name, uid: `${namespace}-${name}`, labels: { app } },
});
const sharedOf = (namespaces: 'all' | readonly string[]): LimiterView => ({ kind: 'shared', namespaces });

/** A limiter at the other end of a session: acknowledges at once, holds what it was sent. */
interface Limiter extends IndexedStream {
  readonly session: PushSession;
  readonly responses: DeltaDiscoveryResponse[];
  readonly held: Map<string, string>;
}

let store: SnapshotStore;
let acks: AckTable;
let streams: StreamIndex<Limiter>;

beforeEach(() => {
  store = new SnapshotStore();
  acks = new AckTable((view) => store.namesSeenBy(view));
  streams = new StreamIndex();
  store.subscribe((names) => {
    for (const [stream, seen] of streams.concernedBy(names)) stream.session.offer(seen);
  });
});

function connect(
  limiterId: string,
  view: LimiterView,
  options: { takesSharers?: boolean; maxResponseBytes?: number; held?: Map<string, string> } = {},
): Limiter {
  const { takesSharers = true, maxResponseBytes = 1 << 20, held = new Map<string, string>() } = options;
  const responses: DeltaDiscoveryResponse[] = [];
  const row = acks.connect(limiterId, view, new Map());
  const send = (response: DeltaDiscoveryResponse): void => {
    responses.push(response);
    for (const { name, version } of response.resources) held.set(name, version);
    for (const name of response.removed_resources) held.delete(name);
    queueMicrotask(() => {
      session.answer({ response_nonce: response.nonce });
    });
  };
  const session = new PushSession(view, held, { store, acks: row, send, maxResponseBytes, takesSharers });
  const limiter = { limiterId, view, session, responses, held };
  streams.add(limiter);
  session.start();
  return limiter;
}

function put(ref: ObjectRef, app: string | undefined, sidecars: number): void {
  const visibility = { namespace: ref.namespace, ...(app === undefined ? {} : { workloadSelector: selecting(app) }) };
  publishSidecars(store, ref, sidecars, visibility);
  const config = sampleConfig(ref, 1);
  store.set({ ...sampleResource(ref.namespace, ref.name), name: nameOfResource(config) }, visibility);
}

/** The change feed and the sessions have run dry. */
const quiet = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
};
const namesSent = ({ responses }: Limiter): string[] =>
  responses.flatMap(({ resources, removed_resources: removed }) => [...resources.map(({ name }) => name), ...removed]);

describe('the name', () => {
  test('differs for a ModelRoute and an MCPServer of one name, and is no object', () => {
    const [route, server] = [refOf('a', 'x.y'), refOf('a', 'x.y', 'MCPServer')].map(sharersNameOf);
    expect([route, server]).toEqual(['Sharers/a/ModelRoute.x.y', 'Sharers/a/MCPServer.x.y']);
    expect(namespaceSharersNameOf('a')).toBe('Sharers/a/-');
    for (const name of [route!, server!, 'Sharers/a/-']) {
      expect(isSharersName(name)).toBe(true);
      expect(parseResourceName(name)).toBeUndefined();
    }
    expect(nameOfResource({ kind: 'Sharers', namespace: 'a', name: 'MCPServer.x.y', limiters: 1 })).toBe(server);
  });
});

describe('who is told', () => {
  test('the sidecars of the object and the shared limiters of its namespace, nobody else', async () => {
    put(refOf('a', 'one'), 'one', 2);
    put(refOf('a', 'two'), 'two', 1);
    const [one, two, shared, elsewhere] = [
      connect('one', podView('a', 'one', 'p1')),
      connect('two', podView('a', 'two', 'p2')),
      connect('shared', sharedOf(['a'])),
      connect('elsewhere', sharedOf(['b'])),
    ];
    await quiet();
    const ofOne = 'Sharers/a/ModelRoute.one';
    expect([one, two, shared, elsewhere].map(({ held }) => held.has(ofOne))).toEqual([true, false, true, false]);
    expect(elsewhere.held.size).toBe(0);
  });

  test('a limiter of 0.2, which says nothing of what it takes, is sent none, and loses those that a newer one left', async () => {
    put(refOf('a', 'one'), 'one', 2);
    const held = new Map([['Sharers/a/ModelRoute.one', 'v']]);
    const old = connect('old', podView('a', 'one', 'p1'), { takesSharers: false, held });
    await quiet();
    expect(namesSent(old)).toEqual(expect.arrayContaining(['ModelRoute/a/one', 'Sharers/a/ModelRoute.one']));
    expect([...old.held.keys()]).toEqual(['ModelRoute/a/one']);
    publishSidecars(store, refOf('a', 'one'), 3, { namespace: 'a', workloadSelector: selecting('one') });
    await quiet();
    expect([...old.held.keys()]).toEqual(['ModelRoute/a/one']);
  });

  test('before the object, also when the first answer is split', async () => {
    for (const name of ['x', 'y', 'z']) put(refOf('a', name), 'one', 2);
    const limiter = connect('one', podView('a', 'one', 'p1'), { maxResponseBytes: 400 });
    await quiet();
    expect(limiter.responses.length).toBeGreaterThan(2);
    expect(limiter.responses.at(-1)?.system_version_info).not.toBe(PARTIAL_RESPONSE);
    const sent = namesSent(limiter);
    const places = sent.map((name, place) => [isSharersName(name), place] as const);
    const lastSharers = Math.max(...places.filter(([is]) => is).map(([, place]) => place));
    const firstObject = Math.min(...places.filter(([is]) => !is).map(([, place]) => place));
    expect(lastSharers).toBeLessThan(firstObject);
  });

  test('the ack table has no entry of it: no status speaks of it', async () => {
    put(refOf('a', 'one'), 'one', 2);
    connect('one', podView('a', 'one', 'p1'));
    await quiet();
    expect(acks.statesOf('Sharers/a/ModelRoute.one')).toEqual([]);
    expect(acks.podsOf('ModelRoute/a/one')).toEqual(['a-p1']);
  });

  test('nothing is left of an object without sidecars', async () => {
    const ref = refOf('a', 'one');
    put(ref, 'one', 2);
    const shared = connect('shared', sharedOf('all'));
    await quiet();
    expect(publishedSidecars(store, ref)).toBe(2);
    put(ref, 'one', 0);
    await quiet();
    expect(publishedSidecars(store, ref)).toBe(0);
    expect([...shared.held.keys()].filter(isSharersName)).toEqual([]);
  });
});

describe('shared limiters', () => {
  test('are counted by where they serve', () => {
    const views = [
      sharedOf('all'),
      sharedOf('all'),
      sharedOf(['a', 'b', 'a']),
      sharedOf(['b']),
      podView('a', 'x', 'p'),
    ];
    const { everywhere, byNamespace } = countShared(views);
    expect([everywhere, [...byNamespace]]).toEqual([
      2,
      [
        ['a', 1],
        ['b', 2],
      ],
    ]);
  });

  test('of single namespaces are told to every limiter of the namespace, and taken back', async () => {
    const end = publishFleet(store, acks, { egressAllow: [], debounceMs: 1 });
    const sidecar = connect('sidecar', podView('a', 'x', 'p'));
    connect('s1', sharedOf(['a']));
    const untilHeld = (is: boolean): Promise<true> =>
      waitFor('Sharers/a/-', () => sidecar.held.has('Sharers/a/-') === is || undefined, { deadlineMs: 5_000 });
    await untilHeld(true);
    acks.connect('s1', sharedOf(['a']), new Map()).end('goodbye');
    await untilHeld(false);
    end();
  });
});

describe('the cost', () => {
  const OBJECTS = 10_000;
  const LIMITERS = 1_000;

  test('of 10,000 objects and 1,000 sidecars: a scale-up reaches the limiters of that object, in one small response each', async () => {
    const names = Array.from({ length: OBJECTS }, (_, index) => refOf(`n${index % 100}`, `o${index}`));
    names.forEach((ref, index) => {
      put(ref, `app-${index}`, index < LIMITERS / 10 ? 10 : 0);
    });
    const limiters = Array.from({ length: LIMITERS }, (_, index) => {
      const object = index % (LIMITERS / 10);
      return connect(`l${index}`, podView(`n${object % 100}`, `app-${object}`, `p${index}`));
    });
    await quiet();
    for (const { responses } of limiters) responses.length = 0;
    const beganMs = performance.now();
    // Ten pods more, one after the other, in one turn of the loop: one number is told.
    for (let more = 1; more <= 10; more++) {
      publishSidecars(store, names[7]!, 10 + more, { namespace: 'n7', workloadSelector: selecting('app-7') });
    }
    await quiet();
    const tookMs = performance.now() - beganMs;
    const told = limiters.filter(({ responses }) => responses.length > 0);
    expect(told.map(({ limiterId }) => limiterId)).toEqual(
      Array.from({ length: 10 }, (_, index) => `l${7 + (index * LIMITERS) / 10}`),
    );
    for (const limiter of told) {
      expect(limiter.responses).toHaveLength(1);
      expect(namesSent(limiter)).toEqual(['Sharers/n7/ModelRoute.o7']);
      expect(limiter.responses[0]!.resources[0]!.resource!.value.length).toBeLessThan(200);
    }
    process.stdout.write(`a scale-up among ${OBJECTS} objects and ${LIMITERS} sidecars: ${tookMs.toFixed(1)} ms\n`);
  });

  test('of a shared limiter that comes: the Fleet alone, whatever the number of objects', async () => {
    for (let index = 0; index < 1_000; index++) put(refOf('a', `o${index}`), undefined, 0);
    const end = publishFleet(store, acks, { egressAllow: [], debounceMs: 1 });
    const first = connect('first', sharedOf('all'));
    await waitFor('the fleet', () => namesSent(first).includes('Fleet/-/-') || undefined, { deadlineMs: 5_000 });
    await quiet();
    first.responses.length = 0;
    connect('second', sharedOf('all'));
    await waitFor('the new number', () => first.responses.length > 0 || undefined, { deadlineMs: 5_000 });
    await quiet();
    expect(new Set(namesSent(first))).toEqual(new Set(['Fleet/-/-']));
    end();
  });
});
