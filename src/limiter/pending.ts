// Limiter, settle stage: the reservations that were admitted and not yet settled, each settled or dropped once.
import { LRUCache } from 'lru-cache';
import type { Clock } from '../lib/clock.ts';
import type { LocalShares } from './degrade.ts';
import { StoreUnavailable, type Claim, type Reservation, type Settlement, type Store } from './store/store.ts';

/** Stores remember settled ids this long; so long may a settlement come late. */
const REMEMBERED_MICROS = 600_000_000;
const DEFAULT_MAX_PENDING = 100_000;

/**
 * What a request really took: `claimed` = what was reserved; `nothing` = full refund (the upstream refused it or was never
 * reached); `hits` = so many times the limits' cost; or units per claim, in the order of the reservation's claims.
 */
export type Actual = 'claimed' | 'nothing' | { readonly hits: number } | readonly number[];

/** deferred: the store does not answer; the settlement is kept and sent again. unknown: no such reservation here. */
export type SettleOutcome = 'settled' | 'repeated' | 'deferred' | 'unknown';

interface Pending {
  readonly reservation: Reservation;
  /** Units per hit, in the order of the claims. */
  readonly costs: readonly number[];
  /** Absent: taken from this limiter's own shares. */
  readonly store?: Store;
  readonly sinceMicros: number;
  done: boolean;
}

interface Deferred {
  readonly store: Store;
  readonly settlement: Settlement;
  readonly untilMicros: number;
}

/** The registry of reservations. Bounded: the longest pending one is dropped (it stays charged as claimed). */
export class PendingReservations {
  readonly #clock: Clock;
  readonly #shares: LocalShares;
  readonly #pending: LRUCache<string, Pending>;
  readonly #deferred = new Map<string, Deferred>();
  readonly #maxPending: number;

  constructor(clock: Clock, shares: LocalShares, maxPending = DEFAULT_MAX_PENDING) {
    this.#clock = clock;
    this.#shares = shares;
    this.#pending = new LRUCache({ max: maxPending });
    this.#maxPending = maxPending;
  }

  /** Reservations that wait for their settlement, those included whose store did not take it. */
  get size(): number {
    return this.#pending.size + this.#deferred.size;
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
    if (entry.store === undefined) {
      this.#shares.giveBack(entry.reservation.claims, units);
      return 'settled';
    }
    return this.#send({
      store: entry.store,
      settlement: { reservation: entry.reservation, actual: units },
      untilMicros: entry.sinceMicros + REMEMBERED_MICROS,
    });
  }

  /** Sends deferred settlements again, oldest first, until a store fails once more; call it every second or so. */
  async retryDeferred(): Promise<void> {
    const failed = new Set<Store>();
    for (const deferred of [...this.#deferred.values()]) {
      const { store, settlement, untilMicros } = deferred;
      if (this.#clock.nowMicros() >= untilMicros) this.#deferred.delete(settlement.reservation.id);
      else if (!failed.has(store) && (await this.#send(deferred)) === 'deferred') failed.add(store);
    }
  }

  async #send(deferred: Deferred): Promise<SettleOutcome> {
    const { id } = deferred.settlement.reservation;
    try {
      const isFirst = await deferred.store.settle(deferred.settlement);
      this.#deferred.delete(id);
      return isFirst ? 'settled' : 'repeated';
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
      this.#defer(id, deferred);
      return 'deferred';
    }
  }

  #defer(id: string, deferred: Deferred): void {
    const [oldest] = this.#deferred.keys();
    if (oldest !== undefined && this.#deferred.size >= this.#maxPending) this.#deferred.delete(oldest);
    this.#deferred.set(id, deferred);
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
