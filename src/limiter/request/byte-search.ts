// Limiter, request stage: finds a short pattern in bytes, one place after the other, in slices. In: bytes, pattern;
// out: places. Knuth-Morris-Pratt: every byte is looked at once, whatever pattern and bytes a caller chose.

export class ByteSearch {
  readonly #bytes: Buffer;
  readonly #pattern: Buffer;
  readonly #fallback: Uint16Array;
  #at = 0;
  #matched = 0;
  #found = -1;

  /** @param pattern of 1 to 65535 bytes */
  constructor(bytes: Buffer, pattern: Buffer) {
    this.#bytes = bytes;
    this.#pattern = pattern;
    this.#fallback = fallbackOf(pattern);
  }

  /** Where the last place begins that {@link advance} came to; -1: there is none any more. */
  get found(): number {
    return this.#found;
  }

  /** Looks at `count` bytes more. @returns true at the next place, and at the end */
  advance(count: number): boolean {
    const bytes = this.#bytes;
    const pattern = this.#pattern;
    const stop = Math.min(bytes.length, this.#at + count);
    let matched = this.#matched;
    for (let at = this.#at; at < stop; at += 1) {
      const byte = bytes[at];
      while (matched > 0 && byte !== pattern[matched]) matched = this.#fallback[matched - 1] ?? 0;
      if (byte === pattern[matched]) matched += 1;
      if (matched < pattern.length) continue;
      this.#at = at + 1;
      this.#matched = 0;
      this.#found = at + 1 - pattern.length;
      return true;
    }
    this.#at = stop;
    this.#matched = matched;
    if (stop < bytes.length) return false;
    this.#found = -1;
    return true;
  }
}

/** By length of a partial match: the longest shorter one that its end also is. */
function fallbackOf(pattern: Buffer): Uint16Array {
  const fallback = new Uint16Array(pattern.length);
  let matched = 0;
  for (let at = 1; at < pattern.length; at += 1) {
    while (matched > 0 && pattern[at] !== pattern[matched]) matched = fallback[matched - 1] ?? 0;
    if (pattern[at] === pattern[matched]) matched += 1;
    fallback[at] = matched;
  }
  return fallback;
}
