// Reconcile: all objects by their conflict keys, so that an edit of one looks at its rivals and not at every object.
import { type ObjectRef, resourceName } from '../contract/limiter-config.ts';
import { canonicalJson } from '../contract/snapshot.ts';
import { refOf } from './form.ts';
import { type Contender, conflictKeys, isAffected, keysOf, precedes } from './precedence.ts';
import type { InForce, ReconcileSettings, Rival } from './types.ts';

interface Entry {
  readonly rival: Rival;
  readonly keys: readonly string[];
  /** What of the object is in force. */
  held: InForce | undefined;
}

/**
 * Holds every object that there is. The controller keeps it so: `put` on each change of an object or of its last good
 * form, `hold` after each reconcile, `remove` when an object is gone; what `hold` and `remove` return must be
 * reconciled again.
 */
export class RivalIndex {
  readonly #settings: ReconcileSettings;
  readonly #entries = new Map<string, Entry>();
  readonly #names = new Map<string, Set<string>>();

  constructor(settings: ReconcileSettings) {
    this.#settings = settings;
  }

  put(rival: Rival): void {
    const name = resourceName(refOf(rival.object));
    const before = this.#entries.get(name);
    const keys = conflictKeys(rival.object, rival.lastGood, this.#settings);
    for (const key of before?.keys ?? []) this.#unlist(key, name);
    for (const key of keys) this.#names.set(key, (this.#names.get(key) ?? new Set<string>()).add(name));
    this.#entries.set(name, { rival, keys, held: before?.held });
  }

  /**
   * Notes what of an object is in force after a reconcile (`ReconcileOutcome.inForce`).
   * @returns the resource names of those for whom that makes a difference.
   */
  hold(ref: ObjectRef, inForce: InForce | undefined): string[] {
    const name = resourceName(ref);
    const entry = this.#entries.get(name);
    if (entry === undefined) return [];
    const before = entry.held;
    entry.held = inForce;
    return isSame(before, inForce) ? [] : this.#affected(entry.rival, before, inForce);
  }

  /** @returns the resource names of those for whom it makes a difference that the object is gone. */
  remove(ref: ObjectRef): string[] {
    const name = resourceName(ref);
    const entry = this.#entries.get(name);
    if (entry === undefined) return [];
    this.#entries.delete(name);
    for (const key of entry.keys) this.#unlist(key, name);
    return this.#affected(entry.rival, entry.held, undefined);
  }

  /** The objects that have at least one of these keys. */
  rivalsOf(keys: readonly string[]): Rival[] {
    const names = new Set(keys.flatMap((key) => [...(this.#names.get(key) ?? [])]));
    return [...names].flatMap((name) => this.#entries.get(name)?.rival ?? []);
  }

  /** Those that come after the object and conflict with one of its two claims and not with the other. */
  #affected({ object }: Rival, before: Contender | undefined, after: Contender | undefined): string[] {
    const keys = [before, after].flatMap((claim) => (claim === undefined ? [] : keysOf(claim)));
    return this.rivalsOf(keys)
      .filter((rival) => precedes(object, rival.object) && isAffected(rival, before, after, this.#settings))
      .map((rival) => resourceName(refOf(rival.object)));
  }

  #unlist(key: string, name: string): void {
    const names = this.#names.get(key);
    names?.delete(name);
    if (names?.size === 0) this.#names.delete(key);
  }
}

/** Whether two claims are the same requests at the same places. */
function isSame(a: InForce | undefined, b: InForce | undefined): boolean {
  if (a === undefined || b === undefined || a === b) return a === b;
  return (
    a.resource.version === b.resource.version &&
    canonicalJson(a.workloadSelector ?? {}) === canonicalJson(b.workloadSelector ?? {})
  );
}
