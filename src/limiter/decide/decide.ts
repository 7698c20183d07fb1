// Limiter, decide stage: limit sets + asks -> a decision, and the admission of what was taken. The store is asked once
// for all takes of a request; when it does not answer, failurePolicy decides.
import { randomUUID } from 'node:crypto';
import type { Clock } from '../../lib/clock.ts';
import { Admission, type TakenFrom } from './admission.ts';
import type { Decision, LimitOutcome, RequestFacts } from './decision.ts';
import { LocalShares, type WindowEnd } from './degrade.ts';
import { isTooLarge, planOf, type Ask, type BoundKey, type Planned } from './plan.ts';
import { ONE_REQUEST } from './usage.ts';
import type { LimitSet, RuntimeLimit } from '../compile/runtime-object.ts';
import { KeyBound } from '../store/key-bound.ts';
import { nextSerial, StoreUnavailable, type BucketState, type Reservation, type Store } from '../store/store.ts';

/** What a decider needs of its limiter. */
export interface DeciderOptions {
  /** The store of a limit set's buckets; called per request, so it must be cheap. */
  readonly storeFor: (set: LimitSet) => Store;
  /** Limiters that share the buckets of a limit set, this one included. */
  readonly sharersOf: (set: LimitSet) => number;
  readonly clock: Clock;
  readonly windowEnd: WindowEnd;
  /** A settlement met a fault that is no outage. Must not throw. */
  readonly onFault: (error: unknown) => void;
  /** Live keys per limit set that callers may mint on this limiter; beyond it they share one bucket. */
  readonly liveKeys?: number;
  /** A caller's key was put into the overflow bucket: for a metric. */
  readonly onOverflow?: (set: LimitSet, limit: RuntimeLimit) => void;
}

/** A decision, and what it took, to be settled by the caller: absent when nothing was taken. */
export interface Decided {
  readonly decision: Decision;
  readonly admission?: Admission;
}

/** One limit of a set as `explain` tells it. */
export interface Explanation {
  readonly limit: string;
  /** false: its `when` does not hold, another of its group applies, or a key part is absent with whenAbsent Skip. */
  readonly applies: boolean;
  /** The key of its bucket; nothing of the caller is readable in it. */
  readonly key?: string;
}

/** What a decision is made on. */
interface Question {
  readonly id: string;
  readonly isPeek: boolean;
  readonly sets: readonly LimitSet[];
  readonly planned: readonly Planned[];
  /** Those of `planned` that the store knows about: a limit of 0 has no bucket. */
  readonly asked: readonly Planned[];
}

/** Decides on requests; what it admitted settles itself. */
export class Decider {
  readonly #options: DeciderOptions;
  readonly #shares: LocalShares;
  readonly #keys: KeyBound;
  readonly #bound: BoundKey;

  constructor(options: DeciderOptions) {
    this.#options = options;
    this.#shares = new LocalShares(options.windowEnd);
    const { clock, liveKeys } = options;
    this.#keys = new KeyBound({ clock, ...(liveKeys === undefined ? {} : { max: liveKeys }) });
    this.#bound = (set, limit, key) => this.#bounded(set, limit, key);
  }

  /**
   * Takes what all asks need of all sets in one step, or nothing. In this order: an enforced limit of 0 blocks, without
   * a word to the store and whatever failurePolicy says; what can never fit is too large; no applicable limit allows;
   * then the store decides. `outcomes` has every applicable limit where the store (or a share) was asked, otherwise the
   * limit that refused; a limit has one outcome per bucket. All sets must live in one store: no step takes from two.
   * `id` names the admission; it must be unique, and never the caller's choice. Rejects for faults only, never for an
   * outage. @throws WeirError invalid_request for an estimate that is not in whole numbers
   */
  decide(sets: readonly LimitSet[], asks: readonly Ask[], id: string = randomUUID()): Promise<Decided> {
    return this.#decide(sets, asks, id, false);
  }

  /** What {@link decide} would decide, without taking. */
  async peek(sets: readonly LimitSet[], asks: readonly Ask[]): Promise<Decision> {
    return (await this.#decide(sets, asks, '', true)).decision;
  }

  /**
   * Charges without asking, into debt if need be. false: this id was charged before. Rejects with StoreUnavailable.
   * @throws WeirError as {@link decide}
   */
  async report(set: LimitSet, ask: Ask, id: string): Promise<boolean> {
    const asked = planOf([set], [ask], this.#bound).filter(({ limit }) => limit.capacity > 0);
    if (asked.length === 0) return true;
    const { applied } = await this.#options.storeFor(set).report({ id, takes: asked.map(({ take }) => take) });
    return applied;
  }

  /** Which limits of a set apply to a request, and their keys. Takes nothing; {@link peek} tells states. */
  explain(set: LimitSet, facts: RequestFacts): readonly Explanation[] {
    const planned = planOf([set], [{ facts, estimate: ONE_REQUEST }], this.#bound);
    const keys = new Map(planned.map(({ limit, take }) => [limit, take.bucket.key]));
    return set.limits.map((limit) => {
      const key = keys.get(limit);
      return { limit: limit.config.name, applies: key !== undefined, ...(key === undefined ? {} : { key }) };
    });
  }

  /** The owner of a limit set is gone: forgets how many keys its callers had. */
  forget(name: string): void {
    this.#keys.forget(name);
  }

  async #decide(sets: readonly LimitSet[], asks: readonly Ask[], id: string, isPeek: boolean): Promise<Decided> {
    const planned = planOf(sets, asks, this.#bound);
    const early = refusedWithoutStore(planned);
    if (early !== undefined) return { decision: early };
    const asked = planned.filter(({ limit }) => limit.capacity > 0);
    const [first] = sets;
    if (first === undefined || asked.length === 0) {
      return { decision: { kind: 'allowed', outcomes: planned.map((each) => outcomeOf(each, BLOCKED)) } };
    }
    const question: Question = { id, isPeek, sets, planned, asked };
    const store = this.#storeOf(first, sets);
    try {
      return await this.#ask(store, question);
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
      return this.#degrade(store, first, question);
    }
  }

  #storeOf(first: LimitSet, sets: readonly LimitSet[]): Store {
    const { storeFor } = this.#options;
    const store = storeFor(first);
    if (sets.length > 1 && sets.some((set) => storeFor(set) !== store)) throw new Error('two stores in one decision');
    return store;
  }

  async #ask(store: Store, { id, isPeek, planned, asked }: Question): Promise<Decided> {
    const takes = asked.map(({ take }) => take);
    const reservation: Reservation = isPeek ? { id, takes } : { id, serial: nextSerial(), takes };
    const answer = isPeek ? await store.peek(reservation) : await store.reserve(reservation);
    if (!isPeek) this.#shares.saw(reservation.takes, answer.states, this.#options.clock.nowMicros());
    const outcomes = outcomesOf(planned, asked, answer.states);
    if (answer.outcome === 'refused') return { decision: exhausted(outcomes, planned, asked[answer.refusedBy]) };
    const decision: Decision = { kind: 'allowed', outcomes };
    if (isPeek) return { decision };
    return { decision, admission: this.#admission(reservation, asked, { store, takenAtMicros: answer.atMicros }) };
  }

  /**
   * The store did not answer: any Closed refuses, Local asks this limiter's share, Open admits; Shadow has no say.
   * What is refused here is unavailable (503): an outage is not the caller's fault, and nobody knows what the store
   * would have said.
   */
  #degrade(store: Store, set: LimitSet, { id, isPeek, asked }: Question): Decided {
    const enforced = asked.filter(({ limit }) => limit.config.enforcement === 'Enforce');
    const closed = enforced.find(({ limit }) => limit.config.failurePolicy === 'Closed');
    if (closed !== undefined) return { decision: unavailable(closed, 'Closed') };
    const local = enforced.filter(({ limit }) => limit.config.failurePolicy === 'Local');
    const [first] = local;
    if (first === undefined) return { decision: { kind: 'allowed', outcomes: [], degraded: 'Open' } };
    // A limiter that has never reached the store came in an outage, perhaps after one whose share is used: it has none.
    if (store.wasReached?.() === false) return { decision: unavailable(first, 'Local') };
    const takes = local.map(({ take }) => take);
    const answer = this.#shares.take(takes, this.#options.sharersOf(set), this.#options.clock.nowMicros(), isPeek);
    const outcomes = outcomesOf(local, local, answer.states);
    if (answer.outcome === 'refused') {
      return { decision: unavailable(local[answer.refusedBy] ?? first, 'Local', outcomes) };
    }
    const decision: Decision = { kind: 'allowed', outcomes, degraded: 'Local' };
    return isPeek
      ? { decision }
      : { decision, admission: this.#admission({ id, takes }, local, { shares: this.#shares }) };
  }

  #admission(reservation: Reservation, planned: readonly Planned[], takenFrom: TakenFrom): Admission {
    return new Admission(reservation, planned, takenFrom, this.#options.onFault);
  }

  #bounded(set: LimitSet, limit: RuntimeLimit, key: string): string {
    if (!limit.callerChosen || limit.capacity === 0) return key;
    const bounded = this.#keys.bound(set.name, key, `${limit.keyPrefix}:overflow`, limit.config.rule);
    if (bounded !== key) this.#options.onOverflow?.(set, limit);
    return bounded;
  }
}

function unavailable(
  { limit }: Planned,
  degraded: 'Closed' | 'Local',
  outcomes: readonly LimitOutcome[] = [],
): Decision {
  return { kind: 'unavailable', limit: limit.config, outcomes, degraded };
}

const BLOCKED: BucketState = { limit: 0, remaining: 0, resetMicros: 0, over: true, waitMicros: Infinity };

/** Refusals that need no store: a limit of 0, and an amount beyond what the limit ever holds. */
function refusedWithoutStore(planned: readonly Planned[]): Decision | undefined {
  const enforced = planned.filter(({ limit }) => limit.config.enforcement === 'Enforce');
  const blocked = enforced.find(({ limit }) => limit.capacity === 0);
  if (blocked !== undefined) return denied('blocked', outcomeOf(blocked, BLOCKED));
  const tooLarge = enforced.find(isTooLarge);
  if (tooLarge === undefined) return undefined;
  const { limit, floor } = tooLarge;
  return denied('too-large', { limit: limit.config, amount: floor, state: { ...BLOCKED, limit: limit.capacity } });
}

function exhausted(
  outcomes: readonly LimitOutcome[],
  planned: readonly Planned[],
  refusing: Planned | undefined,
): Decision {
  const by = refusing === undefined ? undefined : outcomes[planned.indexOf(refusing)];
  if (by === undefined) throw new Error('the store refused by a take that was not asked');
  return { kind: 'denied', reason: by.state.waitMicros === Infinity ? 'too-large' : 'exhausted', by, outcomes };
}

function denied(reason: 'blocked' | 'too-large', by: LimitOutcome): Decision {
  return { kind: 'denied', reason, by, outcomes: [by] };
}

/** States back in the order of the plan; what was not asked (a Shadow limit of 0) is over. */
function outcomesOf(
  planned: readonly Planned[],
  asked: readonly Planned[],
  states: readonly BucketState[],
): readonly LimitOutcome[] {
  let at = 0;
  return planned.map((each) => outcomeOf(each, each === asked[at] ? (states[at++] ?? BLOCKED) : BLOCKED));
}

function outcomeOf({ limit, take }: Planned, state: BucketState): LimitOutcome {
  return { limit: limit.config, amount: take.amount, state };
}
