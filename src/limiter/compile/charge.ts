// Limiter, compile: a limit -> its charge, the one function that turns usage into units of its bucket.
import type { LimitConfig } from '../../contract/limiter-config.ts';
import type { Measure } from '../../contract/measures.ts';
import type { Charge } from '../decide/usage.ts';

/** How each measure that this limiter counts reads a usage. */
const CHARGES: Readonly<Partial<Record<Measure, (limit: LimitConfig) => Charge>>> = {
  Requests:
    ({ cost }) =>
    ({ requests }) =>
      units(requests, cost),
};

/** undefined: this limiter does not count the limit's measure. */
export function chargeOf(limit: LimitConfig): Charge | undefined {
  return CHARGES[limit.measure]?.(limit);
}

/** `count * cost`; undefined when `count` is not a whole number that is exact. */
function units(count: number, cost: number): number | undefined {
  return Number.isSafeInteger(count) && count >= 0 ? count * cost : undefined;
}
