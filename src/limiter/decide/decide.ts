// Limiter, decide stage: object + facts -> Decision. The store is asked once for all claims of a request; when it does
// not answer, failurePolicy decides.
import type { Clock } from '../../lib/clock.ts';
import { WeirError } from '../../lib/errors.ts';
import type { Decision, LimitOutcome, RequestFacts } from './decision.ts';
import { LocalShares, type WindowEnd } from './degrade.ts';
import { bucketKey } from './keys.ts';
import { applicableLimits } from './match.ts';
import { PendingReservations, type Actual, type SettleOutcome } from './pending.ts';
import type { RuntimeLimit, RuntimeObject } from '../compile/runtime-object.ts';
import { KeyBound } from '../store/key-bound.ts';
import { StoreUnavailable, type BucketState, type Claim, type Reservation, type Store } from '../store/store.ts';

/** What a decider needs of its limiter. */
export interface DeciderOptions {
  /** The store of an object's buckets; called per request, so it must be cheap. */
  readonly storeFor: (object: RuntimeObject) => Store;
  /** Limiters that share the buckets of an object, this one included. */
  readonly sharersOf: (object: RuntimeObject) => number;
  readonly clock: Clock;
  readonly windowEnd: WindowEnd;
  /** Live keys per object that callers may mint on this limiter; beyond it they share one bucket. */
  readonly liveKeys?: number;
  readonly maxPending?: number;
  /** Told when a caller's key was put into the overflow bucket: for a metric. */
  readonly onOverflow?: (object: RuntimeObject, limit: RuntimeLimit) => void;
}

/** One question. */
export interface DecideRequest {
  /** Unique, chosen by the limiter, never by the caller; a settlement names it. */
  readonly id: string;
  /** peek: what would be decided, without taking. */
  readonly mode: 'reserve' | 'peek';
  /** Requests that are asked for at once; a whole number, 1 when absent. */
  readonly hits?: number;
}

/** One limit of an object as `explain` tells it. */
export interface Explanation {
  readonly limit: string;
  /** false: its `when` does not hold, another of its group applies, or a key part is absent with whenAbsent Skip. */
  readonly applies: boolean;
  /** The key of its bucket; nothing of the caller is readable in it. */
  readonly key?: string;
}

/** A limit that applies, and what this request takes of which bucket. */
interface Planned {
  readonly limit: RuntimeLimit;
  readonly claim: Claim;
  /** Never fits: the amount is beyond what the bucket ever holds. */
  readonly isTooLarge: boolean;
}

const MAX_AMOUNT = 1e12;

/** Decides on requests and settles what it admitted. */
export class Decider {
  readonly #options: DeciderOptions;
  readonly #shares: LocalShares;
  readonly #pending: PendingReservations;
  readonly #keys: KeyBound;

  constructor(options: DeciderOptions) {
    this.#options = options;
    this.#shares = new LocalShares(options.windowEnd);
    this.#pending = new PendingReservations(options.clock, this.#shares, options.maxPending);
    const { clock, liveKeys } = options;
    this.#keys = new KeyBound({ clock, ...(liveKeys === undefined ? {} : { max: liveKeys }) });
  }

  /**
   * Decides on one request: takes all of its claims in one step, or none. In this order: an enforced limit of 0
   * blocks, without a word to the store and whatever failurePolicy says; what can never fit is too large; no
   * applicable limit allows; then the store decides. `outcomes` has every applicable limit where the store (or a
   * share) was asked, and else the limit that refused. Rejects for faults only, never for an outage. @throws
   * WeirError invalid_request for bad hits
   */
  decide(object: RuntimeObject, facts: RequestFacts, request: DecideRequest): Promise<Decision> {
    return this.decideAll(object, [facts], request);
  }

  /**
   * Decides on several requests that come as one (a batch): all of them pass or none. What they take of one bucket is
   * added up; a limit has one outcome per bucket then.
   */
  async decideAll(object: RuntimeObject, facts: readonly RequestFacts[], request: DecideRequest): Promise<Decision> {
    const planned = merged(facts.flatMap((each) => this.#plan(object, each, hitsOf(request.hits))));
    const early = refusedUnasked(planned);
    if (early !== undefined) return early;
    const asked = planned.filter(({ limit }) => limit.capacity > 0);
    if (asked.length === 0) return { kind: 'allowed', outcomes: planned.map((each) => outcomeOf(each, BLOCKED)) };
    const reservation: Reservation = { id: request.id, claims: asked.map(({ claim }) => claim) };
    try {
      return await this.#ask(object, planned, asked, reservation, request.mode);
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
      return this.#degrade(object, asked, request);
    }
  }

  /**
   * Settles an admitted reservation, once. `claimed` forgets it without a store call (it stays charged as claimed);
   * `nothing` refunds it. When the store does not answer, the store keeps the settlement and repeats it.
   */
  settle(id: string, actual: Actual): Promise<SettleOutcome> {
    return this.#pending.settle(id, actual);
  }

  /** Charges without asking, into debt if need be. false: this id was charged before. Rejects with StoreUnavailable. */
  async report(object: RuntimeObject, facts: RequestFacts, request: { id: string; hits?: number }): Promise<boolean> {
    const asked = this.#plan(object, facts, hitsOf(request.hits)).filter(({ limit }) => limit.capacity > 0);
    if (asked.length === 0) return true;
    return this.#options.storeFor(object).report({ id: request.id, claims: asked.map(({ claim }) => claim) });
  }

  /**
   * Which limits of an object apply to a request, and their keys. Takes nothing; ask `decide` in mode peek for
   * states.
   */
  explain(object: RuntimeObject, facts: RequestFacts): readonly Explanation[] {
    const planned = new Map(this.#plan(object, facts, 1).map(({ limit, claim }) => [limit, claim.bucket.key]));
    return object.limits.map((limit) => {
      const key = planned.get(limit);
      return { limit: limit.config.name, applies: key !== undefined, ...(key === undefined ? {} : { key }) };
    });
  }

  /** An object is gone: forgets how many keys its callers had. */
  forget(resourceName: string): void {
    this.#keys.forget(resourceName);
  }

  /** Reservations that wait for their settlement. */
  get pendingCount(): number {
    return this.#pending.size;
  }

  #plan(object: RuntimeObject, facts: RequestFacts, hits: number): readonly Planned[] {
    return applicableLimits(object, facts).flatMap((limit) => {
      const own = bucketKey(limit, facts);
      if (own === undefined) return [];
      const { rule, cost, enforcement } = limit.config;
      const key = this.#bounded(object, limit, own);
      const bucket = { key, rule, shadow: enforcement === 'Shadow' };
      const amount = Math.min(cost * hits, MAX_AMOUNT);
      return [{ limit, claim: { bucket, amount }, isTooLarge: cost * hits > limit.capacity }];
    });
  }

  #bounded(object: RuntimeObject, limit: RuntimeLimit, key: string): string {
    if (!limit.callerChosen || limit.capacity === 0) return key;
    const bounded = this.#keys.bound(object.resourceName, key, `${limit.keyPrefix}:overflow`, limit.config.rule);
    if (bounded !== key) this.#options.onOverflow?.(object, limit);
    return bounded;
  }

  async #ask(
    object: RuntimeObject,
    planned: readonly Planned[],
    asked: readonly Planned[],
    reservation: Reservation,
    mode: DecideRequest['mode'],
  ): Promise<Decision> {
    const store = this.#options.storeFor(object);
    const answer = mode === 'peek' ? await store.peek(reservation) : await store.reserve(reservation);
    if (mode === 'reserve') this.#shares.saw(reservation.claims, answer.states, this.#options.clock.nowMicros());
    const outcomes = outcomesOf(planned, asked, answer.states);
    if (answer.outcome === 'refused') return exhausted(outcomes, planned, asked[answer.refusedBy]);
    if (mode === 'peek') return { kind: 'allowed', outcomes };
    this.#pending.add(reservation, costsOf(asked), store);
    return { kind: 'allowed', reservation, outcomes };
  }

  /**
   * The store did not answer: any Closed refuses, Local asks this limiter's share, Open admits; Shadow has no say.
   * What is refused here is unavailable (503): an outage is not the caller's fault, and nobody knows what the store
   * would have said.
   */
  #degrade(object: RuntimeObject, asked: readonly Planned[], request: DecideRequest): Decision {
    const enforced = asked.filter(({ limit }) => limit.config.enforcement === 'Enforce');
    const closed = enforced.find(({ limit }) => limit.config.failurePolicy === 'Closed');
    if (closed !== undefined) return unavailable(closed, 'Closed');
    const local = enforced.filter(({ limit }) => limit.config.failurePolicy === 'Local');
    const [first] = local;
    if (first === undefined) return { kind: 'allowed', outcomes: [], degraded: 'Open' };
    // Who has never reached the store came in an outage, perhaps in the place of one whose share is used: it has none.
    if (this.#options.storeFor(object).wasReached?.() === false) return unavailable(first, 'Local');
    const claims = local.map(({ claim }) => claim);
    const peek = request.mode === 'peek';
    const now = this.#options.clock.nowMicros();
    const answer = this.#shares.take(claims, this.#options.sharersOf(object), now, peek);
    const outcomes = outcomesOf(local, local, answer.states);
    if (answer.outcome === 'refused') return unavailable(local[answer.refusedBy] ?? first, 'Local', outcomes);
    if (!peek) this.#pending.add({ id: request.id, claims }, costsOf(local));
    return { kind: 'allowed', outcomes, degraded: 'Local' };
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

/** @throws WeirError invalid_request when it is no whole number of at least 0 */
function hitsOf(hits = 1): number {
  if (Number.isSafeInteger(hits) && hits >= 0) return hits;
  throw new WeirError('invalid_request', 'hits must be a whole number of at least 0');
}

/** Refusals that need no store: a limit of 0, and an amount beyond what the limit ever holds. */
function refusedUnasked(planned: readonly Planned[]): Decision | undefined {
  const enforced = planned.filter(({ limit }) => limit.config.enforcement === 'Enforce');
  const blocked = enforced.find(({ limit }) => limit.capacity === 0);
  if (blocked !== undefined) return denied('blocked', outcomeOf(blocked, BLOCKED));
  const tooLarge = enforced.find(({ isTooLarge }) => isTooLarge);
  if (tooLarge === undefined) return undefined;
  return denied('too-large', outcomeOf(tooLarge, { ...BLOCKED, limit: tooLarge.limit.capacity }));
}

/** One claim per bucket: amounts for the same bucket are added up. */
function merged(planned: readonly Planned[]): readonly Planned[] {
  if (planned.length < 2) return planned;
  const byKey = new Map<string, Planned>();
  for (const each of planned) {
    const { bucket, amount } = each.claim;
    const before = byKey.get(bucket.key);
    const sum = amount + (before?.claim.amount ?? 0);
    const isTooLarge = each.isTooLarge || before?.isTooLarge === true || sum > each.limit.capacity;
    byKey.set(bucket.key, { limit: each.limit, claim: { bucket, amount: Math.min(sum, MAX_AMOUNT) }, isTooLarge });
  }
  return [...byKey.values()];
}

function exhausted(
  outcomes: readonly LimitOutcome[],
  planned: readonly Planned[],
  refusing: Planned | undefined,
): Extract<Decision, { kind: 'denied' }> {
  const by = refusing === undefined ? undefined : outcomes[planned.indexOf(refusing)];
  if (by === undefined) throw new Error('the store refused by a claim that was not asked');
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
  const stateOf = new Map(asked.map((each, index) => [each, states[index]]));
  return planned.map((each) => outcomeOf(each, stateOf.get(each) ?? BLOCKED));
}

function outcomeOf({ limit, claim }: Planned, state: BucketState): LimitOutcome {
  return { limit: limit.config, amount: claim.amount, state };
}

function costsOf(planned: readonly Planned[]): readonly number[] {
  return planned.map(({ limit }) => limit.config.cost);
}
