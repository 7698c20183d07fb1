// Limiter, store: what every store checks before it looks at a reservation or a settlement. Input: from the caller;
// output: nothing, or a RangeError that says what is wrong (a fault of the caller, never a decision).
import { MAX_AMOUNT } from './rule/bucket-state.ts';
import type { BucketState, Take, Reservation, Settlement } from './store.ts';

/**
 * @returns the hash tag that all keys share; undefined when there are no takes.
 * @throws RangeError when an amount is no whole number in [0, 1e12] or the keys do not share one hash tag.
 */
export function checkReservation(reservation: Reservation): string | undefined {
  let tag: string | undefined;
  for (const { bucket, amount } of reservation.takes) {
    checkAmount(amount);
    tag ??= hashTag(bucket.key);
    if (!bucket.key.startsWith(tag)) throw new RangeError('the keys of one reservation must share one hash tag');
  }
  return tag;
}

/** @throws RangeError as {@link checkReservation}, and when there is not one actual amount per take. */
export function checkSettlement(settlement: Settlement): string | undefined {
  const tag = checkReservation(settlement.reservation);
  if (settlement.actual.length !== settlement.reservation.takes.length)
    throw new RangeError('a settlement needs one actual amount per take');
  settlement.actual.forEach(checkAmount);
  return tag;
}

/** The hash tag of the keys of a namespace. */
export function hashTagOf(namespace: string): string {
  return `weir:{${namespace}}`;
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

/** The first of the enforced takes with the longest wait: the one that refuses; -1: none does. */
export function longestWait(takes: readonly Take[], states: readonly Pick<BucketState, 'waitMicros'>[]): number {
  let found = -1;
  let longest = 0;
  states.forEach(({ waitMicros }, index) => {
    if ((takes[index]?.bucket.shadow ?? true) || waitMicros <= longest) return;
    found = index;
    longest = waitMicros;
  });
  return found;
}
