// Reconcile: all objects by their conflict keys, so that an edit of one looks at its rivals and not at every object.
import { type ObjectRef, resourceName } from '../contract/limiter-config.ts';
import { canonicalJson } from '../contract/snapshot.ts';
import { refOf } from './form.ts';
import { conflictKeys, keysOf } from './precedence.ts';
import type { InForce, ReconcileSettings, Rival } from './types.ts';

interface Entry {
  readonly rival: Rival;
  readonly keys: readonly string[];
  /** The keys of the form that is in force, and all of it that rivals look at. */
  held: readonly string[];
  heldDigest: string;
}

/**
 * Holds every object that there is. The controller keeps it so: `put` on each change of an object or of its last good form,
 * `hold` after each reconcile, `remove` when an object is gone; what `hold` and `remove` return must be reconciled again.
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
    this.#entries.set(name, { rival, keys, held: before?.held ?? [], heldDigest: before?.heldDigest ?? '' });
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
    const held = inForce === undefined ? [] : keysOf(inForce);
    const heldDigest = held.length === 0 ? '' : canonicalJson([held, inForce?.workloadSelector ?? {}]);
    if (heldDigest === entry.heldDigest) return [];
    Object.assign(entry, { held, heldDigest });
    return this.#sharing([...before, ...held], name);
  }

  /** @returns the resource names of those for whom it makes a difference that the object is gone. */
  remove(ref: ObjectRef): string[] {
    const name = resourceName(ref);
    const entry = this.#entries.get(name);
    if (entry === undefined) return [];
    this.#entries.delete(name);
    for (const key of entry.keys) this.#unlist(key, name);
    return this.#sharing([...entry.keys, ...entry.held], name);
  }

  /** The objects that have at least one of these keys. */
  rivalsOf(keys: readonly string[]): Rival[] {
    const names = new Set(keys.flatMap((key) => [...(this.#names.get(key) ?? [])]));
    return [...names].flatMap((name) => this.#entries.get(name)?.rival ?? []);
  }

  #sharing(keys: readonly string[], except: string): string[] {
    const names = new Set(keys.flatMap((key) => [...(this.#names.get(key) ?? [])]));
    names.delete(except);
    return [...names];
  }

  #unlist(key: string, name: string): void {
    const names = this.#names.get(key);
    names?.delete(name);
    if (names?.size === 0) this.#names.delete(key);
  }
}
