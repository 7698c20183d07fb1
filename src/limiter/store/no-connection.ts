// Limiter, store: stands for a connection where there are no credentials to make one with. Input: what is missing;
// output: StoreUnavailable for every call, so that failurePolicy decides.
import type { RedisEndpoint } from '../../contract/limiter-config.ts';
import { storeLabelOf } from '../../contract/limiter-report.ts';
import type { ConnectionOptions } from './redis-connection.ts';
import { StoreClock } from './store-clock.ts';
import { StoreUnavailable, type Examination } from './store.ts';

/** As far as a store uses a RedisConnection. */
export class NoConnection {
  readonly label: string;
  readonly #missing: string;
  readonly #options: ConnectionOptions;

  /** `missing`: names of Secrets and keys. */
  constructor(endpoint: RedisEndpoint, missing: readonly string[], options: ConnectionOptions) {
    this.label = storeLabelOf(endpoint);
    this.#missing = missing.join(', ');
    this.#options = options;
    options.log.warn('store has no credentials', { endpoint: this.label, missing: this.#missing });
    options.onCircuit?.(this.label, 'open');
    options.onCredentials?.(this.label, 'refused');
  }

  clockOf(): StoreClock {
    const { clock } = this.#options;
    const wallMicros = clock.nowMicros();
    return new StoreClock(clock.monotonicMs(), wallMicros);
  }

  run(): Promise<never> {
    return Promise.reject(new StoreUnavailable('credentials', `${this.label}: no value of ${this.#missing}`));
  }

  examine(): Promise<Examination> {
    return Promise.resolve({ reachable: false, detail: `no value of ${this.#missing}` });
  }

  /** There are credentials now. */
  retire(): void {
    this.#options.onCircuit?.(this.label, 'closed');
    this.#options.onCredentials?.(this.label, 'accepted');
  }

  close(): void {
    return;
  }
}
