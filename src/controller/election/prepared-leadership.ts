// Controller: leading begins when there is something to lead with. Input: the lease, and what must be done before
// limiters are served. Output: a leadership that begins after that was done, and ends with the lease.
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../../lib/log.ts';
import { messageOf } from '../../lib/thrown.ts';
import type { Leadership } from './leadership.ts';

const RETRY_MS = 250;

export class PreparedLeadership implements Leadership {
  readonly #lease: Leadership;
  readonly #prepare: () => Promise<void>;
  readonly #log: Logger;
  readonly #listeners: ((isLeader: boolean) => void)[] = [];
  /** Counts changes of the lease: what was prepared in an earlier term is not for this one. */
  #term = 0;
  #isPrepared = false;

  constructor(lease: Leadership, prepare: () => Promise<void>, log: Logger) {
    this.#lease = lease;
    this.#prepare = prepare;
    this.#log = log;
    lease.onChange((isLeader) => {
      this.#term += 1;
      if (isLeader) void this.#begin(this.#term);
      else this.#end();
    });
  }

  isLeader(): boolean {
    return this.#isPrepared && this.#lease.isLeader();
  }

  deadlineMs(): number {
    return this.#isPrepared ? this.#lease.deadlineMs() : -Infinity;
  }

  onChange(listener: (isLeader: boolean) => void): void {
    this.#listeners.push(listener);
  }

  /** Again until it succeeds or the lease is lost. */
  async #begin(term: number): Promise<void> {
    const beganMs = performance.now();
    while (term === this.#term && !(await this.#tryPrepare())) await delay(RETRY_MS);
    if (term !== this.#term) return;
    this.#isPrepared = true;
    this.#log.info('leading', { preparedMs: Math.round(performance.now() - beganMs) });
    this.#tell(true);
  }

  async #tryPrepare(): Promise<boolean> {
    try {
      await this.#prepare();
      return true;
    } catch (error) {
      this.#log.warn('cannot lead yet', { error: messageOf(error) });
      return false;
    }
  }

  #end(): void {
    if (!this.#isPrepared) return;
    this.#isPrepared = false;
    this.#tell(false);
  }

  #tell(isLeader: boolean): void {
    for (const listener of this.#listeners) listener(isLeader);
  }
}
