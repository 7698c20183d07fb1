// Lib: texts that thousands of values have in common. Input: values as JSON.parse makes them; output: the same values, each text
// of which is held once in this process.

/** V8 itself keeps texts up to this long once when it parses JSON. */
const SHORT = 10;

export class TextPool {
  readonly #texts = new Map<string, string>();
  readonly #most: number;

  /** `most`: how many texts are remembered; beyond it the pool begins anew, and what was shared stays shared. */
  constructor(most: number) {
    this.#most = most;
  }

  /** Changes arrays and objects in place: they must belong to the caller. @returns `value`. */
  share<T>(value: T): T {
    return this.#share(value) as T;
  }

  #share(value: unknown): unknown {
    if (typeof value === 'string') return value.length > SHORT ? this.#textOf(value) : value;
    if (typeof value !== 'object' || value === null) return value;
    const members = value as Record<string, unknown>;
    for (const name of Object.keys(members)) members[name] = this.#share(members[name]);
    return value;
  }

  #textOf(text: string): string {
    const known = this.#texts.get(text);
    if (known !== undefined) return known;
    if (this.#texts.size >= this.#most) this.#texts.clear();
    this.#texts.set(text, text);
    return text;
  }
}
