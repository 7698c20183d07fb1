// Limiter, store: when not to ask a store that does not answer. Input: how calls end; output: whether to call, and
// probes of its own while it is open, so that no caller waits to find out that the store is back.

export type CircuitState = 'closed' | 'open' | 'half-open';

export interface CircuitOptions {
  /** Failures in a row that open it. */
  readonly failures: number;
  /** Pause between probes while open, ms. */
  readonly probeEveryMs: number;
  /** Resolves when the store answers; rejects when it does not. Never hangs. */
  readonly probe: () => Promise<void>;
  /** Told of the begin and the end of an outage, not of each half-open moment in it. */
  readonly onChange: (state: 'open' | 'closed') => void;
}

export class CircuitBreaker {
  readonly #options: CircuitOptions;
  #state: CircuitState = 'closed';
  #failuresInARow = 0;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: CircuitOptions) {
    this.#options = options;
  }

  get state(): CircuitState {
    return this.#state;
  }

  /** A call came back, with whatever answer. */
  succeeded(): void {
    this.#failuresInARow = 0;
  }

  /** A call did not come back, or with an answer that says that the store cannot work. `isSure`: once is enough. */
  failed(isSure = false): void {
    this.#failuresInARow++;
    if (this.#state !== 'closed' || (!isSure && this.#failuresInARow < this.#options.failures)) return;
    this.#state = 'open';
    this.#scheduleProbe();
    this.#options.onChange('open');
  }

  /** Asks now instead of at the next turn: the connection is back. */
  probeNow(): void {
    if (this.#state === 'open') this.#probe();
  }

  /** No more probes: the store is closed. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #scheduleProbe(): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      this.#probe();
    }, this.#options.probeEveryMs).unref();
  }

  #probe(): void {
    clearTimeout(this.#timer);
    this.#state = 'half-open';
    this.#options.probe().then(
      () => {
        this.#failuresInARow = 0;
        this.#state = 'closed';
        if (!this.#stopped) this.#options.onChange('closed');
      },
      () => {
        this.#state = 'open';
        this.#scheduleProbe();
      },
    );
  }
}
