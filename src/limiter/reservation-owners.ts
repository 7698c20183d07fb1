// Limiter, decision API: whose is a reservation? In: ids and owners; out: whether one may be settled by a caller. Bounded:
// the oldest entry goes first, and what it reserved stays charged.
import { LRUCache } from 'lru-cache';
import type { Owner } from './decision-token.ts';

/** A reservation may be settled for this long. */
export const SETTLE_WITHIN_MS = 600_000;

interface Entry {
  readonly owner: Owner;
  isSettled: boolean;
}

export class ReservationOwners {
  readonly #entries: LRUCache<string, Entry>;

  /** `now` is monotonic, in ms. */
  constructor(maxEntries: number, now: () => number) {
    this.#entries = new LRUCache({ max: maxEntries, ttl: SETTLE_WITHIN_MS, perf: { now }, ttlResolution: 0 });
  }

  add(id: string, owner: Owner): void {
    this.#entries.set(id, { owner, isSettled: false });
  }

  /** Marks a reservation as settled. `unknown`: never made, made by somebody else, or longer ago than 10 minutes. */
  settle(id: string, owner: Owner): 'first' | 'repeated' | 'unknown' {
    const entry = this.#entries.get(id);
    if (entry?.owner !== owner) return 'unknown';
    if (entry.isSettled) return 'repeated';
    entry.isSettled = true;
    return 'first';
  }
}
