// Limiter, before the first request: whether the stores of the first configs have answered, or had time enough to.

/** A store that is away holds readiness back for no longer, ms. */
export const CONTACT_WAIT_MS = 2_000;

/**
 * A limiter that is sent callers before it has reached its stores decides the first of them by failurePolicy,
 * although nothing is wrong. So it says that it is ready when they have answered, once; a later outage is no reason
 * to leave.
 */
export class FirstContact {
  readonly #waitMs: number;
  #state: 'not-begun' | 'waiting' | 'over' = 'not-begun';
  #timer: NodeJS.Timeout | undefined;

  constructor(waitMs = CONTACT_WAIT_MS) {
    this.#waitMs = waitMs;
  }

  get isOver(): boolean {
    return this.#state === 'over';
  }

  /** Begins the wait for `reached`, which never rejects; a second call does nothing. */
  begin(reached: Promise<unknown>): void {
    if (this.#state !== 'not-begun') return;
    this.#state = 'waiting';
    this.#timer = setTimeout(() => {
      this.#state = 'over';
    }, this.#waitMs).unref();
    void reached.then(() => {
      this.close();
      this.#state = 'over';
    });
  }

  close(): void {
    clearTimeout(this.#timer);
  }
}
