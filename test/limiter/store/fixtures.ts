// Test part: short ways to say a bucket, a window and a reservation.
import { randomUUID } from 'node:crypto';
import type { BucketRule, WindowPeriod, WindowRule } from '../../../src/contract/limiter-config.ts';
import type { BucketRef, Take, Reservation, Settlement } from '../../../src/limiter/store/store.ts';

export const SECOND = 1_000_000;
export const MINUTE = 60 * SECOND;
export const HOUR = 3600 * SECOND;
export const DAY = 24 * HOUR;

export function tokens(maxTokens: number, refillPeriodMicros: number, burst = maxTokens): BucketRule {
  return { kind: 'bucket', maxTokens, refillPeriodMicros, burst };
}

export function window(limit: number, period: WindowPeriod, timeZone = 'UTC'): WindowRule {
  return { kind: 'window', limit, period, timeZone };
}

/** A key of its own for each call. */
export function newKey(namespace = 'team'): string {
  return `weir:{${namespace}}:${randomUUID()}`;
}

export function bucket(rule: BucketRef['rule'], key = newKey(), shadow = false): BucketRef {
  return { key, rule, shadow };
}

export function take(...takes: readonly (readonly [BucketRef, number])[]): Reservation {
  return { id: randomUUID(), takes: takes.map(([ref, amount]): Take => ({ bucket: ref, amount })) };
}

/** A settlement to what was used; of the present window unless `takenAtMicros` says otherwise. */
export function truth(
  reservation: Reservation,
  actual: readonly number[],
  takenAtMicros = Number.MAX_SAFE_INTEGER,
): Settlement {
  return { reservation, actual, takenAtMicros };
}
