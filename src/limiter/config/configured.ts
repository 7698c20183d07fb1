// Limiter, before the first snapshot: holds requests until there is a config, or until waiting for one was long enough.

export type ConfiguredState = 'waiting' | 'configured' | 'unconfigured';

/** Whether this limiter has ever had a config. */
export class Configured {
  #state: ConfiguredState = 'waiting';
  readonly #decided = Promise.withResolvers<undefined>();
  #timer: NodeJS.Timeout | undefined;

  get state(): ConfiguredState {
    return this.#state;
  }

  /** Starts the wait: after `waitMs` without a config the limiter goes on without one. */
  startWaiting(waitMs: number, onGivenUp: () => void): void {
    this.#timer = setTimeout(() => {
      if (this.#state !== 'waiting') return;
      this.#state = 'unconfigured';
      this.#decided.resolve(undefined);
      onGivenUp();
    }, waitMs);
  }

  /** A snapshot was applied, an empty one too; also ends being unconfigured. */
  markConfigured(): void {
    clearTimeout(this.#timer);
    this.#state = 'configured';
    this.#decided.resolve(undefined);
  }

  /** Resolves once the state is not `waiting`. */
  whenDecided(): Promise<undefined> {
    return this.#decided.promise;
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#decided.resolve(undefined);
  }
}
