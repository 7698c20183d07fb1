// Lib, for settling and local shares: a map of bounded size that forgets what was longest unused.

/**
 * A bounded map in two generations: what is set goes to the younger one; when that holds half of `max`, the older one
 * is forgotten whole and the younger one becomes it. So the `max / 2` keys that were set last are always there,
 * memory grows with what is held, and no operation looks for a victim. (lru-cache allocates its bound ahead and
 * clears all of it when the last entry goes; a Map from which the first key is taken again and again walks over its
 * holes.)
 */
export class RecentMap<V> {
  readonly #half: number;
  #young = new Map<string, V>();
  #old = new Map<string, V>();

  /** `max` is at least 2. */
  constructor(max: number) {
    this.#half = Math.max(1, Math.floor(max / 2));
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  /** The value of a key; asking does not count as a use. */
  get(key: string): V | undefined {
    return this.#young.get(key) ?? this.#old.get(key);
  }

  /** Sets a value; the key is the most recently used one then. */
  set(key: string, value: V): void {
    this.#old.delete(key);
    this.#young.set(key, value);
    if (this.#young.size < this.#half) return;
    this.#old = this.#young;
    this.#young = new Map();
  }

  delete(key: string): void {
    if (!this.#young.delete(key)) this.#old.delete(key);
  }
}
