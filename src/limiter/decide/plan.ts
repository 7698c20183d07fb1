// Limiter, decide: limit sets and asks -> what each applicable limit takes of which bucket. Reads no clock and no
// store.
import { WeirError } from '../../lib/errors.ts';
import type { LimitSet, RuntimeLimit } from '../compile/runtime-object.ts';
import { MAX_AMOUNT } from '../store/rule/bucket-state.ts';
import type { Take } from '../store/store.ts';
import type { RequestFacts } from './decision.ts';
import { bucketKey } from './keys.ts';
import { applicableLimits } from './match.ts';
import type { Estimate, Usage } from './usage.ts';

/** One request, or one call of several that pass or fail together. */
export interface Ask {
  readonly facts: RequestFacts;
  readonly estimate: Estimate;
}

/** A limit that applies, and what is taken of one of its buckets. */
export interface Planned {
  readonly limit: RuntimeLimit;
  readonly take: Take;
  /** The asks that take it: several of them may share a bucket. */
  readonly asks: readonly Ask[];
  /** Units that are certainly used. */
  readonly floor: number;
}

/** Bounds the keys that callers may mint; answers the key to use. */
export type BoundKey = (set: LimitSet, limit: RuntimeLimit, key: string) => string;

/**
 * One entry per bucket; amounts for the same bucket are added up. A take is what is reserved, at most what the bucket
 * ever holds; of what can never fit it is all of it.
 * @throws WeirError invalid_request for an estimate that is not in whole numbers of at least 0
 */
export function planOf(sets: readonly LimitSet[], asks: readonly Ask[], bound: BoundKey): readonly Planned[] {
  const planned: Planned[] = [];
  for (const ask of asks) {
    const alone = [ask];
    for (const set of sets) {
      for (const limit of applicableLimits(set, ask.facts)) {
        const own = bucketKey(limit, ask.facts);
        if (own !== undefined) planned.push(plannedFor(limit, bound(set, limit, own), alone, ask));
      }
    }
  }
  return asks.length === 1 ? planned : merged(planned);
}

/** Never fits: more is certainly used than the bucket ever holds. */
export function isTooLarge({ limit, floor }: Planned): boolean {
  return floor > limit.capacity;
}

function plannedFor(limit: RuntimeLimit, key: string, asks: readonly Ask[], { facts, estimate }: Ask): Planned {
  const { rule, enforcement } = limit.config;
  const full = charged(limit, estimate.full, facts);
  const floor = estimate.floor === estimate.full ? full : charged(limit, estimate.floor, facts);
  const bucket = { key, rule, shadow: enforcement === 'Shadow' };
  return { limit, take: { bucket, amount: amountOf(limit, floor, full) }, asks, floor };
}

function charged(limit: RuntimeLimit, usage: Usage, { model }: RequestFacts): number {
  const units = limit.charge(usage, model);
  if (units !== undefined) return units;
  throw new WeirError('invalid_request', 'hits must be a whole number of at least 0');
}

function amountOf({ capacity }: RuntimeLimit, floor: number, full: number): number {
  return Math.min(full, floor > capacity ? MAX_AMOUNT : capacity);
}

function merged(planned: readonly Planned[]): readonly Planned[] {
  const byKey = new Map<string, Planned>();
  for (const each of planned) {
    const { limit, take } = each;
    const before = byKey.get(take.bucket.key);
    if (before === undefined) {
      byKey.set(take.bucket.key, each);
      continue;
    }
    const floor = Math.min(before.floor + each.floor, Number.MAX_SAFE_INTEGER);
    const amount = amountOf(limit, floor, before.take.amount + take.amount);
    const asks = [...before.asks, ...each.asks];
    byKey.set(take.bucket.key, { limit, take: { bucket: take.bucket, amount }, asks, floor });
  }
  return [...byKey.values()];
}
