// Controller: where objects come from and where the truth about them goes. A cluster or a folder of files stands behind
// it; the operator is the same.
import type { ObjectKind } from '../../contract/limiter-config.ts';
import type { Condition } from '../../crd/types.ts';
import type { LastGood, ObjectStatus, SecretFacts } from '../../reconcile/types.ts';
import type { Authenticator } from '../push/authenticator.ts';
import type { Feed } from '../kube/object-feed.ts';
import type { Kube } from '../kube/kube-api.ts';
import type {
  CoreEvent,
  EndpointSlice,
  KubeObject,
  ObjectIdentity,
  Pod,
  Service,
  StoredObject,
} from '../kube/kube-types.ts';

/**
 * `written`: it is there. `outdated`: the object has changed since it was read; look again. `gone`: there is no
 * object.
 */
export type WriteResult = 'written' | 'outdated' | 'gone';

export interface StatusSink {
  /** Replaces the status of exactly this version of the object. Rejects when there was no answer. */
  write(object: StoredObject, status: ObjectStatus): Promise<WriteResult>;
  /** Tells people that the reason of a condition changed. Never fails the caller. */
  tell(object: StoredObject, condition: Condition): void;
}

/** The last good form of each object, kept over restarts. */
export interface LastGoodStore {
  get(uid: string): LastGood | undefined;
  /** Is remembered at once and written soon, again and again until it is there. */
  save(object: StoredObject, lastGood: LastGood): void;
  /**
   * Whether what was saved of the object is where a restart finds it, or can never be (it was refused, which is
   * logged).
   */
  isKept(object: StoredObject): boolean;
  /** Calls `listener` with each object that was not kept and now is. */
  onKept(listener: (object: ObjectIdentity) => void): void;
  /** The object is gone. */
  forget(object: StoredObject): void;
}

/** The Secrets that objects name. */
export interface SecretReader {
  /** Follows the Secrets `<namespace>/<name>` for an object, instead of those that it named before. */
  want(object: string, secrets: readonly string[]): void;
  /** The object is gone. */
  forget(object: string): void;
  /** What is known now; a Secret that nobody wants is `unknown`. */
  factsOf(namespace: string, name: string): SecretFacts;
  /** false: about one of the Secrets of the object nothing has been heard yet. */
  isKnown(object: string): boolean;
  /** Resolves when something was heard of every Secret that is wanted now. */
  whenKnown(): Promise<void>;
  /** Calls `listener` with the objects that want a Secret of which something new is known. */
  onChange(listener: (objects: Iterable<string>) => void): void;
}

export interface Provider {
  /** The objects, a feed for each kind; keys are `<namespace>/<name>`. */
  readonly objects: Readonly<Record<ObjectKind, Feed<StoredObject>>>;
  readonly services: Feed<Service>;
  readonly pods: Feed<Pod>;
  /** Those that say that a pod could not be made. May never sync, as below. */
  readonly creationEvents: Feed<CoreEvent>;
  /** The API server; absent: there is none. */
  readonly kube?: Pick<Kube, 'get'>;
  /** With their injection label; by name. May never sync, as below. */
  readonly namespaces: Feed<KubeObject>;
  /** Those that no Service's selector makes. May never sync: not every cluster grants it. */
  readonly endpointSlices: Feed<EndpointSlice>;
  readonly secrets: SecretReader;
  readonly lastGood: LastGoodStore;
  readonly statusSink: StatusSink;
  readonly authenticate: Authenticator;
  /** Begins to follow; handlers are called from now on. */
  start(): void;
  /** Resolves when every feed has synced and the last good forms are loaded. */
  whenReady(): Promise<void>;
  isReady(): boolean;
  /** What `whenReady` waits for, each with its last failure. */
  waitsFor(): readonly string[];
  /** Counters for metrics, by feed. */
  stats(): Readonly<
    Record<string, { readonly failures: number; readonly handlerErrors: number; readonly size: number }>
  >;
  /** Work that waits, by queue; for metrics. */
  depths(): Readonly<Record<string, number>>;
  /** Only while this holds may anything be written outside the process. */
  stop(): Promise<void>;
}

/** The objects of all kinds. */
export function objectsOf({ objects }: Pick<Provider, 'objects'>): StoredObject[] {
  return Object.values(objects).flatMap((feed) => [...feed.values()]);
}
