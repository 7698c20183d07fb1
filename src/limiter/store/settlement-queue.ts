// Limiter, store: settlements that the store did not take. Input: settlements that failed; output: the same ones
// again, under the same ids, until the store takes them, or their ids are about to be forgotten.
import type { Clock } from '../../lib/clock.ts';

/** Ids are remembered for 10 minutes from their first execution; after this a repetition might be applied twice. */
const REPEAT_FOR_MS = 590_000;
const FIRST_PAUSE_MS = 200;
const LAST_PAUSE_MS = 5000;

export interface SettlementQueueOptions<T> {
  /** Rejects when the store did not take it. */
  readonly send: (item: T) => Promise<unknown>;
  /** The most that wait; what comes on top is dropped. */
  readonly limit: number;
  readonly clock: Clock;
  readonly onDropped: (count: number) => void;
}

export class SettlementQueue<T> {
  readonly #options: SettlementQueueOptions<T>;
  #waiting: { readonly item: T; readonly sinceMs: number }[] = [];
  #timer: NodeJS.Timeout | undefined;
  #pauseMs = FIRST_PAUSE_MS;
  #closed = false;

  constructor(options: SettlementQueueOptions<T>) {
    this.#options = options;
  }

  get size(): number {
    return this.#waiting.length;
  }

  /** False when there is no room: the item is dropped, and told. */
  add(item: T): boolean {
    if (this.#closed || this.#waiting.length >= this.#options.limit) {
      this.#options.onDropped(1);
      return false;
    }
    this.#waiting.push({ item, sinceMs: this.#options.clock.monotonicMs() });
    this.#schedule();
    return true;
  }

  /** Sends everything once more; what fails waits on. */
  async flush(): Promise<void> {
    const oldest = this.#options.clock.monotonicMs() - REPEAT_FOR_MS;
    const due = this.#waiting;
    this.#waiting = [];
    const young = due.filter(({ sinceMs }) => sinceMs > oldest);
    if (young.length < due.length) this.#options.onDropped(due.length - young.length);
    const results = await Promise.allSettled(young.map(({ item }) => this.#options.send(item)));
    const failed = young.filter((_, index) => results[index]?.status === 'rejected');
    this.#waiting = [...failed, ...this.#waiting];
    this.#pauseMs = failed.length === 0 ? FIRST_PAUSE_MS : Math.min(this.#pauseMs * 2, LAST_PAUSE_MS);
    if (this.#waiting.length > 0) this.#schedule();
  }

  /** One last attempt; what it leaves is dropped. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    if (this.#waiting.length > 0) await this.flush();
    if (this.#waiting.length > 0) this.#options.onDropped(this.#waiting.length);
    clearTimeout(this.#timer);
    this.#waiting = [];
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.flush();
    }, this.#pauseMs).unref();
  }
}
