// Limiter, store: the answer to a reservation. Input: its takes and how each bucket looks before anything is taken;
// output: the decision with the live states. Every store answers through here, so that all of them answer alike.
import { resetAfter, waitFor, type BucketView, type CompiledRule } from './rule/bucket-state.ts';
import type { BucketState, BucketStates, Take, StoreDecision } from './store.ts';

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
    states.push(stateOf(rule, view, used, waits[index] ?? 0));
  }
  return refusedBy < 0
    ? { outcome: 'admitted', atMicros, states }
    : { outcome: 'refused', atMicros, refusedBy, states };
}

/** How each bucket is now; `over` and the wait are those of its take, asked now. */
export function statesOf(looks: readonly Look[], atMicros: number): BucketStates {
  const states = looks.map(({ take, rule, view }): BucketState => {
    const waitMicros = waitFor(view, rule, view.used, take.amount);
    return stateOf(rule, view, view.used, waitMicros);
  });
  return { atMicros, states };
}

function stateOf(rule: CompiledRule, view: BucketView, used: number, waitMicros: number): BucketState {
  return {
    limit: rule.capacity,
    remaining: Math.max(0, rule.capacity - used),
    resetMicros: resetAfter(view, rule, used),
    over: waitMicros > 0,
    waitMicros,
  };
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
