// Limiter, front: all spliced connections of a limiter. In: new ones, and changes of what is in force; out: which are busy, and
// an end for those that may not go on.
import type { Socket } from 'node:net';
import { Splice, type SpliceOptions } from './splice.ts';

/** What splices are counted with. */
export interface SpliceMetrics {
  spliceOpened(): void;
  spliceClosed(): void;
  spliceBytes(direction: 'in' | 'out', bytes: number): void;
}

export interface SplicesOptions {
  readonly metrics: SpliceMetrics;
  readonly nowMs: () => number;
  /** How long bytes that cannot be judged may go on once something is in force. */
  readonly graceMs: number;
}

export type NewSplice = Pick<SpliceOptions, 'client' | 'server' | 'isAllowed' | 'onRequest'>;

export class Splices {
  readonly #options: SplicesOptions;
  readonly #splices = new Set<Splice>();

  constructor(options: SplicesOptions) {
    this.#options = options;
  }

  /** Joins two sockets until they close. */
  join(parts: NewSplice): void {
    const { metrics, nowMs, graceMs } = this.#options;
    const splice = new Splice({
      ...parts,
      nowMs,
      onBytes: (direction, bytes) => {
        metrics.spliceBytes(direction, bytes);
      },
      onEnd: () => {
        this.#splices.delete(splice);
        metrics.spliceClosed();
      },
    });
    this.#splices.add(splice);
    metrics.spliceOpened();
    splice.review(graceMs);
    splice.start();
  }

  /** Something else is in force. @returns clients of whom nothing has been heard: they begin anew */
  review(): Socket[] {
    const untouched: Socket[] = [];
    for (const splice of [...this.#splices]) {
      if (splice.review(this.#options.graceMs) && splice.isUntouched) untouched.push(splice.release());
    }
    return untouched;
  }

  /** Connections with something in flight. */
  get busy(): number {
    return [...this.#splices].filter(({ isBusy }) => isBusy).length;
  }

  /** Closes connections of HTTP/1 with nothing in flight: their clients would keep them for later. */
  closeIdle(): void {
    for (const splice of [...this.#splices]) if (splice.isHttp && !splice.isBusy) splice.destroy();
  }

  closeAll(): void {
    for (const splice of [...this.#splices]) splice.destroy();
  }
}
