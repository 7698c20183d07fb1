// Lib, for the runtime set: an immutable map from texts; a changed copy shares all but the changed leaves.

const BITS = 6;
const WIDTH = 1 << BITS;
const EMPTY_LEAF: ReadonlyMap<string, never> = new Map<string, never>();

type Leaf<V> = ReadonlyMap<string, V>;
type Node<V> = readonly (Leaf<V> | undefined)[];

/**
 * An immutable map. Reading costs two array look-ups and one of a Map; a change copies two arrays and one small Map.
 */
export class PersistentMap<V> {
  readonly #root: readonly (Node<V> | undefined)[];
  readonly size: number;

  private constructor(root: readonly (Node<V> | undefined)[], size: number) {
    this.#root = root;
    this.size = size;
  }

  /** The empty map. */
  static empty<V>(): PersistentMap<V> {
    return new PersistentMap<V>([], 0);
  }

  get(key: string): V | undefined {
    const [high, low] = slotOf(key);
    return this.#root[high]?.[low]?.get(key);
  }

  /** A map that has `value` at `key`, or no longer has `key` when `value` is undefined. */
  with(key: string, value: V | undefined): PersistentMap<V> {
    const [high, low] = slotOf(key);
    const node = this.#root[high] ?? [];
    const leaf = node[low] ?? EMPTY_LEAF;
    if (value === undefined && !leaf.has(key)) return this;
    const changed = new Map<string, V>(leaf);
    if (value === undefined) changed.delete(key);
    else changed.set(key, value);
    const size = this.size + changed.size - leaf.size;
    return new PersistentMap(replaced(this.#root, high, replaced(node, low, changed)), size);
  }

  /** All values, in no order that means anything. */
  *values(): IterableIterator<V> {
    for (const node of this.#root) {
      for (const leaf of node ?? []) yield* leaf?.values() ?? [];
    }
  }
}

function replaced<T>(list: readonly (T | undefined)[], index: number, value: T): readonly (T | undefined)[] {
  const copy = Array.from({ length: Math.max(list.length, index + 1) }, (_unused, at) => list[at]);
  copy[index] = value;
  return copy;
}

const { imul } = Math;

/** FNV-1a over UTF-16 units, split into two indices. */
function slotOf(key: string): readonly [number, number] {
  let mixed = 0x811c9dc5;
  for (let at = 0; at < key.length; at += 1) mixed = imul(mixed ^ key.charCodeAt(at), 0x01000193);
  return [(mixed >>> 26) & (WIDTH - 1), (mixed >>> 8) & (WIDTH - 1)];
}
