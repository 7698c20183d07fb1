// Controller: the last look before a write. Input: requests to the API server, and whether this process may still
// write. Output: the requests, or WriteRefused. It is asked in the same turn of the event loop in which the bytes go
// to the socket, after all waiting for credentials and connections is over.
import { setTimeout as delay } from 'node:timers/promises';
import type { Dispatcher } from 'undici';

/** This process may not write any more; nothing was sent. */
export class WriteRefused extends Error {}

export class WriteFence {
  /** How long the API server may work on a write after it has received it; then it gives it up. */
  readonly serverTimeoutMs: number;
  readonly #mayWrite: () => boolean;
  readonly #guarded = new WeakMap<Dispatcher, Dispatcher>();
  #running = 0;

  constructor(mayWrite: () => boolean, serverTimeoutMs: number) {
    this.#mayWrite = mayWrite;
    this.serverTimeoutMs = serverTimeoutMs;
  }

  /** The same connections, behind the fence. */
  guard(dispatcher: Dispatcher): Dispatcher {
    const known = this.#guarded.get(dispatcher);
    if (known !== undefined) return known;
    const guarded = dispatcher.compose(
      (dispatch) => (options, handler) => dispatch(options, this.#guardedHandler(handler)),
    );
    this.#guarded.set(dispatcher, guarded);
    return guarded;
  }

  /** Counts a write from its beginning until its answer. */
  async track<T>(write: () => Promise<T>): Promise<T> {
    this.check();
    this.#running += 1;
    try {
      return await write();
    } finally {
      this.#running -= 1;
    }
  }

  /** @throws WriteRefused */
  check(): void {
    if (!this.#mayWrite()) throw new WriteRefused('not written: this operator does not hold the lease');
  }

  /** Whether every write has its answer, which is waited for at most this long. */
  async whenQuiet(deadlineMs: number): Promise<boolean> {
    const untilMs = performance.now() + deadlineMs;
    while (this.#running > 0 && performance.now() < untilMs) await delay(5);
    return this.#running === 0;
  }

  #guardedHandler(handler: Dispatcher.DispatchHandler): Dispatcher.DispatchHandler {
    const check = (): void => {
      this.check();
    };
    return new Proxy(handler, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== 'function') return value;
        const method = value as (...args: unknown[]) => unknown;
        if (name !== 'onRequestStart') return method.bind(target);
        return (...args: unknown[]): unknown => {
          check();
          return method.apply(target, args);
        };
      },
    });
  }
}
