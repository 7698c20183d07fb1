// Limiter, keys stage: how many buckets callers may mint. Input: the key of a limit that a caller can choose; output:
// whether it may have a bucket of its own, or shares the overflow bucket.
import { LRUCache } from 'lru-cache';

/** Live keys per object and limiter. */
export const DEFAULT_LIVE_KEYS = 100_000;
/** Objects whose keys are counted at a time. */
const MAX_OBJECTS = 10_000;

/** Counts live keys per object. A key lives until its bucket would be full again after its last use. */
export class KeyBudget {
  readonly #bound: number;
  readonly #objects = new LRUCache<string, Map<string, number>>({ max: MAX_OBJECTS });

  constructor(bound = DEFAULT_LIVE_KEYS) {
    this.#bound = bound;
  }

  /** Whether `key` is live already or there is room for one more. `lifeMicros`: how long its bucket takes to be full. */
  admits(objectUid: string, key: string, lifeMicros: number, nowMicros: number): boolean {
    const live = this.#liveKeys(objectUid);
    if (!live.delete(key)) {
      if (live.size >= this.#bound) dropExpired(live, nowMicros);
      if (live.size >= this.#bound) return false;
    }
    live.set(key, nowMicros + lifeMicros);
    return true;
  }

  #liveKeys(objectUid: string): Map<string, number> {
    const known = this.#objects.get(objectUid);
    if (known !== undefined) return known;
    const live = new Map<string, number>();
    this.#objects.set(objectUid, live);
    return live;
  }
}

/** Drops expired keys from the longest unused on, up to the first that lives: what one call costs was paid for before. */
function dropExpired(live: Map<string, number>, nowMicros: number): void {
  for (const [key, untilMicros] of live) {
    if (untilMicros > nowMicros) return;
    live.delete(key);
  }
}
