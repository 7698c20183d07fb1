// Controller: tells listeners which names changed, many changes at once. In: names; out: one call per turn of the event
// loop.

export type ChangeListener = (names: ReadonlySet<string>) => void;

/** Coalesces changes: all names announced in one turn of the event loop reach each listener in one call. */
export class ChangeFeed {
  readonly #listeners = new Set<ChangeListener>();
  #names = new Set<string>();

  /** @returns a function that ends the subscription. */
  subscribe(listener: ChangeListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  announce(names: Iterable<string>): void {
    const isFirst = this.#names.size === 0;
    for (const name of names) this.#names.add(name);
    if (!isFirst || this.#names.size === 0) return;
    setImmediate(() => {
      const changed = this.#names;
      this.#names = new Set();
      for (const listener of this.#listeners) listener(changed);
    });
  }
}
