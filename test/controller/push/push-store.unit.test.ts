// What is to be in force, and which streams a change of it concerns: as many as see it, not as many as there are.
import { describe, expect, test } from '@jest/globals';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { SnapshotStore } from '../../../src/controller/push/snapshot-store.ts';
import { StreamIndex } from '../../../src/controller/push/stream-index.ts';
import type { LimiterView } from '../../../src/controller/push/visibility.ts';
import { sampleResource } from '../../contract/sample-config.ts';

const shared = (namespaces: 'all' | string[]): LimiterView => ({ kind: 'shared', namespaces });
const sidecar = (namespace: string, app: string): LimiterView => ({
  kind: 'pod',
  pod: { namespace, name: app, uid: `${namespace}-${app}`, labels: { app } },
});

describe('the snapshot store', () => {
  test('tells many changes at once, and a change that changes nothing not at all', async () => {
    const store = new SnapshotStore();
    const heard: string[][] = [];
    store.subscribe((names) => heard.push([...names]));
    store.set(sampleResource('a', 'r', 1), { namespace: 'a' });
    store.set(sampleResource('a', 'r', 2), { namespace: 'a' });
    store.set(sampleResource('b', 'r', 1), { namespace: 'b' });
    await nextTurn();
    expect(heard).toEqual([['ModelRoute/a/r', 'ModelRoute/b/r']]);
    store.set(sampleResource('a', 'r', 2), { namespace: 'a' });
    store.remove('ModelRoute/a/absent');
    await nextTurn();
    expect(heard).toHaveLength(1);
    store.set(sampleResource('a', 'r', 2), { namespace: 'a', workloadSelector: { matchLabels: { app: 'x' } } });
    await nextTurn();
    expect(heard[1]).toEqual(['ModelRoute/a/r']);
  });

  test('knows what a limiter sees, also after removals', () => {
    const store = new SnapshotStore();
    store.set(sampleResource('a', 'x'), { namespace: 'a', workloadSelector: { matchLabels: { app: 'x' } } });
    store.set(sampleResource('a', 'y'), { namespace: 'a' });
    store.set(sampleResource('b', 'x'), { namespace: 'b', workloadSelector: { matchLabels: { app: 'x' } } });
    expect(store.namesSeenBy(shared('all'))).toHaveLength(3);
    expect(store.namesSeenBy(shared(['a', 'a', 'none']))).toEqual(['ModelRoute/a/x', 'ModelRoute/a/y']);
    expect(store.namesSeenBy(sidecar('a', 'x'))).toEqual(['ModelRoute/a/x']);
    store.remove('ModelRoute/a/x');
    expect(store.namesSeenBy(sidecar('a', 'x'))).toEqual([]);
    expect(store.size).toBe(2);
  });

  test('does not move a name to another namespace', () => {
    const store = new SnapshotStore();
    store.set(sampleResource('a', 'r', 1), { namespace: 'a' });
    expect(() => {
      store.set(sampleResource('a', 'r', 2), { namespace: 'b' });
    }).toThrow('ModelRoute/a/r');
  });
});

describe('the index of streams', () => {
  test('finds those of the namespace, those of all namespaces, and everyone for the fleet', () => {
    const index = new StreamIndex<{ limiterId: string; view: LimiterView }>();
    const views = { all: shared('all'), ab: shared(['a', 'b']), a: sidecar('a', 'x'), c: sidecar('c', 'x') };
    const streams = Object.entries(views).map(([limiterId, view]) => ({ limiterId, view }));
    for (const stream of streams) index.add(stream);
    const concerned = (...names: string[]): string[] =>
      [...index.concernedBy(names)].map(([{ limiterId }, seen]) => `${limiterId}:${seen.length}`).sort();
    expect(concerned('ModelRoute/a/r', 'MCPServer/a/s')).toEqual(['a:2', 'ab:2', 'all:2']);
    expect(concerned('ModelRoute/b/r', 'ModelRoute/c/r')).toEqual(['ab:1', 'all:2', 'c:1']);
    expect(concerned('ModelRoute/none/r')).toEqual(['all:1']);
    expect(concerned('Fleet/-/-')).toEqual(['a:1', 'ab:1', 'all:1', 'c:1']);
    expect(index.ofPod('a-x')).toEqual([streams[2]]);
    for (const stream of streams) index.delete(stream);
    expect(index.size).toBe(0);
    expect(concerned('Fleet/-/-', 'ModelRoute/a/r')).toEqual([]);
    expect(index.ofPod('a-x')).toEqual([]);
  });
});
