// Controller: the last good form of each object, kept in the cluster. Input: forms that became good. Output: one
// ControllerRevision per object, owned by it; read at the start, before the push port opens. No secret is in a form.
import { isDeepStrictEqual } from 'node:util';
import { API_VERSION } from '../../crd/kinds/kinds.ts';
import type { Logger } from '../../lib/log.ts';
import type { LastGood } from '../../reconcile/types.ts';
import type { Feed } from '../kube/object-feed.ts';
import { hasStatus, type Kube } from '../kube/kube-api.ts';
import {
  RESOURCES,
  type ControllerRevision,
  type ObjectIdentity,
  type OwnerReference,
  type StoredObject,
} from '../kube/kube-types.ts';
import type { Leadership } from '../election/leadership.ts';
import type { LastGoodStore } from './provider.ts';
import { ReverseIndex } from '../kube/reverse-index.ts';
import { DONE, WorkQueue, type WorkOutcome } from '../kube/work-queue.ts';

/** The label that the operator's ControllerRevisions carry; its value is the kind of the object. */
export const LAST_GOOD_LABEL = 'weir.dev/last-good';

export interface LastGoodSettings {
  readonly kube: Pick<Kube, 'create' | 'remove'>;
  readonly revisions: Feed<ControllerRevision>;
  readonly leadership: Leadership;
  readonly log: Logger;
}

/**
 * The API server writes many at once hardly slower than one: a first start with many objects is as long as these are
 * few.
 */
const WORKERS = 16;

interface Kept {
  /** Absent after a start, until the object was seen. */
  readonly object?: ObjectIdentity;
  readonly lastGood: LastGood;
}

/**
 * A ControllerRevision cannot be changed, so each form gets one of its own, named by UID and generation, and the
 * former is deleted after it. Whatever was interrupted is finished at the next start: the highest revision counts.
 */
export class ClusterLastGood implements LastGoodStore {
  readonly #settings: LastGoodSettings;
  readonly #kept = new Map<string, Kept>();
  /** UIDs of objects whose newest form is not in the cluster yet. */
  readonly #unsaved = new Set<string>();
  /** UID of the owner -> keys of the ControllerRevisions in the cluster. */
  readonly #stored = new ReverseIndex();
  readonly #queue: WorkQueue;
  readonly #listeners = new Set<(object: ObjectIdentity) => void>();

  /** To be made before the feed is started. */
  constructor(settings: LastGoodSettings) {
    this.#settings = settings;
    this.#queue = new WorkQueue({
      name: 'last good forms',
      workers: WORKERS,
      log: settings.log,
      work: (uid) => this.#work(uid),
    });
    settings.revisions.onChange(({ key, before, after }) => {
      const uid = ownerOf(after ?? before)?.uid;
      this.#stored.set(key, uid === undefined || after === undefined ? [] : [uid]);
      if (uid !== undefined) this.#queue.add(uid);
    });
    settings.leadership.onChange((isLeader) => {
      // Owners that went while another led left theirs behind.
      const owners = [...settings.revisions.values()].flatMap((revision) => ownerOf(revision)?.uid ?? []);
      if (isLeader) for (const uid of [...this.#kept.keys(), ...owners]) this.#queue.add(uid);
    });
  }

  /**
   * Reads what the cluster has, once every feed has synced, and begins to clean up: objects that are gone keep
   * nothing. Again whenever the lease was taken: another leader may have seen forms that passed by here. The newer
   * one of each object counts.
   */
  load(objects: Iterable<StoredObject>): void {
    const alive = new Map([...objects].map((object) => [object.metadata.uid ?? '', object]));
    for (const revision of this.#settings.revisions.values()) {
      const uid = ownerOf(revision)?.uid ?? '';
      const object = alive.get(uid);
      const known = this.#kept.get(uid);
      if (object === undefined || (known !== undefined && known.lastGood.generation >= revision.revision)) continue;
      const lastGood = lastGoodOf(revision);
      if (lastGood !== undefined)
        this.#kept.set(uid, { object: identityOf(object), lastGood: sharedWith(object, lastGood) });
    }
    this.#queue.start();
  }

  get(uid: string): LastGood | undefined {
    return this.#kept.get(uid)?.lastGood;
  }

  save(object: StoredObject, lastGood: LastGood): void {
    const uid = object.metadata.uid ?? '';
    this.#kept.set(uid, { object: identityOf(object), lastGood });
    this.#unsaved.add(uid);
    this.#queue.add(uid);
  }

  isKept(object: StoredObject): boolean {
    return !this.#unsaved.has(object.metadata.uid ?? '');
  }

  onKept(listener: (object: ObjectIdentity) => void): void {
    this.#listeners.add(listener);
  }

  forget(object: StoredObject): void {
    const uid = object.metadata.uid ?? '';
    this.#kept.delete(uid);
    this.#unsaved.delete(uid);
    this.#queue.add(uid);
  }

  /** Objects whose forms wait to be written or cleaned up. */
  get depth(): number {
    return this.#queue.depth;
  }

  async stop(): Promise<void> {
    await this.#queue.stop();
  }

  /** Makes the ControllerRevisions of one owner what they should be: exactly one, or none. */
  async #work(uid: string): Promise<WorkOutcome> {
    const { kube, leadership, revisions } = this.#settings;
    if (!leadership.isLeader()) return DONE;
    const kept = this.#kept.get(uid);
    const wanted = kept?.object === undefined ? undefined : revisionOf(kept.object, kept.lastGood);
    const present = [...this.#stored.namesOf(uid)].flatMap((key) => revisions.get(key) ?? []);
    if (wanted !== undefined) await this.#create(wanted, present);
    if (this.#kept.get(uid) === kept) this.#noteKept(uid, kept);
    for (const { metadata } of present) {
      if (metadata.name === wanted?.metadata.name) continue;
      await kube.remove(RESOURCES.controllerRevisions, metadata.namespace ?? '', metadata.name);
    }
    return DONE;
  }

  #noteKept(uid: string, kept: Kept | undefined): void {
    if (!this.#unsaved.delete(uid) || kept?.object === undefined) return;
    for (const listener of this.#listeners) listener(kept.object);
  }

  /** One of that name is one of that content; a namespace that is going takes everything with it. */
  async #create(revision: ControllerRevision, present: readonly ControllerRevision[]): Promise<void> {
    if (present.some(({ metadata }) => metadata.name === revision.metadata.name)) return;
    try {
      await this.#settings.kube.create(RESOURCES.controllerRevisions, revision.metadata.namespace ?? '', revision);
    } catch (error) {
      if (!hasStatus(error, 403, 404, 409)) throw error;
      if (!hasStatus(error, 409)) this.#settings.log.warn('last good form not kept', { error: String(error) });
    }
  }
}

function revisionOf(object: ObjectIdentity, lastGood: LastGood): ControllerRevision {
  const { name, namespace, uid = '' } = object.metadata;
  const { kind } = object;
  return {
    apiVersion: 'apps/v1',
    kind: 'ControllerRevision',
    metadata: {
      name: `weir-last-good-${uid}-${lastGood.generation}`,
      namespace,
      labels: { [LAST_GOOD_LABEL]: kind, 'app.kubernetes.io/part-of': 'weir' },
      ownerReferences: [{ apiVersion: API_VERSION, kind, name, uid }],
    },
    revision: lastGood.generation,
    data: { generation: lastGood.generation, spec: lastGood.spec },
  };
}

function identityOf({ kind, metadata }: StoredObject): ObjectIdentity {
  return { kind, metadata };
}

function ownerOf(revision: ControllerRevision | undefined): OwnerReference | undefined {
  return revision?.metadata.ownerReferences?.[0];
}

/** Of a form that the object still has: its own spec, once in memory, and what was made of it is known by it. */
function sharedWith({ metadata, spec }: StoredObject, lastGood: LastGood): LastGood {
  const isPresent = metadata.generation === lastGood.generation && isDeepStrictEqual(spec, lastGood.spec);
  return isPresent ? { ...lastGood, spec } : lastGood;
}

/** Kept as a text or as it was read. undefined: not of our making. */
function lastGoodOf({ data }: ControllerRevision): LastGood | undefined {
  const form: unknown = typeof data === 'string' ? JSON.parse(data) : data;
  if (typeof form !== 'object' || form === null || !('generation' in form) || !('spec' in form)) return undefined;
  const { generation, spec } = form;
  return typeof generation === 'number' ? { generation, spec } : undefined;
}
