// Controller, push: bounds the work for limiters that are not let in yet. In: admissions to run; out: their results, or
// an error when there are too many or they take too long.

export interface AdmissionQueueSettings {
  /** Admissions under way at once. */
  readonly concurrency?: number;
  /** Admissions that may wait for their turn; more are turned away. */
  readonly waiting?: number;
  /**
   * For one admission, its wait included, ms; less than a limiter waits for its first answer. To wait costs nothing,
   * but who is sent away comes back with another handshake: a thousand limiters after a restart would never be done.
   */
  readonly deadlineMs?: number;
}

class AdmissionError extends Error {}

/** Runs at most `concurrency` admissions at once, in the order in which they came. */
export class AdmissionQueue {
  readonly #settings: Required<AdmissionQueueSettings>;
  readonly #waiting = new Set<() => void>();
  #running = 0;

  constructor(settings: AdmissionQueueSettings = {}) {
    this.#settings = { concurrency: 16, waiting: 2_000, deadlineMs: 25_000, ...settings };
  }

  /**
   * Runs `admission` when it is its turn. One that is late still runs to its end and keeps its place until then, but
   * nobody waits.
   * @throws an error of this queue when too many wait or the deadline passes; else what `admission` throws.
   */
  run<T>(admission: () => Promise<T>): Promise<T> {
    if (this.#waiting.size >= this.#settings.waiting) {
      return Promise.reject(new AdmissionError('too many limiters connect at once; try again'));
    }
    return new Promise<T>((resolve, reject) => {
      const begin = (): void => {
        this.#running += 1;
        admission()
          .then(resolve, reject)
          .finally(() => {
            clearTimeout(timer);
            this.#running -= 1;
            this.#next();
          })
          .catch(reject);
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(begin);
        reject(new AdmissionError('authentication took too long; try again'));
      }, this.#settings.deadlineMs);
      this.#waiting.add(begin);
      this.#next();
    });
  }

  /** Whether an error means that the queue, not the admission, failed. */
  isOwn(error: unknown): error is Error {
    return error instanceof AdmissionError;
  }

  #next(): void {
    const [begin] = this.#waiting;
    if (begin === undefined || this.#running >= this.#settings.concurrency) return;
    this.#waiting.delete(begin);
    begin();
  }
}
