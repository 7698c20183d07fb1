// Controller: who is concerned by a key. Input: the keys of each name. Output: the names of a key.

/** Many keys per name, many names per key; replacing the keys of one name costs only its own keys. */
export class ReverseIndex {
  readonly #keysOf = new Map<string, readonly string[]>();
  readonly #namesOf = new Map<string, Set<string>>();

  /** @returns false when the name had exactly these keys already. */
  set(name: string, keys: readonly string[]): boolean {
    const before = this.keysOf(name);
    if (before.length === keys.length && before.every((key, at) => key === keys[at])) return false;
    for (const key of before) this.#unlist(key, name);
    if (keys.length === 0) this.#keysOf.delete(name);
    else this.#keysOf.set(name, keys);
    for (const key of keys) this.#namesOf.set(key, (this.#namesOf.get(key) ?? new Set()).add(name));
    return true;
  }

  /** Keys that have a name. */
  keys(): IterableIterator<string> {
    return this.#namesOf.keys();
  }

  keysOf(name: string): readonly string[] {
    return this.#keysOf.get(name) ?? [];
  }

  namesOf(key: string): ReadonlySet<string> {
    return this.#namesOf.get(key) ?? NOBODY;
  }

  /** The names that have at least one of the keys. */
  namesOfAny(keys: Iterable<string>): Set<string> {
    const names = new Set<string>();
    for (const key of keys) for (const name of this.namesOf(key)) names.add(name);
    return names;
  }

  #unlist(key: string, name: string): void {
    const names = this.#namesOf.get(key);
    names?.delete(name);
    if (names?.size === 0) this.#namesOf.delete(key);
  }
}

const NOBODY: ReadonlySet<string> = new Set();
