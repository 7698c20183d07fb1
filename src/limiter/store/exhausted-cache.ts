// Limiter, store: refusals that need no question. Input: a store; output: the same store, which refuses by itself,
// for at most 100 ms, what the store has just refused.
import { LRUCache } from 'lru-cache';
import type { BucketRule, WindowRule } from '../../contract/limiter-config.ts';
import type { Clock } from '../../lib/clock.ts';
import { longestWait } from './takes.ts';
import type {
  Applied,
  BucketRef,
  BucketState,
  Take,
  Examination,
  Reservation,
  Settlement,
  Store,
  StoreDecision,
} from './store.ts';

/** The longest that a refusal is believed, ms: a refund at another limiter is seen after this. */
export const BELIEVE_MS = 100;
/** Refunds that stream through here let one question about a bucket pass in this time, ms: fewer than 20 a second. */
export const ASK_AGAIN_MS = 60;
/** Buckets remembered. */
const REMEMBERED = 10_000;

/** A bucket as a refused decision showed it. */
interface Seen {
  readonly rule: BucketRule | WindowRule;
  readonly amount: number;
  readonly shadow: boolean;
  readonly state: BucketState;
  /** Store time of the answer, µs. */
  readonly atMicros: number;
  /** Of the question, monotonic ms: no refusal outlasts the bucket's own wait, counted from here. */
  readonly sentMs: number;
  /** Of the answer: waits are told from here, so that they are never too short. */
  readonly heardMs: number;
  /** Believed until then. */
  untilMs: number;
  /** The question whether it still refuses, while that is on its way: others with the same one wait for its answer. */
  asking: Promise<StoreDecision> | undefined;
}

/** What passed through here of one bucket; times are monotonic ms. */
interface Refunds {
  /** The place of the last one among all refunds and questions. */
  turn: number;
  /** When it ends, or ended, what is believed. */
  heedAtMs: number;
  /** Each that is heeded takes ASK_AGAIN_MS of this; the first two at once. */
  freeAtMs: number;
}

/**
 * Answers from memory only when every bucket of a reservation was seen in a refused decision of the last 100 ms, by
 * the same rule and one of them refuses: what had 4 left refuses 5 and 7. A rule that changed (trap 38) ends it at
 * once, and so does a refund that passes through here; a stream of refunds (every request with tokens ends in one)
 * does so every 60 ms (trap 53). Everything else is asked; of several that ask whether a bucket still refuses, one
 * does.
 */
export class ExhaustedCache implements Store {
  readonly #inner: Store;
  readonly #clock: Clock;
  readonly #seen = new LRUCache<string, Seen>({ max: REMEMBERED });
  readonly #refunds = new LRUCache<string, Refunds>({ max: REMEMBERED });
  #turn = 0;

  constructor(inner: Store, clock: Clock) {
    this.#inner = inner;
    this.#clock = clock;
  }

  reserve(reservation: Reservation): Promise<StoreDecision> {
    const { takes } = reservation;
    const first = takes[0];
    if (first === undefined || !this.#seen.has(first.bucket.key)) return this.#ask(reservation);
    const known = this.#refusal(takes);
    if (known !== undefined) return Promise.resolve(known);
    const refusing = this.#refusing(takes);
    return refusing === undefined ? this.#ask(reservation) : this.#askOnce(reservation, refusing);
  }

  peek(reservation: Reservation): Promise<StoreDecision> {
    return this.#inner.peek(reservation);
  }

  settle(settlement: Settlement): Promise<Applied> {
    const { reservation, actual } = settlement;
    // Questions that are sent after this come to the store after it.
    reservation.takes.forEach(({ bucket, amount }, index) => {
      if ((actual[index] ?? 0) < amount) this.#refunded(bucket.key);
    });
    return this.#learn(reservation, (inner) => inner.settle(settlement));
  }

  report(reservation: Reservation): Promise<Applied> {
    return this.#learn(reservation, (inner) => inner.report(reservation));
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
    const turn = ++this.#turn;
    const sentMs = this.#clock.monotonicMs();
    const decision = await this.#inner.reserve(reservation);
    if (decision.outcome === 'refused') this.#remember(reservation, decision, turn, sentMs);
    return decision;
  }

  /** A bucket that is still used up after a settlement or report refuses without another question. */
  async #learn(reservation: Reservation, call: (inner: Store) => Promise<Applied>): Promise<Applied> {
    const turn = ++this.#turn;
    const sentMs = this.#clock.monotonicMs();
    const applied = await call(this.#inner);
    const { states, atMicros } = applied;
    if (states !== undefined && atMicros !== undefined) {
      const over = states.map((state) => (state.over ? state : undefined));
      this.#remember(reservation, { atMicros, states: over }, turn, sentMs);
    }
    return applied;
  }

  /** Rejects with the one that asks: it has waited as long. */
  #askOnce(reservation: Reservation, refusing: Seen): Promise<StoreDecision> {
    if (refusing.asking !== undefined) return refusing.asking.then(() => this.reserve(reservation));
    const asking = this.#ask(reservation);
    const answered = (): void => {
      refusing.asking = undefined;
    };
    refusing.asking = asking;
    asking.then(answered, answered);
    return asking;
  }

  #remember(
    reservation: Reservation,
    { atMicros, states }: { readonly atMicros: number; readonly states: readonly (BucketState | undefined)[] },
    turn: number,
    sentMs: number,
  ): void {
    const heardMs = this.#clock.monotonicMs();
    reservation.takes.forEach(({ bucket: { key, rule, shadow }, amount }, index) => {
      const state = states[index];
      if (state === undefined) return;
      const refunds = state.over ? this.#refunds.get(key) : undefined;
      // A refund after the question is not in the answer.
      const heedAtMs = refunds !== undefined && refunds.turn > turn ? refunds.heedAtMs : Infinity;
      const untilMs = Math.min(sentMs + BELIEVE_MS, heedAtMs);
      this.#seen.set(key, { rule, amount, shadow, state, atMicros, sentMs, heardMs, untilMs, asking: undefined });
    });
  }

  /** A bucket that was not over did not refuse: what it holds more now changes no refusal. */
  #refunded(key: string): void {
    const nowMs = this.#clock.monotonicMs();
    const refunds = this.#refunds.get(key) ?? { turn: 0, heedAtMs: -Infinity, freeAtMs: -Infinity };
    refunds.turn = ++this.#turn;
    if (nowMs >= refunds.heedAtMs) {
      refunds.heedAtMs = Math.max(nowMs, refunds.freeAtMs - ASK_AGAIN_MS);
      refunds.freeAtMs = Math.max(refunds.freeAtMs, refunds.heedAtMs) + ASK_AGAIN_MS;
    }
    this.#refunds.set(key, refunds);
    const seen = this.#seen.get(key);
    if (seen?.state.over === true) seen.untilMs = Math.min(seen.untilMs, refunds.heedAtMs);
  }

  #refusal(takes: readonly Take[]): StoreDecision | undefined {
    const nowMs = this.#clock.monotonicMs();
    const states: BucketState[] = [];
    let atMicros = 0;
    for (const take of takes) {
      const seen = this.#seen.get(take.bucket.key);
      const state = seen === undefined ? undefined : stateAt(seen, take, nowMs);
      if (seen === undefined || state === undefined) return undefined;
      states.push(state);
      atMicros = Math.max(atMicros, seen.atMicros + passedMicros(seen, nowMs));
    }
    const refusedBy = longestWait(takes, states);
    return refusedBy < 0 ? undefined : { outcome: 'refused', atMicros, refusedBy, states };
  }

  /** A bucket that did not have this amount when it was last asked. */
  #refusing(takes: readonly Take[]): Seen | undefined {
    for (const { bucket, amount } of takes) {
      const seen = this.#seen.get(bucket.key);
      if (seen !== undefined && seen.state.over && !bucket.shadow && tellsOf(seen, bucket, amount)) return seen;
    }
    return undefined;
  }
}

/** undefined: what was seen does not say. */
function stateAt(seen: Seen, { bucket, amount }: Take, nowMs: number): BucketState | undefined {
  if (nowMs >= seen.untilMs || !tellsOf(seen, bucket, amount)) return undefined;
  const { state, sentMs } = seen;
  const wait = state.over ? waitFor(seen, amount) : 0;
  if (state.over && nowMs >= sentMs + wait / 1000) return undefined;
  const passed = passedMicros(seen, nowMs);
  return {
    ...state,
    resetMicros: Math.max(0, state.resetMicros - passed),
    waitMicros: state.over ? Math.max(1, wait - passed) : 0,
  };
}

function passedMicros({ heardMs }: Seen, nowMs: number): number {
  return Math.floor((nowMs - heardMs) * 1000);
}

/** Whether what was seen says if `amount` fits: it was more than what was left, or not more. */
function tellsOf(seen: Seen, { rule, shadow }: BucketRef, amount: number): boolean {
  const { over, remaining } = seen.state;
  return amount > remaining === over && seen.shadow === shadow && isSameRule(seen.rule, rule);
}

/** µs until `amount` fits, from the answer for another amount on; at most 1 too many. */
function waitFor({ rule, amount: seenAmount, state: { waitMicros } }: Seen, amount: number): number {
  if (rule.kind === 'window') return waitMicros;
  const more = ((amount - seenAmount) / rule.maxTokens) * rule.refillPeriodMicros;
  return waitMicros + Math.ceil(more);
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
