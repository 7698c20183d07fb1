// Leaf: joins chunks of bytes as they come. In: chunks of any size, however many; out: one buffer. Room grows with what came,
// never with what was announced, and a chunk of one byte costs one byte.

const FIRST_BYTES = 4096;

export class GrowingBytes {
  readonly #expected: number | undefined;
  #buffer = Buffer.alloc(0);
  #length = 0;

  /** @param expected the size in the end, where it is announced: no room is made beyond it */
  constructor(expected?: number) {
    this.#expected = expected;
  }

  get length(): number {
    return this.#length;
  }

  append(chunk: Buffer): void {
    const length = this.#length + chunk.length;
    if (length > this.#buffer.length) {
      // All at once is the usual case: nothing is copied then.
      if (this.#length === 0 && chunk.length === this.#expected) {
        this.#buffer = chunk as Buffer<ArrayBuffer>;
        this.#length = length;
        return;
      }
      this.#grow(length);
    }
    chunk.copy(this.#buffer, this.#length);
    this.#length = length;
  }

  /** What came so far. */
  bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  #grow(needed: number): void {
    const wanted = Math.max(needed * 2, FIRST_BYTES);
    const size = Math.max(needed, Math.min(wanted, this.#expected ?? wanted));
    const larger = Buffer.allocUnsafeSlow(size);
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }
}
