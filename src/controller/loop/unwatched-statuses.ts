// Controller: the statuses of objects that no operator follows any more. Input: namespaces that are not watched and
// that the leader before watched, or whose limiters came here. Output: their statuses change to Unknown (NotWatched).
import { type Kind, KINDS } from '../../crd/kinds/kinds.ts';
import type { Logger } from '../../lib/log.ts';
import { namesOf } from '../../reconcile/names.ts';
import { withdrawn } from '../../reconcile/status/withdrawn.ts';
import type { LeaseNotes } from '../election/leader-election.ts';
import type { Leadership } from '../election/leadership.ts';
import { hasStatus, type Kube } from '../kube/kube-api.ts';
import { statusBody, type StoredObject } from '../kube/kube-types.ts';
import { DONE, WorkQueue, type WorkOutcome } from '../kube/work-queue.ts';

export interface UnwatchedSettings {
  /** It writes only while the lease is held. */
  readonly kube: Pick<Kube, 'list' | 'replaceStatus'>;
  /** The namespaces that are watched; empty = all. */
  readonly watched: readonly string[];
  readonly leadership: Leadership;
  readonly log: Logger;
}

/** An annotation of the Lease: the namespaces that its last holder watched, by comma, or all. */
const WATCHED_ANNOTATION = 'weir.dev/watched-namespaces';
const ALL = '*';

/**
 * A namespace belonged to this release when the holder of the Lease before watched it, or when a limiter of it dials
 * here: limiters of another release dial the operator of that release. Each namespace is looked at once per term, so
 * an operator that watches it later is not contradicted.
 */
export class UnwatchedStatuses implements LeaseNotes {
  readonly #settings: UnwatchedSettings;
  readonly #seen = new Set<string>();
  /** What the last holder watched and was not looked at yet in this term. */
  readonly #owed = new Set<string>();
  readonly #queue: WorkQueue;
  /** In this term: what was watched before is known, and owes nothing. */
  #isSettled = false;

  constructor(settings: UnwatchedSettings) {
    this.#settings = settings;
    const { log, leadership } = settings;
    this.#queue = new WorkQueue({ name: 'unwatched statuses', workers: 1, log, work: (key) => this.#work(key) });
    leadership.onChange(() => {
      this.#seen.clear();
      this.#owed.clear();
      this.#isSettled = false;
    });
  }

  start(): void {
    this.#queue.start();
  }

  async stop(): Promise<void> {
    await this.#queue.stop();
  }

  note(namespaces: Iterable<string>): void {
    for (const namespace of namespaces) {
      if (this.#seen.has(namespace)) continue;
      this.#seen.add(namespace);
      this.#queue.add(namespace);
    }
  }

  /** Annotations of the Lease as the leader read them; called at each renewal. */
  read(annotations: Readonly<Record<string, string>>): void {
    if (this.#isSettled || this.#owed.size > 0) return;
    this.#owe((annotations[WATCHED_ANNOTATION] ?? '').split(','));
    this.#isSettled = this.#owed.size === 0;
  }

  /** Annotations that the leader adds to the Lease: not before it has done what it owes. */
  wanted(): Readonly<Record<string, string>> {
    const { watched } = this.#settings;
    if (!this.#isSettled) return {};
    return { [WATCHED_ANNOTATION]: watched.length === 0 ? ALL : watched.toSorted().join(',') };
  }

  #owe(namespaces: Iterable<string>): void {
    const { watched } = this.#settings;
    if (watched.length === 0) return;
    const left = [...namespaces].filter((namespace) => namespace !== '' && !watched.includes(namespace));
    for (const namespace of left) this.#owed.add(namespace);
    this.note(left);
  }

  async #work(key: string): Promise<WorkOutcome> {
    if (!this.#settings.leadership.isLeader()) return DONE;
    if (key === ALL) this.#owe(await this.#namespaces());
    else await this.#withdrawAll(key);
    if (this.#owed.delete(key) && this.#owed.size === 0) this.#isSettled = true;
    return DONE;
  }

  /** All that have objects. */
  async #namespaces(): Promise<Set<string>> {
    const lists = KINDS.map((type) => this.#settings.kube.list<StoredObject>(type).catch(emptyWhenForbidden));
    const objects = (await Promise.all(lists)).flatMap(({ items }) => items);
    return new Set(objects.map(({ metadata }) => metadata.namespace));
  }

  async #withdrawAll(namespace: string): Promise<void> {
    const { kube, log } = this.#settings;
    let written = 0;
    for (const type of KINDS) {
      // Where the rights end at the watched namespaces, statuses elsewhere stay as they are.
      const { items } = await kube.list<StoredObject>(type, { namespace }).catch(emptyWhenForbidden);
      for (const object of items) if (await this.#withdraw(type, object)) written += 1;
    }
    if (written > 0) log.warn('namespace is not watched, its statuses say so', { namespace, objects: written });
  }

  /** @returns whether the status was written. Rejects when it changed meanwhile: the namespace is looked at again. */
  async #withdraw(type: Kind, object: StoredObject): Promise<boolean> {
    const { namespace } = object.metadata;
    const withdrawal = { reason: 'NotWatched', message: this.#message(namespace), now: new Date().toISOString() };
    const status = withdrawn(object.status, withdrawal);
    if (status === undefined) return false;
    try {
      // Items of a list do not say their kind.
      await this.#settings.kube.replaceStatus(type, statusBody({ ...object, kind: type.kind }, status));
      return true;
    } catch (error) {
      if (hasStatus(error, 403, 404)) return false;
      throw error;
    }
  }

  #message(namespace: string): string {
    const watched = namesOf(this.#settings.watched);
    return `the operator no longer watches namespace ${namespace} (it watches ${watched}): existing limiters keep their last config, edits take no effect, and new pods get no limiter; add ${namespace} to watchNamespaces (--namespace), or delete this object and restart the pods`;
  }
}

function emptyWhenForbidden(error: unknown): { readonly items: readonly StoredObject[] } {
  if (hasStatus(error, 403, 404)) return { items: [] };
  throw error;
}
