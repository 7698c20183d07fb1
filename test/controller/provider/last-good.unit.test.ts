// The last good forms in the cluster. A function stands in for the API server: what is asked is when a form counts as
// kept.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { ControllerRevision, StoredObject } from '../../../src/controller/kube/kube-types.ts';
import { KubeError, type Kube } from '../../../src/controller/kube/kube-api.ts';
import { ClusterLastGood } from '../../../src/controller/provider/last-good.ts';
import { ALWAYS_LEADER } from '../../../src/controller/election/leadership.ts';
import { ObjectFeed } from '../../../src/controller/kube/object-feed.ts';
import { silentLogger } from '../../../src/lib/log.ts';
import { waitFor } from '../../../tools/node-cluster/wait.ts';

const OWNER = { apiVersion: 'weir.dev/v1alpha1', kind: 'ModelRoute', name: 'chat' };
const SOON = { deadlineMs: 5000, everyMs: 5 };
const CHAT: StoredObject = {
  kind: 'ModelRoute',
  metadata: { namespace: 'default', name: 'chat', uid: 'u1' },
  spec: {},
};
const OTHER: StoredObject = { ...CHAT, metadata: { ...CHAT.metadata, name: 'other', uid: 'u2' } };

describe('a last good form', () => {
  let feed: ObjectFeed<ControllerRevision>;
  let kept: ClusterLastGood;
  let asked: PromiseWithResolvers<undefined>[];

  beforeEach(() => {
    asked = [];
    const log = silentLogger();
    feed = new ObjectFeed<ControllerRevision>({ name: 'controllerrevisions', log });
    const create = async (): Promise<void> => {
      const answer = Promise.withResolvers<undefined>();
      asked.push(answer);
      await answer.promise;
    };
    const kube = { create, remove: () => Promise.resolve() } as unknown as Pick<Kube, 'create' | 'remove'>;
    kept = new ClusterLastGood({ kube, revisions: feed, leadership: ALWAYS_LEADER, log });
    kept.load([]);
  });
  afterEach(async () => {
    for (const { resolve } of asked) resolve(undefined);
    await kept.stop();
  });

  const request = async (at: number): Promise<PromiseWithResolvers<undefined>> =>
    await waitFor(`request ${at}`, () => asked[at], SOON);
  const untilKept = async (): Promise<true> => await waitFor('kept', () => kept.isKept(CHAT) || undefined, SOON);

  test('counts as kept when the API server has taken it, and not before', async () => {
    expect(kept.isKept(CHAT)).toBe(true);
    kept.save(CHAT, { generation: 1, spec: {} });
    const first = await request(0);
    expect([kept.isKept(CHAT), kept.isKept(OTHER)]).toEqual([false, true]);
    first.resolve(undefined);
    await untilKept();
  });

  test('a newer one that came meanwhile must be taken too', async () => {
    kept.save(CHAT, { generation: 1, spec: {} });
    const first = await request(0);
    kept.save(CHAT, { generation: 2, spec: {} });
    first.resolve(undefined);
    const second = await request(1);
    expect(kept.isKept(CHAT)).toBe(false);
    second.resolve(undefined);
    await untilKept();
  });

  test('one that was not taken is sent again; one that never can be is not waited for', async () => {
    kept.save(CHAT, { generation: 1, spec: {} });
    (await request(0)).reject(new Error('the connection is lost'));
    const again = await request(1);
    expect(kept.isKept(CHAT)).toBe(false);
    again.reject(new KubeError(403, 'Forbidden', 'the namespace is being terminated'));
    await untilKept();
  });

  test('who waits is told once, of what is kept: not of a form that a newer one has replaced', async () => {
    const told: (string | undefined)[] = [];
    kept.onKept(({ metadata }) => told.push(metadata.uid));
    kept.save(CHAT, { generation: 1, spec: {} });
    const first = await request(0);
    kept.save(CHAT, { generation: 2, spec: {} });
    first.resolve(undefined);
    const second = await request(1);
    expect(told).toEqual([]);
    second.resolve(undefined);
    await untilKept();
    expect(told).toEqual([CHAT.metadata.uid]);
  });

  test('nothing is waited for once the object is gone', async () => {
    kept.save(CHAT, { generation: 1, spec: {} });
    await request(0);
    kept.forget(CHAT);
    expect(kept.isKept(CHAT)).toBe(true);
  });

  test('read from the cluster it is the spec that its object has, when it is the same; else as it was kept', () => {
    const spec = { modelName: 'llama', rateLimiting: { limits: [{ name: 'all' }] } };
    const object = { ...CHAT, metadata: { ...CHAT.metadata, generation: 2 }, spec };
    const revisionOf = (uid: string, revision: number, text: string): ControllerRevision => ({
      metadata: {
        namespace: 'default',
        name: `weir-last-good-${uid}-${revision}`,
        ownerReferences: [{ ...OWNER, uid }],
      },
      revision,
      data: text,
    });
    feed.set('default/a', revisionOf('u1', 2, JSON.stringify({ generation: 2, spec })));
    feed.set('default/b', revisionOf('u2', 1, JSON.stringify({ generation: 1, spec })));
    kept.load([object, { ...OTHER, metadata: { ...OTHER.metadata, generation: 2 }, spec }]);
    expect(kept.get('u1')?.spec).toBe(spec);
    expect(kept.get('u2')).toEqual({ generation: 1, spec });
    expect(kept.get('u2')?.spec).not.toBe(spec);
  });
});
