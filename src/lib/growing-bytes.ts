// Lib: joins chunks of bytes as they come. In: chunks of any size, however many; out: one buffer. Room grows with
// what came, never with what was announced, and a chunk of one byte costs one byte.

const FIRST_BYTES = 4096;

export class GrowingBytes {
  readonly #expected: number | undefined;
  /** The room; undefined before the first chunk, or when that was all of it. */
  #room: Buffer<ArrayBuffer> | undefined;
  #bytes: Buffer = Buffer.alloc(0);

  /** @param expected the size in the end, where it is announced: no room is made beyond it */
  constructor(expected?: number) {
    this.#expected = expected;
  }

  get length(): number {
    return this.#bytes.length;
  }

  append(chunk: Buffer): void {
    // All at once is the usual case: nothing is copied then.
    if (this.length === 0 && chunk.length === this.#expected) {
      this.#bytes = chunk;
      return;
    }
    const at = this.length;
    const length = at + chunk.length;
    const room = length > (this.#room?.length ?? 0) ? this.#grow(length) : this.#room;
    if (room === undefined) return;
    chunk.copy(room, at);
    this.#bytes = room.subarray(0, length);
  }

  /** What came so far. */
  bytes(): Buffer {
    return this.#bytes;
  }

  /** Frees what came, at once. Nobody may have asked for it. */
  discard(): void {
    free(this.#room);
    this.#room = undefined;
    this.#bytes = Buffer.alloc(0);
  }

  #grow(needed: number): Buffer<ArrayBuffer> {
    const wanted = Math.max(needed * 2, FIRST_BYTES);
    const size = Math.max(needed, Math.min(wanted, this.#expected ?? wanted));
    const larger = Buffer.allocUnsafeSlow(size);
    this.#bytes.copy(larger);
    free(this.#room);
    this.#room = larger;
    return larger;
  }
}

/** Memory of buffers would otherwise wait for the collector, which does not feel how large they are. */
function free(room: Buffer<ArrayBuffer> | undefined): void {
  room?.buffer.transfer(0);
}
