// Controller, push: everything that is to be in effect, by resource name. In: what reconcile compiled; out: the current
// resource of a name, the names that a limiter sees, and (coalesced) which names changed.
import { loadPushProtocol, type WireResource } from '../../contract/push-protocol.ts';
import { canonicalJson, type VersionedResource } from '../../contract/snapshot.ts';
import { OBJECT_KINDS } from '../../contract/limiter-config.ts';
import { systemClock, type Clock } from '../../lib/clock.ts';
import { ChangeFeed, type ChangeListener } from './change-feed.ts';
import { sees, type LimiterView, type Visibility } from './visibility.ts';

/** A resource, who sees it, and how it goes over the wire (encoded once for all limiters). */
export interface StoredResource {
  readonly resource: VersionedResource;
  readonly visibility: Visibility;
  readonly wire: WireResource;
  /** Size on the wire in bytes, near enough to split responses by. */
  readonly wireBytes: number;
  /** When this version was set, monotonic ms: the beginning of its push latency. */
  readonly setAtMs: number;
}

/** The desired state of all limiters. Setting the same version with the same visibility again changes nothing. */
export class SnapshotStore {
  readonly #resources = new Map<string, StoredResource>();
  /** Namespace ('' = everyone) -> names. */
  readonly #byNamespace = new Map<string, Set<string>>();
  readonly #changes = new ChangeFeed();
  readonly #clock: Clock;
  readonly #watched: ReadonlySet<string>;
  /** Kinds whose resources are made here: of another one, as of a newer operator's, nothing is known. */
  readonly #kinds = new Set<string>(OBJECT_KINDS);

  /** `watched`: the namespaces that this operator watches; empty: all. */
  constructor(clock: Clock = systemClock, watched: readonly string[] = []) {
    this.#clock = clock;
    this.#watched = new Set(watched);
  }

  /**
   * Makes `resource` the current one of its name; the newest wins. Listeners hear of it in the next turn of the event
   * loop.
   * @throws Error when a name moves to another namespace: a name contains its namespace.
   */
  set(resource: VersionedResource, visibility: Visibility): void {
    const { name } = resource;
    this.#kinds.add(kindIn(name));
    const before = this.#resources.get(name);
    const namespace = namespaceOf(visibility);
    if (before !== undefined && namespaceOf(before.visibility) !== namespace) {
      throw new Error(`resource ${name} cannot move to another namespace`);
    }
    const isSameVersion = before?.resource.version === resource.version;
    if (isSameVersion && canonicalJson(before.visibility) === canonicalJson(visibility)) return;
    const wire = isSameVersion ? before.wire : loadPushProtocol().encode(resource);
    const wireBytes = name.length + resource.bytes.length + 128;
    this.#resources.set(name, { resource, visibility, wire, wireBytes, setAtMs: this.#clock.monotonicMs() });
    this.#byNamespace.set(namespace, (this.#byNamespace.get(namespace) ?? new Set()).add(name));
    this.#changes.announce([name]);
  }

  /** Takes a resource away from every limiter: only for an object that is gone. */
  remove(name: string): void {
    const before = this.#resources.get(name);
    if (before === undefined) return;
    this.#resources.delete(name);
    const namespace = namespaceOf(before.visibility);
    const names = this.#byNamespace.get(namespace);
    names?.delete(name);
    if (names?.size === 0) this.#byNamespace.delete(namespace);
    this.#changes.announce([name]);
  }

  /**
   * Whether a resource that is not in the store is known to be gone: its kind is made here and its namespace is
   * watched.
   */
  isWatched(name: string): boolean {
    return this.#kinds.has(kindIn(name)) && this.watchesNamespace(namespaceIn(name));
  }

  /** `-` is where resources live that belong to no namespace. */
  watchesNamespace(namespace: string): boolean {
    return this.#watched.size === 0 || namespace === '-' || this.#watched.has(namespace);
  }

  get(name: string): StoredResource | undefined {
    return this.#resources.get(name);
  }

  get size(): number {
    return this.#resources.size;
  }

  /** The names that a limiter sees. Costs the objects of its namespaces, not all objects. */
  namesSeenBy(limiter: LimiterView): string[] {
    const namespaces = new Set([...namespacesOf(limiter, this.#byNamespace.keys()), '']);
    return [...namespaces]
      .flatMap((namespace) => [...(this.#byNamespace.get(namespace) ?? [])])
      .filter((name) => this.isSeenBy(limiter, name));
  }

  /** Whether the resource exists and the limiter is to have it. */
  isSeenBy(limiter: LimiterView, name: string): boolean {
    const stored = this.#resources.get(name);
    return stored !== undefined && sees(limiter, stored.visibility);
  }

  /**
   * Calls `listener` with the names that changed since its last call: many changes in one turn of the event loop are
   * one call.
   * @returns a function that ends the subscription.
   */
  subscribe(listener: ChangeListener): () => void {
    return this.#changes.subscribe(listener);
  }
}

function kindIn(name: string): string {
  return name.split('/', 1)[0] ?? '';
}

function namespaceIn(name: string): string {
  return name.split('/', 2)[1] ?? '';
}

/** The namespace part of a visibility; '' for what everyone sees. */
function namespaceOf(visibility: Visibility): string {
  return visibility === 'everyone' ? '' : visibility.namespace;
}

function namespacesOf(limiter: LimiterView, all: Iterable<string>): Iterable<string> {
  if (limiter.kind === 'pod') return [limiter.pod.namespace];
  return limiter.namespaces === 'all' ? all : limiter.namespaces;
}
