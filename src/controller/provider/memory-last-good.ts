// Controller: the last good forms of an operator without a cluster. Input: forms that became good. Output: the same,
// as long as it runs.
import type { LastGood } from '../../reconcile/types.ts';
import type { StoredObject } from '../kube/kube-types.ts';
import type { LastGoodStore } from './provider.ts';

export class MemoryLastGood implements LastGoodStore {
  readonly #kept: Map<string, LastGood>;

  constructor(known: Iterable<[string, LastGood]> = []) {
    this.#kept = new Map(known);
  }

  get(uid: string): LastGood | undefined {
    return this.#kept.get(uid);
  }

  save(object: StoredObject, lastGood: LastGood): void {
    this.#kept.set(object.metadata.uid ?? '', lastGood);
  }

  isKept(): boolean {
    return true;
  }

  /** Nothing is ever waited for. */
  onKept(): void {
    return;
  }

  forget(object: StoredObject): void {
    this.#kept.delete(object.metadata.uid ?? '');
  }

  /** Objects that went while nobody looked keep nothing. */
  keepOnly(uids: ReadonlySet<string>): void {
    for (const uid of this.#kept.keys()) if (!uids.has(uid)) this.#kept.delete(uid);
  }

  /** By UID. */
  entries(): [string, LastGood][] {
    return [...this.#kept];
  }

  /** Resolves when everything is where it is kept. */
  stop(): Promise<void> {
    return Promise.resolve();
  }
}
