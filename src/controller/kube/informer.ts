// Controller, kube: a local copy of all objects of one type. Input: list and watch of the API server. Output: the
// current objects by key, and one call of every handler for each change, whatever fails on the way.
import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from '../../lib/log.ts';
import { errorCode, messageOf } from '../../lib/thrown.ts';
import { hasStatus, type Kube } from './kube-api.ts';
import { objectKey, type KubeObject, type ResourceType } from './kube-types.ts';
import { ObjectFeed, type ChangeHandler, type Feed } from './object-feed.ts';

export interface InformerSettings<T extends KubeObject> {
  readonly kube: Pick<Kube, 'list' | 'watch'>;
  readonly type: ResourceType;
  /** Empty = all namespaces. */
  readonly namespaces: readonly string[];
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** Keeps what the operator reads: memory is proportional to what this returns. */
  readonly trim: (object: T) => T;
  /** What to keep of an object instead of `held`: of parts that are the same, those that are there already. */
  readonly share?: (object: T, held: T) => T;
  readonly log: Logger;
  readonly timing?: Partial<InformerTiming>;
  /** Called after each complete list, when the handlers have heard of it. */
  readonly onListed?: () => void;
  /** Called with each failure, instead of a line in the log. */
  readonly onFailure?: (error: unknown) => void;
  /** In [0, 1); spreads retries and watch ends. */
  readonly random?: () => number;
}

export interface InformerTiming {
  /** First pause after a failure, doubled on each further one. */
  readonly baseBackoffMs: number;
  readonly maxBackoffMs: number;
  /** Shortest and longest life of one watch. */
  readonly watchSeconds: readonly [number, number];
  /**
   * A watch without an event for this long is restarted, in case its connection is dead. Where nothing changes, the
   * API server sends a first bookmark only after two minutes, so silence is not a failure.
   */
  readonly silenceMs: number;
  readonly pageSize: number;
}

export interface InformerStats {
  lists: number;
  failures: number;
}

const TIMING: InformerTiming = {
  baseBackoffMs: 200,
  maxBackoffMs: 10_000,
  watchSeconds: [240, 480],
  silenceMs: 90_000,
  pageSize: 500,
};
/**
 * After this many watches that failed as with a version from another time (a restored etcd) everything is listed
 * again.
 */
const DOUBT_AFTER = 5;
/** A watch that ended sooner, without any event, counts as a failure: it must not become a tight loop. */
const SHORTEST_WATCH_MS = 1000;

/**
 * What the client library's own informer lacks: it restarts after every error with back-off and jitter, lists again
 * on 410, says `hasSynced` only after a first complete list, pages, and keeps the changes whose handler threw until
 * it succeeds.
 */
export class Informer<T extends KubeObject> implements Feed<T> {
  readonly stats: InformerStats = { lists: 0, failures: 0 };
  readonly #settings: InformerSettings<T>;
  readonly #timing: InformerTiming;
  readonly #feed: ObjectFeed<T>;
  readonly #stopping = new AbortController();
  readonly #synced = Promise.withResolvers<undefined>();
  /** Scopes (namespaces, or the whole cluster) whose first list is still to come. */
  readonly #unsynced: Set<string>;
  readonly #states = new Map<string, FollowState>();
  #running: Promise<unknown> = Promise.resolve();
  #trouble: string | undefined;

  constructor(settings: InformerSettings<T>) {
    this.#settings = settings;
    this.#timing = { ...TIMING, ...settings.timing };
    this.#unsynced = new Set(settings.namespaces.length === 0 ? [''] : settings.namespaces);
    const { baseBackoffMs: retryMs } = this.#timing;
    this.#feed = new ObjectFeed({ name: settings.type.plural, log: settings.log, retryMs });
  }

  get hasSynced(): boolean {
    return this.#unsynced.size === 0;
  }

  /** Why the first list is still to come; undefined: it is there, or nothing has failed yet. */
  get trouble(): string | undefined {
    return this.hasSynced ? undefined : this.#trouble;
  }

  get handlerErrors(): number {
    return this.#feed.handlerErrors;
  }

  get size(): number {
    return this.#feed.size;
  }

  get(key: string): T | undefined {
    return this.#feed.get(key);
  }

  values(): IterableIterator<T> {
    return this.#feed.values();
  }

  /** Takes over what was read meanwhile, as if the watch had brought it. */
  accept(object: T): void {
    if (!this.#isOutdated(object)) this.#feed.set(objectKey(object), this.#keep(object));
  }

  /**
   * Takes over what a write of our own returned, without telling the handlers: the next look sees it, and the event
   * that the watch will bring for it is not a change.
   */
  observe(object: T): void {
    const held = this.#feed.get(objectKey(object));
    if (held !== undefined && !isOlder(object, held)) this.#feed.replaceSilently(this.#keep(object));
  }

  /** To be called before `start`. A handler that throws is called again, with back-off, with the then current state. */
  onChange(handler: ChangeHandler<T>): void {
    this.#feed.onChange(handler);
  }

  start(): void {
    this.#running = Promise.all([...this.#unsynced].map((scope) => this.#follow(scope)));
  }

  /** Resolves after the first complete list of every scope; never rejects: a list that fails is tried again. */
  whenSynced(): Promise<void> {
    return this.#synced.promise;
  }

  /** Lists everything again; resolves when the copy is as new as this call. A watch may lag, and nobody can tell. */
  async refresh(): Promise<void> {
    const asked = [...this.#states.values()].map((state) => {
      const done = Promise.withResolvers<undefined>();
      state.asked.push(done);
      state.turn.abort();
      return done.promise;
    });
    await Promise.all(asked);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    for (const { asked } of this.#states.values()) for (const { reject } of asked) reject(new Error('stopped'));
    await this.#feed.stop();
    await this.#running;
  }

  /** Follows one scope until stopped: list, then watch from there, and repeat. */
  async #follow(scope: string): Promise<void> {
    const state: FollowState = { failures: 0, doubts: 0, asked: [], turn: new AbortController() };
    this.#states.set(scope, state);
    while (!this.#stopping.signal.aborted) {
      try {
        state.version = state.asked.length > 0 ? undefined : state.version;
        state.version ??= await this.#listFor(state, scope);
        await this.#watchFrom(scope, state.version, state);
      } catch (error) {
        if (this.#isStopping()) return;
        if (state.turn.signal.aborted) continue;
        this.#noteFailure(scope, state, error);
      }
      if (state.failures > 0) await this.#backOff(state);
    }
  }

  /** Answers those who asked before it began. */
  async #listFor(state: FollowState, scope: string): Promise<string> {
    const answered = state.asked.length;
    state.turn = new AbortController();
    const version = await this.#list(scope);
    for (const { resolve } of state.asked.splice(0, answered)) resolve(undefined);
    return version;
  }

  async #watchFrom(scope: string, version: string, state: FollowState): Promise<void> {
    const cursor = new WatchCursor(version);
    let wasSilent = false;
    try {
      await this.#watch(scope, cursor, AbortSignal.any([this.#stopping.signal, state.turn.signal]));
    } catch (error) {
      wasSilent = isSilence(error);
      if (!wasSilent) throw error;
    } finally {
      state.version = cursor.version;
      if (cursor.hasAdvanced) state.doubts = 0;
      if (cursor.isHealthy) state.failures = 0;
    }
    if (wasSilent) this.#noteSilence(scope, state);
    else if (!cursor.isHealthy) state.failures++;
  }

  /** Where nothing changes nothing comes: no failure. The next watch shows whether the API server is there. */
  #noteSilence(scope: string, state: FollowState): void {
    this.#settings.log.debug('watch was silent', { type: this.#settings.type.plural, scope });
    doubt(state);
  }

  #isStopping(): boolean {
    return this.#stopping.signal.aborted;
  }

  #noteFailure(scope: string, state: FollowState, error: unknown): void {
    state.failures++;
    this.#reportFailure(scope, state.failures, error);
    if (isDoubtful(error)) doubt(state);
    if (hasStatus(error, 410)) listAgain(state);
  }

  async #backOff({ failures, turn }: FollowState): Promise<void> {
    const { baseBackoffMs, maxBackoffMs } = this.#timing;
    const longestMs = Math.min(maxBackoffMs, baseBackoffMs * 2 ** Math.min(failures - 1, 20));
    const waitMs = longestMs * (1 - this.#random() / 2);
    const signal = AbortSignal.any([this.#stopping.signal, turn.signal]);
    await pause(waitMs, undefined, { signal }).catch(() => undefined);
  }

  #random(): number {
    return (this.#settings.random ?? Math.random)();
  }

  #reportFailure(scope: string, failures: number, error: unknown): void {
    this.stats.failures++;
    this.#trouble = messageOf(error);
    if (this.#settings.onFailure !== undefined) {
      this.#settings.onFailure(error);
      return;
    }
    const { plural } = this.#settings.type;
    this.#settings.log.log(levelOf(error, failures), 'watch interrupted', {
      type: plural,
      scope,
      failures,
      error: messageOf(error),
    });
  }

  /** Reads every page, then makes the store equal to it. @returns the version to watch from. */
  async #list(scope: string): Promise<string> {
    const { kube, type, labelSelector, fieldSelector } = this.#settings;
    const selectors = { labelSelector, fieldSelector };
    const namespace = scope === '' ? undefined : scope;
    const found = new Map<string, T>();
    let next = '';
    for (;;) {
      const options = { namespace, ...selectors, limit: this.#timing.pageSize, next, signal: this.#stopping.signal };
      const page = await kube.list<T>(type, options);
      for (const item of page.items) found.set(objectKey(item), this.#keep(item));
      next = page.next;
      if (next !== '') continue;
      this.stats.lists++;
      this.#replace(namespace, found);
      this.#markSynced(scope);
      this.#settings.onListed?.();
      return page.resourceVersion;
    }
  }

  #replace(namespace: string | undefined, found: ReadonlyMap<string, T>): void {
    for (const object of [...this.#feed.values()]) {
      const inScope = namespace === undefined || object.metadata.namespace === namespace;
      if (inScope && !found.has(objectKey(object))) this.#feed.set(objectKey(object), undefined);
    }
    for (const [key, object] of found) this.#feed.set(key, object);
  }

  #markSynced(scope: string): void {
    this.#unsynced.delete(scope);
    if (this.#unsynced.size === 0) this.#synced.resolve(undefined);
  }

  async #watch(scope: string, cursor: WatchCursor, signal: AbortSignal): Promise<void> {
    const { kube, type, labelSelector, fieldSelector } = this.#settings;
    const [shortest, longest] = this.#timing.watchSeconds;
    const events = kube.watch<T>(type, {
      namespace: scope === '' ? undefined : scope,
      labelSelector,
      fieldSelector,
      resourceVersion: cursor.version,
      timeoutSeconds: Math.round(shortest + (longest - shortest) * this.#random()),
      silenceMs: this.#timing.silenceMs,
      signal,
    });
    for await (const { type: kind, object } of events) {
      if (kind === 'DELETED') this.#feed.set(objectKey(object), undefined);
      else if (kind !== 'BOOKMARK' && !this.#isOutdated(object)) this.#feed.set(objectKey(object), this.#keep(object));
      cursor.advance(object.metadata.resourceVersion);
    }
  }

  #keep(object: T): T {
    const { trim, share } = this.#settings;
    const held = this.#feed.get(objectKey(object));
    return held === undefined || share === undefined ? trim(object) : share(trim(object), held);
  }

  /** An event that is behind what a write of our own returned. */
  #isOutdated(object: T): boolean {
    const held = this.#feed.get(objectKey(object));
    return held !== undefined && isOlder(object, held);
  }
}

interface FollowState {
  /** undefined: to be listed first. */
  version?: string | undefined;
  /** In a row. */
  failures: number;
  doubts: number;
  /** Who waits for a list that has not begun yet. */
  readonly asked: PromiseWithResolvers<undefined>[];
  /** Aborted: the watch ends, for a new list. */
  turn: AbortController;
}

/** The answers to a version that the API server does not know yet. One that is away says nothing about versions. */
function isDoubtful(error: unknown): boolean {
  return hasStatus(error, 400, 500, 504);
}

/** Nothing came for `silenceMs`: nothing has changed, or the connection is dead. */
function isSilence(error: unknown): boolean {
  return errorCode(error) === 'UND_ERR_BODY_TIMEOUT';
}

/** One more watch after which the version may be from another time; silence is what some API servers answer to one. */
function doubt(state: FollowState): void {
  state.doubts++;
  if (state.doubts >= DOUBT_AFTER) listAgain(state);
}

function listAgain(state: FollowState): void {
  Object.assign(state, { version: undefined, doubts: 0 });
}

/**
 * An expired version is part of the protocol, a single failure that of a connection; what repeats is for somebody to
 * read.
 */
function levelOf(error: unknown, failures: number): 'debug' | 'info' | 'warn' {
  if (hasStatus(error, 410)) return 'debug';
  return failures === 1 ? 'info' : 'warn';
}

/** How far a watch came. Healthy: it brought something, or lived long enough not to be a tight loop. */
class WatchCursor {
  version: string;
  hasAdvanced = false;
  readonly #beganMs = performance.now();

  constructor(version: string) {
    this.version = version;
  }

  get isHealthy(): boolean {
    return this.hasAdvanced || performance.now() - this.#beganMs >= SHORTEST_WATCH_MS;
  }

  advance(version: string | undefined): void {
    if (version === undefined) return;
    this.version = version;
    this.hasAdvanced = true;
  }
}

/** Versions of one object are comparable numbers in every API server that stores in etcd; others are taken as newer. */
function isOlder(object: KubeObject, than: KubeObject): boolean {
  if (object.metadata.uid !== than.metadata.uid) return false;
  return Number(object.metadata.resourceVersion) < Number(than.metadata.resourceVersion);
}
