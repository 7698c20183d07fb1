// Controller: the statuses of objects that no operator follows any more. Input: namespaces that are not watched and
// whose limiters came to this operator. Output: the statuses of their objects change to Unknown (NotWatched).
import { type Kind, KINDS } from '../../crd/kinds/kinds.ts';
import type { Logger } from '../../lib/log.ts';
import { namesOf } from '../../reconcile/names.ts';
import { withdrawn } from '../../reconcile/status/withdrawn.ts';
import type { Leadership } from '../election/leadership.ts';
import { hasStatus, type Kube } from '../kube/kube-api.ts';
import { statusBody, type StoredObject } from '../kube/kube-types.ts';
import { DONE, WorkQueue, type WorkOutcome } from '../kube/work-queue.ts';

export interface UnwatchedSettings {
  /** It writes only while the lease is held. */
  readonly kube: Pick<Kube, 'list' | 'replaceStatus'>;
  /** The namespaces that are watched. */
  readonly watched: readonly string[];
  readonly leadership: Leadership;
  readonly log: Logger;
}

/**
 * A limiter of the namespace that dials this operator shows that the namespace belonged to it: limiters of another
 * release dial the operator of that release. Each namespace is looked at once per term, so an operator that watches
 * it later is not contradicted.
 */
export class UnwatchedStatuses {
  readonly #settings: UnwatchedSettings;
  readonly #seen = new Set<string>();
  readonly #queue: WorkQueue;

  constructor(settings: UnwatchedSettings) {
    this.#settings = settings;
    const { log, leadership } = settings;
    this.#queue = new WorkQueue({ name: 'unwatched statuses', workers: 1, log, work: (key) => this.#work(key) });
    leadership.onChange(() => {
      this.#seen.clear();
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

  async #work(namespace: string): Promise<WorkOutcome> {
    const { kube, leadership, log } = this.#settings;
    if (!leadership.isLeader()) return DONE;
    let written = 0;
    for (const type of KINDS) {
      // Where the rights end at the watched namespaces, statuses elsewhere stay as they are.
      const { items } = await kube.list<StoredObject>(type, { namespace }).catch(emptyWhenForbidden);
      for (const object of items) if (await this.#withdraw(type, object)) written += 1;
    }
    if (written > 0) log.warn('namespace is not watched, its statuses say so', { namespace, objects: written });
    return DONE;
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
