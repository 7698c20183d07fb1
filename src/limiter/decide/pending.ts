// Limiter, settle stage: the reservations that were admitted and not yet settled, each settled or dropped once.
import type { Clock } from '../../lib/clock.ts';
import type { LocalShares } from './degrade.ts';
import { RecentMap } from '../../lib/recent-map.ts';
import { StoreUnavailable, type Claim, type Reservation, type Store } from '../store/store.ts';

/** Stores remember settled ids this long; so long may a settlement come late. */
const REMEMBERED_MICROS = 600_000_000;
const DEFAULT_MAX_PENDING = 100_000;

/**
 * What a request really took: `claimed` = what was reserved; `nothing` = full refund (the upstream refused it or was
 * never reached); `hits` = so many times the limits' cost; or units per claim, in the order of the reservation's
 * claims.
 */
export type Actual = 'claimed' | 'nothing' | { readonly hits: number } | readonly number[];

/** unknown: no such reservation here. unavailable: the store neither took the settlement nor keeps it for later. */
export type SettleOutcome = 'settled' | 'repeated' | 'unknown' | 'unavailable';

interface Pending {
  readonly reservation: Reservation;
  /** Units per hit, in the order of the claims. */
  readonly costs: readonly number[];
  /** Absent: taken from this limiter's own shares. */
  readonly store?: Store;
  readonly sinceMicros: number;
  done: boolean;
}

/**
 * The registry of reservations. Bounded: beyond it the oldest are forgotten, and stay charged as claimed. A settlement
 * that meets an outage is the store's to repeat.
 */
export class PendingReservations {
  readonly #clock: Clock;
  readonly #shares: LocalShares;
  readonly #pending: RecentMap<Pending>;

  constructor(clock: Clock, shares: LocalShares, maxPending = DEFAULT_MAX_PENDING) {
    this.#clock = clock;
    this.#shares = shares;
    this.#pending = new RecentMap(maxPending);
  }

  /** Reservations that are remembered, settled ones that may be repeated included. */
  get size(): number {
    return this.#pending.size;
  }

  /** Notes an admitted reservation; without a store it was taken from the shares. */
  add(reservation: Reservation, costs: readonly number[], store?: Store): void {
    const entry: Pending = { reservation, costs, sinceMicros: this.#clock.nowMicros(), done: false };
    this.#pending.set(reservation.id, store === undefined ? entry : { ...entry, store });
  }

  /**
   * Settles a reservation to the truth. `claimed` costs no store call: a claim that is never settled is charged as
   * claimed. Never rejects because of the store.
   */
  async settle(id: string, actual: Actual): Promise<SettleOutcome> {
    const entry = this.#pending.get(id);
    if (entry === undefined || this.#clock.nowMicros() - entry.sinceMicros > REMEMBERED_MICROS) {
      this.#pending.delete(id);
      return 'unknown';
    }
    if (entry.done) return 'repeated';
    if (actual === 'claimed') {
      this.#pending.delete(id);
      return 'settled';
    }
    entry.done = true;
    const units = unitsOf(entry, actual);
    if (entry.store !== undefined) return send(entry.store, entry.reservation, units);
    this.#shares.giveBack(entry.reservation.claims, units);
    return 'settled';
  }
}

async function send(store: Store, reservation: Reservation, actual: readonly number[]): Promise<SettleOutcome> {
  try {
    return (await store.settle({ reservation, actual })) ? 'settled' : 'repeated';
  } catch (error) {
    if (error instanceof StoreUnavailable) return 'unavailable';
    throw error;
  }
}

function unitsOf({ reservation, costs }: Pending, actual: Exclude<Actual, 'claimed'>): readonly number[] {
  const each = (unit: (claim: Claim, index: number) => number): readonly number[] => reservation.claims.map(unit);
  if (actual === 'nothing') return each(() => 0);
  if (isHits(actual)) return each((_claim, index) => (costs[index] ?? 0) * actual.hits);
  return each(({ amount }, index) => actual[index] ?? amount);
}

function isHits(actual: { readonly hits: number } | readonly number[]): actual is { readonly hits: number } {
  return !Array.isArray(actual);
}
