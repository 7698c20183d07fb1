// Limiter, keys stage: how many buckets callers may mint. Input: the key of a limit that a caller can choose; output:
// whether it may have a bucket of its own, or shares the overflow bucket of its limit.
import { LRUCache } from 'lru-cache';

/** Live keys per object and limiter. */
export const DEFAULT_LIVE_KEYS = 100_000;
/** Objects whose keys are counted at a time. */
const MAX_OBJECTS = 10_000;

/** One use of a key. */
export interface KeyUse {
  readonly object: string;
  readonly limit: string;
  readonly key: string;
  /** How long the bucket takes to be full again: so long it lives in the store after its last use. */
  readonly lifeMicros: number;
}

/** The live keys of one object: per limit, the longest unused first; all keys of a limit live equally long. */
interface LiveKeys {
  size: number;
  readonly limits: Map<string, Map<string, number>>;
}

/** Counts live keys per object, so that rotating header values or addresses cannot fill the store. */
export class KeyBudget {
  readonly #bound: number;
  readonly #objects = new LRUCache<string, LiveKeys>({ max: MAX_OBJECTS });

  constructor(bound = DEFAULT_LIVE_KEYS) {
    this.#bound = bound;
  }

  /** Whether the key is live already or there is room for one more; it is live then. */
  admits(use: KeyUse, nowMicros: number): boolean {
    const live = this.#liveKeys(use.object);
    if (!this.#fits(live, use, nowMicros)) return false;
    const keys = live.limits.get(use.limit) ?? new Map<string, number>();
    if (!keys.delete(use.key)) live.size += 1;
    keys.set(use.key, nowMicros + use.lifeMicros);
    live.limits.set(use.limit, keys);
    return true;
  }

  /** What `admits` would answer. */
  hasRoom(use: KeyUse, nowMicros: number): boolean {
    return this.#fits(this.#liveKeys(use.object), use, nowMicros);
  }

  #fits(live: LiveKeys, use: KeyUse, nowMicros: number): boolean {
    if (live.size < this.#bound || live.limits.get(use.limit)?.has(use.key) === true) return true;
    dropExpired(live, nowMicros);
    return live.size < this.#bound;
  }

  #liveKeys(object: string): LiveKeys {
    const known = this.#objects.get(object);
    if (known !== undefined) return known;
    const live: LiveKeys = { size: 0, limits: new Map() };
    this.#objects.set(object, live);
    return live;
  }
}

/** Drops what expired, up to the first key of each limit that lives: each key is dropped once, so a call costs little. */
function dropExpired(live: LiveKeys, nowMicros: number): void {
  for (const [limit, keys] of live.limits) {
    for (const [key, untilMicros] of keys) {
      if (untilMicros > nowMicros) break;
      keys.delete(key);
      live.size -= 1;
    }
    if (keys.size === 0) live.limits.delete(limit);
  }
}
