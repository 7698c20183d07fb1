// Limiter, store: which store a config gets. Input: StoreConfigs in force; output: one store per distinct endpoint, closed when
// no config names it any more.
import type { LookupFunction } from 'node:net';
import type { StoreConfig } from '../../contract/limiter-config.ts';
import { canonicalJson } from '../../contract/snapshot.ts';
import type { Clock } from '../../lib/clock.ts';
import { messageOf, type Logger } from '../../lib/log.ts';
import { ExhaustedCache } from './exhausted-cache.ts';
import { MemoryStore } from './memory-store.ts';
import { RedisStore } from './redis-store.ts';
import type { Store } from './store.ts';

/** What metrics want to know; `endpoint` is an address without credentials. */
export interface StoreHooks {
  readonly onCircuit?: (endpoint: string, state: 'open' | 'closed') => void;
  readonly onSettlementsDropped?: (count: number) => void;
  readonly onBroken?: (keys: readonly string[]) => void;
}

export interface StoreOptions {
  /** The longest that a decision waits for Redis, ms; 50 unless the operator of the limiter says otherwise. */
  readonly deadlineMs: number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly hooks?: StoreHooks;
  /** Resolves the hosts of Redis that objects name, and only to what may be dialled; absent: as the system does. */
  readonly lookup?: LookupFunction;
}

/** Makes the store of a config. A Redis that cannot be reached is no error here: its decisions reject until it can be. */
export function createStore(config: StoreConfig, options: StoreOptions): Store {
  const { clock, hooks, lookup, ...rest } = options;
  if (config.type === 'memory') return new MemoryStore(clock);
  const guard = config.isDefault === true ? {} : { lookup };
  return new ExhaustedCache(new RedisStore(config.redis, { clock, ...rest, ...hooks, ...guard }), clock);
}

/** One store per distinct config: two objects with two endpoints use their own (trap 10), two with one share it. */
export class StoreRegistry {
  readonly #options: StoreOptions;
  readonly #stores = new Map<string, Store>();

  constructor(options: StoreOptions) {
    this.#options = options;
  }

  /** The store of a config; made at the first call. */
  storeFor(config: StoreConfig): Store {
    const endpoint = canonicalJson(config);
    const known = this.#stores.get(endpoint);
    if (known !== undefined) return known;
    const store = createStore(config, this.#options);
    this.#stores.set(endpoint, store);
    return store;
  }

  /**
   * Closes the stores that none of `configs` names: call it after a new set of configs is in force. The memory store stays,
   * or an object that leaves and comes back would forget what was used.
   */
  keepOnly(configs: Iterable<StoreConfig>): void {
    const named = new Set([...configs].map(canonicalJson));
    for (const [endpoint, store] of this.#stores) {
      if (named.has(endpoint) || store instanceof MemoryStore) continue;
      this.#stores.delete(endpoint);
      store.close().catch((error: unknown) => {
        this.#options.log.warn('closing a store failed', { error: messageOf(error) });
      });
    }
  }

  /** Closes all: after the last settlement. */
  async close(): Promise<void> {
    const stores = [...this.#stores.values()];
    this.#stores.clear();
    await Promise.all(stores.map((store) => store.close()));
  }
}
