// Controller, push: how many limiters share the buckets of an object. In: the limiters there are, the sidecars of an
// object; out: Sharers resources in the snapshot store. They are resources of their own, so that a limiter that comes
// or goes changes no config.
import { namespaceSharersNameOf, sharersNameOf, type ObjectRef } from '../../contract/limiter-config.ts';
import { toVersioned } from '../../contract/snapshot.ts';
import type { SnapshotStore } from './snapshot-store.ts';
import type { LimiterView, Visibility } from './visibility.ts';

/** Shared limiters: those of all namespaces, and of each single namespace. */
export interface SharedCounts {
  readonly everywhere: number;
  readonly byNamespace: ReadonlyMap<string, number>;
}

export function countShared(views: Iterable<LimiterView>): SharedCounts {
  let everywhere = 0;
  const byNamespace = new Map<string, number>();
  for (const view of views) {
    if (view.kind === 'pod') continue;
    if (view.namespaces === 'all') everywhere += 1;
    else for (const name of new Set(view.namespaces)) byNamespace.set(name, (byNamespace.get(name) ?? 0) + 1);
  }
  return { everywhere, byNamespace };
}

/**
 * `sidecars` share the buckets of one object: told to them and to the shared limiters of its namespace, and to nobody
 * else.
 */
export function publishSidecars(
  store: SnapshotStore,
  ref: ObjectRef,
  sidecars: number,
  visibility: Exclude<Visibility, 'everyone'>,
): void {
  const name = sharersNameOf(ref);
  if (sidecars === 0) {
    store.remove(name);
    return;
  }
  const { kind, namespace } = ref;
  const config = { kind: 'Sharers', namespace, name: `${kind}.${ref.name}`, limiters: sidecars } as const;
  store.set(toVersioned(name, config), visibility);
}

/** How many sidecars {@link publishSidecars} last told of. */
export function publishedSidecars(store: SnapshotStore, ref: ObjectRef): number {
  const bytes = store.get(sharersNameOf(ref))?.resource.bytes;
  return bytes === undefined ? 0 : (JSON.parse(bytes.toString()) as { limiters: number }).limiters;
}

/** Keeps `Sharers/<namespace>/-` true for every namespace that has shared limiters of its own. */
export class NamespaceSharers {
  readonly #store: SnapshotStore;
  #published: ReadonlySet<string> = new Set();

  constructor(store: SnapshotStore) {
    this.#store = store;
  }

  publish({ byNamespace }: SharedCounts): void {
    for (const [namespace, limiters] of byNamespace) {
      const config = { kind: 'Sharers', namespace, name: '-', limiters } as const;
      const visibility = { namespace, workloadSelector: 'every' } as const;
      this.#store.set(toVersioned(namespaceSharersNameOf(namespace), config), visibility);
    }
    for (const namespace of this.#published) {
      if (!byNamespace.has(namespace)) this.#store.remove(namespaceSharersNameOf(namespace));
    }
    this.#published = new Set(byNamespace.keys());
  }
}
