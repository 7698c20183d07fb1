// Limiter, front: all spliced connections of a limiter. In: new ones, and changes of what is in effect; out: which are
// busy, and an end for those that may not go on.
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
  /** How long bytes that cannot be judged may go on once something is in effect. */
  readonly graceMs: number;
}

export type NewSplice = Pick<SpliceOptions, 'client' | 'server' | 'isAllowed' | 'onRequest'>;

export class Splices {
  readonly #options: SplicesOptions;
  readonly #splices = new Set<Splice>();
  readonly #waiting = new Set<Socket>();

  constructor(options: SplicesOptions) {
    this.#options = options;
  }

  /**
   * Holds a client while its server is asked whether it will be joined: it reads nothing, and notices when the client
   * leaves.
   * @returns ends the wait
   */
  hold(client: Socket): () => void {
    const onReadable = (): void => {
      if (client.readableLength === 0) client.read();
    };
    const onEnd = (): void => {
      client.destroy();
    };
    const release = (): void => {
      this.#waiting.delete(client);
      client.off('readable', onReadable).off('end', onEnd).off('close', release);
    };
    this.#waiting.add(client);
    client.on('readable', onReadable).once('end', onEnd).once('close', release);
    return release;
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

  /** Something else is in effect. @returns clients of whom nothing has been heard: they begin anew */
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
    for (const client of this.#waiting) client.destroy();
    for (const splice of [...this.#splices]) splice.destroy();
  }
}
