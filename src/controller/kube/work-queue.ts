// Controller: which keys need work, and who does it. Input: keys, added as often as anyone likes. Output: calls of
// `work`, one at a time per key, repeated with back-off until they succeed.
import type { Logger } from '../../lib/log.ts';
import { messageOf } from '../../lib/thrown.ts';

/** What a piece of work wants next; an exception means "again, with back-off". */
export type WorkOutcome =
  | { readonly kind: 'done' }
  /** Look again after this long; not a failure. */
  | { readonly kind: 'again'; readonly afterMs: number };

export const DONE: WorkOutcome = { kind: 'done' };

export interface WorkQueueSettings {
  readonly name: string;
  readonly workers: number;
  /** Reads the current state of the key and makes it so. Exceptions are logged and retried. */
  readonly work: (key: string) => Promise<WorkOutcome> | WorkOutcome;
  readonly log: Logger;
  /** First back-off of a key, doubled on each failure; default 50 ms. */
  readonly baseBackoffMs?: number;
  /** Default 30 s. */
  readonly maxBackoffMs?: number;
  /** Called after each piece of work, for metrics. */
  readonly onWorked?: (result: WorkResult) => void;
  /** In [0, 1); spreads retries. */
  readonly random?: () => number;
}

export interface WorkResult {
  readonly key: string;
  readonly ok: boolean;
  readonly seconds: number;
}

/**
 * Keyed and deduplicated: a key that waits is not added twice, a key that is added while it is worked on is worked on
 * once more afterwards. A failed key waits `base * 2^failures` (less up to half, by chance); success forgets its
 * failures.
 */
export class WorkQueue {
  readonly #settings: WorkQueueSettings;
  /** In order of arrival. */
  readonly #waiting = new Set<string>();
  /** Where the next key is: from the beginning a set is looked through past all that was taken from it. */
  #next: IterableIterator<string> = this.#waiting.values();
  readonly #working = new Set<string>();
  /** Keys to be worked on again as soon as their present work ends. */
  readonly #repeat = new Set<string>();
  readonly #failures = new Map<string, number>();
  readonly #timers = new Map<string, { readonly timer: NodeJS.Timeout; readonly atMs: number }>();
  #started = false;
  #stopped = false;
  #idle: (() => void)[] = [];

  constructor(settings: WorkQueueSettings) {
    this.#settings = settings;
  }

  /** Keys that wait for a worker now, without those in back-off. */
  get depth(): number {
    return this.#waiting.size + this.#repeat.size;
  }

  /** Keys that wait for their time: back-offs and `addAfter`. */
  get delayed(): number {
    return this.#timers.size;
  }

  /** Begins to work; keys added before are kept. */
  start(): void {
    this.#started = true;
    this.#dispatch();
  }

  /** Asks for work on `key` now; ends a back-off of it, because something changed. */
  add(key: string): void {
    if (this.#stopped) return;
    this.#clearTimer(key);
    if (this.#working.has(key)) this.#repeat.add(key);
    else this.#waiting.add(key);
    this.#dispatch();
  }

  /** Asks for work on `key` in `afterMs`; of several requests the earliest counts. */
  addAfter(key: string, afterMs: number): void {
    if (this.#stopped) return;
    if (afterMs <= 0) {
      this.add(key);
      return;
    }
    const atMs = performance.now() + afterMs;
    const planned = this.#timers.get(key);
    if (planned !== undefined && planned.atMs <= atMs) return;
    this.#clearTimer(key);
    const timer = setTimeout(() => {
      this.#timers.delete(key);
      this.add(key);
    }, afterMs);
    this.#timers.set(key, { timer, atMs });
  }

  /** Takes no more keys, drops those that wait and resolves when the running work has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const { timer } of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    this.#waiting.clear();
    this.#repeat.clear();
    if (this.#working.size > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /** Resolves when no key waits or is worked on (keys in back-off may). */
  async whenIdle(): Promise<void> {
    if (this.depth + this.#working.size > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #dispatch(): void {
    if (!this.#started || this.#stopped) return;
    while (this.#waiting.size > 0 && this.#working.size < this.#settings.workers) {
      const key = this.#take();
      this.#working.add(key);
      void this.#run(key);
    }
  }

  /** The key that waits longest, of those there are. */
  #take(): string {
    const next = this.#next.next();
    if (next.done === true) {
      this.#next = this.#waiting.values();
      return this.#take();
    }
    this.#waiting.delete(next.value);
    return next.value;
  }

  async #run(key: string): Promise<void> {
    const beganMs = performance.now();
    let ok = true;
    try {
      // A turn of the event loop per piece of work: a burst of keys must not starve sockets and timers.
      await new Promise<void>((resolve) => setImmediate(resolve));
      const outcome = await this.#settings.work(key);
      this.#failures.delete(key);
      if (outcome.kind === 'again') this.addAfter(key, outcome.afterMs);
    } catch (error) {
      ok = false;
      this.#retryLater(key, error);
    }
    this.#settings.onWorked?.({ key, ok, seconds: (performance.now() - beganMs) / 1000 });
    this.#working.delete(key);
    if (this.#repeat.delete(key)) this.add(key);
    this.#dispatch();
    this.#tellIdle();
  }

  #retryLater(key: string, error: unknown): void {
    const { name, log, baseBackoffMs = 50, maxBackoffMs = 30_000, random = Math.random } = this.#settings;
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    const backoffMs = Math.min(maxBackoffMs, baseBackoffMs * 2 ** Math.min(failures, 30)) * (1 - random() / 2);
    log.warn('work failed, will retry', {
      queue: name,
      key,
      failures: failures + 1,
      backoffMs,
      error: messageOf(error),
    });
    this.addAfter(key, backoffMs);
  }

  #clearTimer(key: string): void {
    const planned = this.#timers.get(key);
    if (planned !== undefined) clearTimeout(planned.timer);
    this.#timers.delete(key);
  }

  #tellIdle(): void {
    if (this.depth + this.#working.size > 0) return;
    const waiting = this.#idle;
    this.#idle = [];
    for (const resolve of waiting) resolve();
  }
}
