// Limiter, decision API: the admissions that callers may settle by id. In: admissions and their owners; out: one
// settlement each. Bounded: the oldest entries go first (at most half of them at once), and what they reserved stays
// charged.
import { RecentMap } from '../../lib/recent-map.ts';
import type { Admission, SettleOutcome } from '../decide/admission.ts';
import type { Ending } from '../decide/usage.ts';
import type { Owner } from './decision-token.ts';

/** A reservation may be settled for this long. */
export const SETTLE_WITHIN_MS = 600_000;

interface Entry {
  readonly owner: Owner;
  readonly sinceMs: number;
  /** Absent: nothing was taken, as no limit applied. */
  readonly admission?: Admission;
  isSettled: boolean;
}

export class ReservationRegistry {
  readonly #entries: RecentMap<Entry>;
  readonly #now: () => number;

  /** `now` is monotonic, in ms. */
  constructor(maxEntries: number, now: () => number) {
    this.#entries = new RecentMap(maxEntries);
    this.#now = now;
  }

  add(id: string, owner: Owner, admission?: Admission): void {
    const entry: Entry = { owner, sinceMs: this.#now(), isSettled: false };
    this.#entries.set(id, admission === undefined ? entry : { ...entry, admission });
  }

  /**
   * Settles a reservation; the first ending wins. `unknown`: never made, made by another owner, or longer ago than 10
   * minutes. Never rejects.
   */
  async settle(id: string, owner: Owner, ending: Ending): Promise<SettleOutcome | 'unknown'> {
    const entry = this.#entries.get(id);
    if (entry?.owner !== owner || this.#now() - entry.sinceMs > SETTLE_WITHIN_MS) return 'unknown';
    if (entry.isSettled) return 'repeated';
    entry.isSettled = true;
    return entry.admission === undefined ? 'settled' : entry.admission.settle(ending);
  }
}
