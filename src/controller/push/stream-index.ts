// Controller, push: finds the streams that a change concerns. In: streams with their views; out: those of a resource, a
// pod, a limiter.
import type { LimiterView } from './visibility.ts';

/** A stream as the index sees it. Only the labels of a pod may change while it is in the index. */
export interface IndexedStream {
  readonly limiterId: string;
  view: LimiterView;
}

/** All live streams. Looking one change up costs the limiters of its namespace, not all limiters. */
export class StreamIndex<T extends IndexedStream> {
  readonly #byLimiter = new Map<string, T>();
  readonly #byPod = new Map<string, Set<T>>();
  readonly #byNamespace = new Map<string, Set<T>>();
  readonly #everywhere = new Set<T>();

  /** There is one stream per limiter: `ofLimiter` is to be removed first. */
  add(stream: T): void {
    this.#byLimiter.set(stream.limiterId, stream);
    for (const set of this.#setsOf(stream, true)) set.add(stream);
  }

  delete(stream: T): void {
    if (this.#byLimiter.get(stream.limiterId) !== stream) return;
    this.#byLimiter.delete(stream.limiterId);
    for (const set of this.#setsOf(stream, false)) set.delete(stream);
    this.#prune(stream);
  }

  get size(): number {
    return this.#byLimiter.size;
  }

  all(): T[] {
    return [...this.#byLimiter.values()];
  }

  ofLimiter(limiterId: string): T | undefined {
    return this.#byLimiter.get(limiterId);
  }

  ofPod(uid: string): T[] {
    return [...(this.#byPod.get(uid) ?? [])];
  }

  /** The streams that may see some of the names, each with those names. */
  concernedBy(names: Iterable<string>): Map<T, string[]> {
    const concerned = new Map<T, string[]>();
    const note = (stream: T, name: string): void => {
      const noted = concerned.get(stream);
      if (noted === undefined) concerned.set(stream, [name]);
      else noted.push(name);
    };
    for (const name of names) {
      const namespace = name.split('/')[1] ?? '';
      if (namespace === '-') for (const stream of this.#byLimiter.values()) note(stream, name);
      else for (const stream of this.#everywhere) note(stream, name);
      for (const stream of this.#byNamespace.get(namespace) ?? []) note(stream, name);
    }
    return concerned;
  }

  #setsOf({ view }: T, isNew: boolean): Set<T>[] {
    const sets: Set<T>[] = [];
    if (view.pod !== undefined) sets.push(setIn(this.#byPod, view.pod.uid, isNew));
    if (view.kind === 'shared' && view.namespaces === 'all') return [...sets, this.#everywhere];
    return [...sets, ...namespacesOf(view).map((namespace) => setIn(this.#byNamespace, namespace, isNew))];
  }

  #prune({ view }: T): void {
    if (view.pod !== undefined && this.#byPod.get(view.pod.uid)?.size === 0) this.#byPod.delete(view.pod.uid);
    for (const namespace of namespacesOf(view)) {
      if (this.#byNamespace.get(namespace)?.size === 0) this.#byNamespace.delete(namespace);
    }
  }
}

function namespacesOf(view: LimiterView): readonly string[] {
  if (view.kind === 'pod') return [view.pod.namespace];
  return view.namespaces === 'all' ? [] : view.namespaces;
}

function setIn<T>(map: Map<string, Set<T>>, key: string, isNew: boolean): Set<T> {
  const set = map.get(key) ?? new Set<T>();
  if (isNew) map.set(key, set);
  return set;
}
