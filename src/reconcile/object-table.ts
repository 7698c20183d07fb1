// Reconcile: what is known of every object, computed once each: its forms per edit, what of it is in force per change
// of its forms, its rivals or its Secrets, its status per answer of its limiters. Rivals are found by key.
import { isDeepStrictEqual } from 'node:util';
import { type ObjectRef, resourceName } from '../contract/limiter-config.ts';
import { formsOf, refOf } from './form.ts';
import { given } from './optional.ts';
import { isAffected, keysOf, precedes } from './precedence.ts';
import { type Ruling, rulingOf, outcomeOf } from './reconcile.ts';
import type {
  Form,
  Forms,
  LastGood,
  ObjectAsRead,
  ReconcileOutcome,
  ReconcileSettings,
  Rival,
  World,
} from './types.ts';

interface Row {
  readonly object: ObjectAsRead;
  readonly lastGood: LastGood | undefined;
  readonly forms: Forms;
  /** By which it is found. */
  readonly keys: readonly string[];
  /** Absent: to be made. */
  ruling?: Ruling | undefined;
  /** What others may have taken to be in force since they were last told: the form that was, and those put since. */
  counted: readonly (Form | undefined)[];
}

/**
 * One row per object, by kind, namespace and name; what a row holds is of one UID and generation. The controller calls
 * `put` on each change of an object or of its last good form, `outdate` on each change of its Secrets, and `remove`
 * when it is gone. What `reconcile` and `remove` return as affected must be reconciled again.
 */
export class ObjectTable {
  readonly #settings: ReconcileSettings;
  readonly #rows = new Map<string, Row>();
  /** Key of a claim -> the names of those that have it. */
  readonly #names = new Map<string, Set<string>>();

  constructor(settings: ReconcileSettings) {
    this.#settings = settings;
  }

  /** Keeps all of the object but its status, which changes far more often. */
  put({ kind, metadata, spec }: ObjectAsRead, lastGood: LastGood | undefined): void {
    const object = { kind, metadata, spec };
    const name = resourceName(refOf(object));
    const before = this.#rows.get(name);
    if (before === undefined) {
      const forms = formsOf(object, lastGood, this.#settings);
      this.#rows.set(name, { object, lastGood, forms, keys: this.#list(name, [], forms), counted: [undefined] });
      return;
    }
    const known = before.object.metadata.uid === metadata.uid ? before.forms : undefined;
    const forms = formsOf(object, lastGood, this.#settings, known);
    if (isDeepStrictEqual(known, forms)) {
      this.#rows.set(name, { ...before, object, lastGood });
      return;
    }
    const keys = this.#list(name, before.keys, forms);
    this.#rows.set(name, { object, lastGood, forms, keys, counted: countedOf(before) });
  }

  /** What of these objects is in force is decided anew at their next reconcile. */
  outdate(names: Iterable<string>): void {
    for (const name of names) {
      const row = this.#rows.get(name);
      if (row !== undefined) row.ruling = undefined;
    }
  }

  /**
   * Reconciles an object that was put, by the answers that its limiters give now.
   * @param object - as it was put, with the status that it has now.
   * @returns undefined: it was not put. `affected`: resource names of those for whom it makes a difference what of the
   * object is in force now.
   */
  reconcile(
    object: ObjectAsRead,
    world: World,
    now: string,
  ): { readonly outcome: ReconcileOutcome; readonly affected: readonly string[] } | undefined {
    const row = this.#rows.get(resourceName(refOf(object)));
    if (row === undefined) return undefined;
    const { forms, lastGood, counted } = row;
    const ruling = (row.ruling ??= rulingOf(row, world));
    row.counted = [ruling.form];
    const outcome = outcomeOf({ object, forms, ruling, world, now, ...given('lastGood', lastGood) });
    return { outcome, affected: this.#affected(row, counted, ruling.form) };
  }

  /** @returns the resource names of those for whom it makes a difference that the object is gone. */
  remove(ref: ObjectRef): readonly string[] {
    const name = resourceName(ref);
    const row = this.#rows.get(name);
    if (row === undefined) return [];
    this.#rows.delete(name);
    for (const key of row.keys) this.#unlist(key, name);
    return this.#affected(row, countedOf(row), undefined);
  }

  /** The objects that have at least one of these keys. */
  rivalsOf(keys: readonly string[]): Rival[] {
    const names = new Set(keys.flatMap((key) => [...(this.#names.get(key) ?? [])]));
    return [...names].flatMap((name) => this.#rows.get(name) ?? []);
  }

  /** Those that come after the object and conflict with what is in force now, but not with all that was, or not now. */
  #affected({ object }: Rival, counted: Row['counted'], now: Form | undefined): readonly string[] {
    const before = counted.filter((form) => form !== now);
    if (before.length === 0) return [];
    const names = this.rivalsOf([now, ...before].flatMap(keysOf))
      .filter((rival) => precedes(object, rival.object))
      .filter((rival) => before.some((form) => isAffected(rival.forms, form, now)))
      .map((rival) => resourceName(refOf(rival.object)));
    this.outdate(names);
    return names;
  }

  /** @returns the keys of an object, by which it is found from now on. */
  #list(name: string, before: readonly string[], forms: Forms): readonly string[] {
    const keys = [...new Set(forms.flatMap(keysOf))];
    for (const key of before) this.#unlist(key, name);
    for (const key of keys) this.#names.set(key, (this.#names.get(key) ?? new Set<string>()).add(name));
    return keys;
  }

  #unlist(key: string, name: string): void {
    const names = this.#names.get(key);
    names?.delete(name);
    if (names?.size === 0) this.#names.delete(key);
  }
}

/** Before a row is decided, others were decided by its forms. */
function countedOf({ counted, forms, ruling }: Row): Row['counted'] {
  return ruling === undefined ? [...counted, ...forms] : counted;
}
