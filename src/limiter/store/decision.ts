// Limiter, store: the answer to a reservation. Input: its claims and how each bucket looks before anything is taken;
// output: the decision with the live states. Every store answers through here, so that all of them answer alike.
import { resetAfter, waitFor, type BucketView, type CompiledRule } from './rule/bucket-state.ts';
import type { BucketState, Claim, StoreDecision } from './store.ts';

/** A claim, and its bucket as it sees it. */
export interface Look {
  readonly claim: Claim;
  readonly rule: CompiledRule;
  readonly view: BucketView;
}

/**
 * Several claims of one reservation on one bucket: each is judged after those before it, and all see what they take
 * together.
 */
export function decisionOf(looks: readonly Look[]): StoreDecision {
  const waits: number[] = [];
  let refusedBy = -1;
  let longest = 0;
  for (let index = 0; index < looks.length; index++) {
    const { claim, rule, view } = looks[index] as Look;
    const waitMicros = waitFor(view, rule, view.used + taken(looks, claim, index), claim.amount);
    waits.push(waitMicros);
    if (waitMicros <= longest || claim.bucket.shadow) continue;
    refusedBy = index;
    longest = waitMicros;
  }
  const states: BucketState[] = [];
  for (let index = 0; index < looks.length; index++) {
    const { claim, rule, view } = looks[index] as Look;
    const used = refusedBy < 0 ? view.used + taken(looks, claim, looks.length) : view.used;
    const waitMicros = waits[index] ?? 0;
    states.push({
      limit: rule.capacity,
      remaining: Math.max(0, rule.capacity - used),
      resetMicros: resetAfter(view, rule, used),
      over: waitMicros > 0,
      waitMicros,
    });
  }
  return refusedBy < 0 ? { outcome: 'admitted', states } : { outcome: 'refused', refusedBy, states };
}

/** What the first `count` claims take of the bucket of `claim`. */
export function taken(looks: readonly Look[], { bucket: { key } }: Claim, count: number): number {
  let sum = 0;
  for (let index = 0; index < count; index++) {
    const other = looks[index]?.claim;
    if (other?.bucket.key === key) sum += other.amount;
  }
  return sum;
}
