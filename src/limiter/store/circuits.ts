// Limiter, store: the circuit breakers of one Redis deployment: one for a server, one for each hash tag of a cluster,
// whose shards fail one by one. In: how calls end; out: whether to call, and the begin and the end of trouble at the
// endpoint, once each.
import { CircuitBreaker } from './circuit-breaker.ts';

const FAILURES_TO_OPEN = 3;
export const PROBE_EVERY_MS = 200;

export interface CircuitsOptions {
  readonly isCluster: boolean;
  /** Resolves when a write below the tag succeeds; rejects when it does not. Never hangs. */
  readonly probe: (tag: string) => Promise<void>;
  /** The tag by which a single server is probed. */
  readonly ownTag: string;
  readonly onChange: (state: 'open' | 'closed') => void;
}

export class Circuits {
  readonly #options: CircuitsOptions;
  readonly #own: CircuitBreaker;
  readonly #byTag = new Map<string, CircuitBreaker>();
  #open = 0;

  constructor(options: CircuitsOptions) {
    this.#options = options;
    this.#own = this.#make(options.ownTag);
  }

  /** The breaker of the server that serves a tag. */
  of(tag: string): CircuitBreaker {
    const { isCluster, ownTag } = this.#options;
    if (!isCluster || tag === ownTag) return this.#own;
    const known = this.#byTag.get(tag);
    if (known !== undefined) return known;
    const fresh = this.#make(tag);
    this.#byTag.set(tag, fresh);
    return fresh;
  }

  get isAnyOpen(): boolean {
    return this.#open > 0;
  }

  /** The connection is back: whatever is open is probed at once. */
  probeNow(): void {
    for (const breaker of this.#all()) breaker.probeNow();
  }

  stop(): void {
    for (const breaker of this.#all()) breaker.stop();
  }

  #all(): CircuitBreaker[] {
    return [this.#own, ...this.#byTag.values()];
  }

  #make(tag: string): CircuitBreaker {
    return new CircuitBreaker({
      failures: FAILURES_TO_OPEN,
      probeEveryMs: PROBE_EVERY_MS,
      probe: () => this.#options.probe(tag),
      onChange: (state) => {
        const before = this.#open;
        this.#open += state === 'open' ? 1 : -1;
        if (before === 0 || this.#open === 0) this.#options.onChange(state);
      },
    });
  }
}
