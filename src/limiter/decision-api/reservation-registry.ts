// Limiter, decision API: whose is a reservation? In: ids and owners; out: whether one may be settled by a caller.
// Bounded: the oldest entries go first (at most half of them at once), and what they reserved stays charged.
import type { Owner } from '../decision-api/decision-token.ts';
import { RecentMap } from '../../lib/recent-map.ts';

/** A reservation may be settled for this long. */
export const SETTLE_WITHIN_MS = 600_000;

interface Entry {
  readonly owner: Owner;
  readonly sinceMs: number;
  isSettled: boolean;
}

export class ReservationOwners {
  readonly #entries: RecentMap<Entry>;
  readonly #now: () => number;

  /** `now` is monotonic, in ms. */
  constructor(maxEntries: number, now: () => number) {
    this.#entries = new RecentMap(maxEntries);
    this.#now = now;
  }

  add(id: string, owner: Owner): void {
    this.#entries.set(id, { owner, sinceMs: this.#now(), isSettled: false });
  }

  /** Marks a reservation as settled. `unknown`: never made, made by somebody else, or longer ago than 10 minutes. */
  settle(id: string, owner: Owner): 'first' | 'repeated' | 'unknown' {
    const entry = this.#entries.get(id);
    if (entry?.owner !== owner || this.#now() - entry.sinceMs > SETTLE_WITHIN_MS) return 'unknown';
    if (entry.isSettled) return 'repeated';
    entry.isSettled = true;
    return 'first';
  }
}
