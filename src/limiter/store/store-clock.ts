// Limiter, store: the time of a store as seen from here. Input: times that the store told, with when they were asked
// and heard; output: an estimate that is never ahead of the store, so that a deadline computed from it never comes
// late there.

/** All local times are monotonic milliseconds. */
export class StoreClock {
  /** Store time less local time, µs: the largest lower bound that no sample contradicts. */
  #offset: number;

  constructor(nowMs: number, wallMicros: number) {
    this.#offset = wallMicros - nowMs * 1000;
  }

  /** The store said `storeMicros` some time between `sentMs` and `heardMs`. */
  learn(storeMicros: number, sentMs: number, heardMs: number): void {
    const lower = storeMicros - heardMs * 1000;
    const upper = storeMicros - sentMs * 1000;
    if (lower > this.#offset || upper < this.#offset) this.#offset = lower;
  }

  /** Store time in whole µs at a local time; at most as late as the store's own clock. */
  at(localMs: number): number {
    return Math.floor(localMs * 1000 + this.#offset);
  }
}
