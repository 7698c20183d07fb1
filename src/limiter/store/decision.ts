// Limiter, store: the answer to a reservation. Input: its takes and how each bucket looks before anything is taken;
// output: the decision with the live states. Every store answers through here, so that all of them answer alike.
import { resetAfter, waitFor, type BucketView, type CompiledRule } from './rule/bucket-state.ts';
import type { BucketState, Take, StoreDecision } from './store.ts';

/** A take, and its bucket as it sees it. */
export interface Look {
  readonly take: Take;
  readonly rule: CompiledRule;
  readonly view: BucketView;
}

/**
 * Several takes of one reservation on one bucket: each is judged after those before it, and all see what they take
 * together.
 */
export function decisionOf(looks: readonly Look[], atMicros: number): StoreDecision {
  const waits: number[] = [];
  let refusedBy = -1;
  let longest = 0;
  for (let index = 0; index < looks.length; index++) {
    const { take, rule, view } = looks[index] as Look;
    const waitMicros = waitFor(view, rule, view.used + taken(looks, take, index), take.amount);
    waits.push(waitMicros);
    if (waitMicros <= longest || take.bucket.shadow) continue;
    refusedBy = index;
    longest = waitMicros;
  }
  const states: BucketState[] = [];
  for (let index = 0; index < looks.length; index++) {
    const { take, rule, view } = looks[index] as Look;
    const used = refusedBy < 0 ? view.used + taken(looks, take, looks.length) : view.used;
    const waitMicros = waits[index] ?? 0;
    states.push({
      limit: rule.capacity,
      remaining: Math.max(0, rule.capacity - used),
      resetMicros: resetAfter(view, rule, used),
      over: waitMicros > 0,
      waitMicros,
    });
  }
  return refusedBy < 0 ? { outcome: 'admitted', atMicros, states } : { outcome: 'refused', atMicros, refusedBy, states };
}

/** What the first `count` takes take of the bucket of `take`. */
export function taken(looks: readonly Look[], { bucket: { key } }: Take, count: number): number {
  let sum = 0;
  for (let index = 0; index < count; index++) {
    const other = looks[index]?.take;
    if (other?.bucket.key === key) sum += other.amount;
  }
  return sum;
}
