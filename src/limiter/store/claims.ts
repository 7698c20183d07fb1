// Limiter, store: what every store checks before it looks at a reservation or a settlement. Input: from the caller; output:
// nothing, or a RangeError that says what is wrong (a fault of the caller, never a decision).
import { MAX_AMOUNT } from './bucket-state.ts';
import type { Reservation, Settlement } from './store.ts';

/** @throws RangeError when an amount is no whole number in [0, 1e12] or the keys do not share one hash tag. */
export function checkReservation(reservation: Reservation): void {
  let tag: string | undefined;
  for (const { bucket, amount } of reservation.claims) {
    checkAmount(amount);
    const own = hashTag(bucket.key);
    if (tag !== undefined && tag !== own) throw new RangeError('the keys of one reservation must share one hash tag');
    tag = own;
  }
}

/** @throws RangeError as {@link checkReservation}, and when there is not one actual amount per claim. */
export function checkSettlement(settlement: Settlement): void {
  checkReservation(settlement.reservation);
  if (settlement.actual.length !== settlement.reservation.claims.length)
    throw new RangeError('a settlement needs one actual amount per claim');
  settlement.actual.forEach(checkAmount);
}

/** `weir:{<namespace>}`: what decides the slot of a key on Redis Cluster. @throws RangeError for any other key. */
export function hashTag(key: string): string {
  const end = key.indexOf('}');
  if (!key.startsWith('weir:{') || end < 7) throw new RangeError('a bucket key begins with weir:{<namespace>}');
  return key.slice(0, end + 1);
}

function checkAmount(amount: number): void {
  if (!Number.isInteger(amount) || amount < 0 || amount > MAX_AMOUNT)
    throw new RangeError(`an amount is a whole number from 0 to ${MAX_AMOUNT}`);
}

/**
 * When reservations were taken, by store time: a window's refund needs it. Kept with the reservation object and gone with
 * it; a settlement of a copy says it in `reservedAtMicros`.
 */
export class ReservationTimes {
  readonly #at = new WeakMap<Reservation, number>();

  note(reservation: Reservation, atMicros: number): void {
    this.#at.set(reservation, atMicros);
  }

  /** µs of store time; -1 = unknown, which counts as a window that is over. */
  of(settlement: Settlement): number {
    return settlement.reservedAtMicros ?? this.#at.get(settlement.reservation) ?? -1;
  }
}
