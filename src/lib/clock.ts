// Lib: the one door to time, so that tests can hold it still.

/** A source of time. `nowMicros` is wall-clock time in µs since the epoch; `monotonicMs` never steps back. */
export interface Clock {
  nowMicros(): number;
  monotonicMs(): number;
}

export const systemClock: Clock = {
  nowMicros: () => Date.now() * 1000,
  monotonicMs: () => performance.now(),
};

/** A clock that moves only when told: for tests and simulations. */
export class ManualClock implements Clock {
  #micros: number;

  constructor(startMicros = 1_700_000_000_000_000) {
    this.#micros = startMicros;
  }

  nowMicros(): number {
    return this.#micros;
  }

  monotonicMs(): number {
    return this.#micros / 1000;
  }

  /** Moves the clock by `micros`; a negative amount steps back, as a fail-over to a slow server does. */
  advance(micros: number): void {
    this.#micros += micros;
  }
}
