// Controller: the objects of one type, by key, and who must hear of their changes. Input: objects, set and removed.
// Output: one call of every handler for each change, repeated until the handler succeeds.
import type { Logger } from '../../lib/log.ts';
import { messageOf } from '../../lib/thrown.ts';
import { objectKey, type KubeObject } from './kube-types.ts';
import { DONE, WorkQueue } from './work-queue.ts';

/**
 * What happened to a key since the handler last succeeded for it. Either side is undefined when there was no object.
 */
export interface Change<T> {
  readonly key: string;
  readonly before: T | undefined;
  readonly after: T | undefined;
}

export type ChangeHandler<T> = (change: Change<T>) => void;

/** The read side of an informer: what reconcile and its neighbours are given. */
export interface ObjectStore<T> {
  readonly hasSynced: boolean;
  get(key: string): T | undefined;
  values(): IterableIterator<T>;
}

/** A store that also tells of every change. */
export interface Feed<T> extends ObjectStore<T> {
  /** To be called before the feed is started. A handler that throws is called again, with the then current state. */
  onChange(handler: ChangeHandler<T>): void;
}

export interface ObjectFeedSettings {
  /** For logs: the plural of the type. */
  readonly name: string;
  readonly log: Logger;
  /** Pause before a handler that threw is called again, doubled each time; ms. */
  readonly retryMs?: number;
}

export class ObjectFeed<T extends KubeObject> implements Feed<T> {
  handlerErrors = 0;
  hasSynced = false;
  readonly #settings: ObjectFeedSettings;
  readonly #objects = new Map<string, T>();
  readonly #handlers: ChangeHandler<T>[] = [];
  /** By key, the handlers that failed and the state that they saw last. */
  readonly #undelivered = new Map<string, Map<ChangeHandler<T>, T | undefined>>();
  readonly #redelivery: WorkQueue;

  constructor(settings: ObjectFeedSettings) {
    this.#settings = settings;
    this.#redelivery = new WorkQueue({
      name: `redelivery of ${settings.name}`,
      workers: 1,
      log: settings.log,
      work: (key) => {
        this.#redeliver(key);
        return DONE;
      },
    });
    this.#redelivery.start();
  }

  get size(): number {
    return this.#objects.size;
  }

  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  values(): IterableIterator<T> {
    return this.#objects.values();
  }

  keys(): IterableIterator<string> {
    return this.#objects.keys();
  }

  onChange(handler: ChangeHandler<T>): void {
    this.#handlers.push(handler);
  }

  /** Replaces what is known without telling anyone. */
  replaceSilently(object: T): void {
    this.#objects.set(objectKey(object), object);
  }

  /** Sets or (undefined) removes; the same version again is not a change, another UID is a removal and an addition. */
  set(key: string, after: T | undefined): void {
    const before = this.#objects.get(key);
    if (before === after || isSame(before, after)) return;
    if (before !== undefined && after !== undefined && before.metadata.uid !== after.metadata.uid) {
      this.set(key, undefined);
      this.set(key, after);
      return;
    }
    if (after === undefined) this.#objects.delete(key);
    else this.#objects.set(key, after);
    const delivered = this.#handlers.map((handler) => this.#deliver(handler, { key, before, after }));
    if (delivered.includes(false)) this.#redelivery.addAfter(key, this.#settings.retryMs ?? 200);
  }

  async stop(): Promise<void> {
    await this.#redelivery.stop();
  }

  /** @returns false when the handler threw: it is then remembered with what it saw last. */
  #deliver(handler: ChangeHandler<T>, change: Change<T>): boolean {
    const { key, after } = change;
    const failed = this.#undelivered.get(key);
    const before = failed?.has(handler) === true ? failed.get(handler) : change.before;
    try {
      handler({ key, before, after });
      failed?.delete(handler);
      if (failed?.size === 0) this.#undelivered.delete(key);
      return true;
    } catch (error) {
      this.handlerErrors++;
      const { log, name } = this.#settings;
      log.error('handler failed, will be called again', { type: name, key, error: messageOf(error) });
      const handlers = failed ?? new Map<ChangeHandler<T>, T | undefined>();
      this.#undelivered.set(key, handlers.set(handler, before));
      return false;
    }
  }

  /** Throws when a handler still fails, so that the queue waits longer each time. */
  #redeliver(key: string): void {
    for (const [handler, before] of [...(this.#undelivered.get(key) ?? [])]) {
      this.#deliver(handler, { key, before, after: this.#objects.get(key) });
    }
    if (this.#undelivered.has(key)) throw new Error('a handler still fails');
  }
}

function isSame<T extends KubeObject>(a: T | undefined, b: T | undefined): boolean {
  if (a === undefined || b === undefined) return false;
  const version = a.metadata.resourceVersion;
  return version !== undefined && version === b.metadata.resourceVersion && a.metadata.uid === b.metadata.uid;
}
