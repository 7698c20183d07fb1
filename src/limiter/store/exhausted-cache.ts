// Limiter, store: refusals that need no question. Input: a store; output: the same store, which refuses by itself, for at
// most 100 ms, what the store has just refused.
import { LRUCache } from 'lru-cache';
import type { BucketRule, WindowRule } from '../../contract/limiter-config.ts';
import type { Clock } from '../../lib/clock.ts';
import { longestWait } from './claims.ts';
import type { BucketState, Claim, Examination, Reservation, Settlement, Store, StoreDecision } from './store.ts';

/** The longest that a refusal is believed, ms: a refund at another limiter is seen after this. */
export const BELIEVE_MS = 100;
/** Buckets remembered. */
const REMEMBERED = 10_000;

/** A bucket as a refused decision showed it. */
interface Seen {
  readonly rule: BucketRule | WindowRule;
  readonly amount: number;
  readonly shadow: boolean;
  readonly state: BucketState;
  /** When the answer was heard, monotonic ms: waits are counted from here, so that they are never too short. */
  readonly heardMs: number;
  /** From the sending of the question: no refusal outlasts the bucket's own wait. */
  readonly untilMs: number;
}

/**
 * Answers from memory only when every bucket of a reservation was seen in a refused decision of the last 100 ms, for the
 * same amount and the same rule, and one of them refuses. A rule that changed (trap 38) or a refund that passes through
 * here ends it at once. Everything else is asked.
 */
export class ExhaustedCache implements Store {
  readonly #inner: Store;
  readonly #clock: Clock;
  readonly #seen = new LRUCache<string, Seen>({ max: REMEMBERED });
  /** When a refund last passed through: an answer to a question sent before it is not remembered. */
  readonly #refundedMs = new LRUCache<string, number>({ max: REMEMBERED });

  constructor(inner: Store, clock: Clock) {
    this.#inner = inner;
    this.#clock = clock;
  }

  reserve(reservation: Reservation): Promise<StoreDecision> {
    const known = this.#refusal(reservation);
    return known === undefined ? this.#ask(reservation) : Promise.resolve(known);
  }

  peek(reservation: Reservation): Promise<StoreDecision> {
    return this.#inner.peek(reservation);
  }

  async settle(settlement: Settlement): Promise<boolean> {
    const refunded = settlement.reservation.claims.filter(
      ({ amount }, index) => (settlement.actual[index] ?? 0) < amount,
    );
    this.#forget(refunded);
    try {
      return await this.#inner.settle(settlement);
    } finally {
      this.#forget(refunded);
    }
  }

  report(reservation: Reservation): Promise<boolean> {
    return this.#inner.report(reservation);
  }

  examine(): Promise<Examination> {
    return this.#inner.examine?.() ?? Promise.resolve({ reachable: true, detail: '' });
  }

  wasReached(): boolean {
    return this.#inner.wasReached?.() ?? true;
  }

  close(): Promise<void> {
    this.#seen.clear();
    return this.#inner.close();
  }

  async #ask(reservation: Reservation): Promise<StoreDecision> {
    const sentMs = this.#clock.monotonicMs();
    const decision = await this.#inner.reserve(reservation);
    if (decision.outcome === 'refused') this.#remember(reservation, decision.states, sentMs);
    return decision;
  }

  #remember(reservation: Reservation, states: readonly BucketState[], sentMs: number): void {
    const heardMs = this.#clock.monotonicMs();
    reservation.claims.forEach(({ bucket: { key, rule, shadow }, amount }, index) => {
      const state = states[index];
      if (state === undefined || (this.#refundedMs.get(key) ?? -Infinity) >= sentMs) return;
      const believeMs = state.over ? Math.min(BELIEVE_MS, state.waitMicros / 1000) : BELIEVE_MS;
      this.#seen.set(key, { rule, amount, shadow, state, heardMs, untilMs: sentMs + believeMs });
    });
  }

  #refusal({ claims }: Reservation): StoreDecision | undefined {
    const first = claims[0];
    if (first === undefined || !this.#seen.has(first.bucket.key)) return undefined;
    const nowMs = this.#clock.monotonicMs();
    const states: BucketState[] = [];
    for (const claim of claims) {
      const state = this.#stateOf(claim, nowMs);
      if (state === undefined) return undefined;
      states.push(state);
    }
    const refusedBy = longestWait(claims, states);
    return refusedBy < 0 ? undefined : { outcome: 'refused', refusedBy, states };
  }

  #stateOf({ bucket: { key, rule, shadow }, amount }: Claim, nowMs: number): BucketState | undefined {
    const seen = this.#seen.get(key);
    if (seen === undefined || seen.amount !== amount || seen.shadow !== shadow) return undefined;
    if (nowMs >= seen.untilMs || !isSameRule(seen.rule, rule)) {
      this.#seen.delete(key);
      return undefined;
    }
    const passed = Math.floor((nowMs - seen.heardMs) * 1000);
    const { state } = seen;
    return {
      ...state,
      resetMicros: Math.max(0, state.resetMicros - passed),
      waitMicros: state.over ? Math.max(1, state.waitMicros - passed) : 0,
    };
  }

  #forget(claims: readonly Claim[]): void {
    const nowMs = this.#clock.monotonicMs();
    for (const { bucket } of claims) {
      this.#seen.delete(bucket.key);
      this.#refundedMs.set(bucket.key, nowMs);
    }
  }
}

function isSameRule(a: BucketRule | WindowRule, b: BucketRule | WindowRule): boolean {
  if (a === b) return true;
  if (a.kind === 'bucket')
    return (
      b.kind === 'bucket' &&
      a.burst === b.burst &&
      a.maxTokens === b.maxTokens &&
      a.refillPeriodMicros === b.refillPeriodMicros
    );
  return b.kind === 'window' && a.limit === b.limit && a.period === b.period && a.timeZone === b.timeZone;
}
