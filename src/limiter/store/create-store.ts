// Limiter, store: which store a config gets. Input: StoreConfigs in force; output: one store per distinct endpoint,
// closed when no config names it any more.
import type { LookupFunction } from 'node:net';
import {
  secretKeyOf,
  type RedisEndpoint,
  type SecretReference,
  type SecretValues,
} from '../../contract/limiter-config.ts';
import { storeIdOf, storePlaceOf, type StoreUse } from '../../contract/limiter-report.ts';
import { canonicalJson } from '../../contract/snapshot.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import { messageOf } from '../../lib/thrown.ts';
import { ExhaustedCache } from './exhausted-cache.ts';
import { MemoryStore } from './memory-store.ts';
import { RedisStore, type Login } from './redis-store.ts';
import type { Store } from './store.ts';

/** What metrics want to know; `endpoint` is an address, perhaps with a user, without a password. */
export interface StoreHooks {
  readonly onCircuit?: (endpoint: string, state: 'open' | 'closed') => void;
  readonly onCredentials?: (endpoint: string, state: 'refused' | 'accepted') => void;
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

interface Entry {
  readonly store: Store;
  /** Absent: the memory store. */
  readonly redis?: RedisStore;
  /** The endpoint with UID and resourceVersion of its secrets: which credentials the store has. */
  credentials: string;
}

const NO_SECRETS: SecretValues = new Map();

/**
 * Makes the store of a config. A Redis that cannot be reached is no error here: its decisions reject until it can be.
 */
export function createStore(use: StoreUse, options: StoreOptions, secrets: SecretValues = NO_SECRETS): Store {
  return createEntry(use, options, secrets).store;
}

function createEntry({ store: config, namespace }: StoreUse, options: StoreOptions, secrets: SecretValues): Entry {
  const { clock, hooks, lookup, ...rest } = options;
  const credentials = canonicalJson(config);
  if (config.type === 'memory') return { store: new MemoryStore(clock), credentials };
  const guard = config.isDefault === true ? {} : { lookup };
  const own = { clock, namespace, ...rest, ...hooks, ...guard };
  const redis = new RedisStore(config.redis, own, loginOf(config.redis, secrets));
  return { store: new ExhaustedCache(redis, clock), redis, credentials };
}

/** How to log in to a Redis that an object names, with the values that came with its config. */
function loginOf({ username, password, tls }: RedisEndpoint, secrets: SecretValues): Login {
  const missing = [password, tls?.ca].filter((reference) => reference !== undefined && !hasValue(reference, secrets));
  if (missing.length > 0) return { missing: missing.map((reference) => (reference ? secretKeyOf(reference) : '')) };
  const valueOf = (reference: SecretReference | undefined): string | undefined =>
    reference === undefined ? undefined : secrets.get(secretKeyOf(reference));
  const [secret, ca] = [valueOf(password), valueOf(tls?.ca)];
  const names = tls?.serverName === undefined ? {} : { serverName: tls.serverName };
  return {
    ...(username === undefined ? {} : { username }),
    ...(secret === undefined ? {} : { password: secret }),
    ...(tls === undefined ? {} : { tls: { ...(ca === undefined ? {} : { ca }), ...names } }),
  };
}

/** A reference that says no UID is of a Secret that could not be read, whatever came before. */
function hasValue(reference: SecretReference, secrets: SecretValues): boolean {
  return reference.secret.uid !== undefined && secrets.has(secretKeyOf(reference));
}

/**
 * One store per distinct place: two objects with two endpoints use their own (trap 10), two with one share it.
 * Credentials do not make a place: a store outlives their rotation. But no namespace shares the credentials of
 * another.
 */
export class StoreRegistry {
  readonly #options: StoreOptions;
  readonly #stores = new Map<string, Entry>();
  /** Of those that can be away. */
  readonly #byId = new Map<string, Store>();

  constructor(options: StoreOptions) {
    this.#options = options;
  }

  /** The store of an object; made at the first call. */
  storeFor(use: StoreUse, secrets: SecretValues = NO_SECRETS): Store {
    return this.#entryOf(use, secrets).store;
  }

  /** As {@link storeFor}, for a config that was just put in force: the store goes over to its credentials. */
  renew(use: StoreUse, secrets: SecretValues = NO_SECRETS): Store {
    const entry = this.#entryOf(use, secrets);
    const credentials = canonicalJson(use.store);
    if (use.store.type === 'redis' && entry.credentials !== credentials) {
      entry.credentials = credentials;
      entry.redis?.renew(loginOf(use.store.redis, secrets));
    }
    return entry.store;
  }

  /**
   * Closes the stores that none of `uses` names: call it after a new set of configs is in force. The memory store
   * stays, or an object that leaves and comes back would forget what was used.
   */
  keepOnly(uses: Iterable<StoreUse>): void {
    const named = new Set([...uses].map(storePlaceOf));
    for (const [place, { store, redis }] of this.#stores) {
      if (named.has(place) || redis === undefined) continue;
      this.#stores.delete(place);
      for (const [id, known] of this.#byId) if (known === store) this.#byId.delete(id);
      store.close().catch((error: unknown) => {
        this.#options.log.warn('closing a store failed', { error: messageOf(error) });
      });
    }
  }

  /** Resolves when each of the present stores has answered once; never rejects. */
  async whenReached(): Promise<void> {
    const stores = [...this.#stores.values()].flatMap(({ redis }) => redis ?? []);
    await Promise.all(stores.map((store) => store.whenReached()));
  }

  /** The stores that can be away, by {@link storeIdOf}. */
  byId(): ReadonlyMap<string, Store> {
    return this.#byId;
  }

  #entryOf(use: StoreUse, secrets: SecretValues): Entry {
    const place = storePlaceOf(use);
    const known = this.#stores.get(place);
    if (known !== undefined) return known;
    const entry = createEntry(use, this.#options, secrets);
    this.#stores.set(place, entry);
    const id = storeIdOf(use);
    if (id !== undefined) this.#byId.set(id, entry.store);
    return entry;
  }

  /** Closes all: after the last settlement. */
  async close(): Promise<void> {
    const stores = [...this.#stores.values()];
    this.#stores.clear();
    this.#byId.clear();
    await Promise.all(stores.map(({ store }) => store.close()));
  }
}
