// Test part: a decider on a memory store that counts its calls and can be taken away, and short ways to ask it.
import type { LimitConfig } from '../../../src/contract/limiter-config.ts';
import { ManualClock } from '../../../src/lib/clock.ts';
import type { Admission } from '../../../src/limiter/decide/admission.ts';
import { Decider, type Decided, type DeciderOptions } from '../../../src/limiter/decide/decide.ts';
import type { Decision, RequestFacts } from '../../../src/limiter/decide/decision.ts';
import { requestsEstimate, type Ending } from '../../../src/limiter/decide/usage.ts';
import type { RuntimeObject } from '../../../src/limiter/compile/runtime-object.ts';
import { WindowCalendar } from '../../../src/limiter/store/rule/calendar-window.ts';
import { MemoryStore } from '../../../src/limiter/store/memory-store.ts';
import { StoreUnavailable, type Reservation, type Settlement, type Store } from '../../../src/limiter/store/store.ts';
import { compiled, facts, limit } from '../fixtures.ts';

/** A memory store that counts its calls and can be taken away. */
export class WatchedStore implements Store {
  readonly calls: string[] = [];
  isAway = false;
  /** false: it has never taken a write. */
  isReached = true;
  readonly #inner: MemoryStore;

  constructor(clock: ManualClock) {
    this.#inner = new MemoryStore(clock);
  }

  reserve(reservation: Reservation) {
    return this.#unlessAway('reserve', () => this.#inner.reserve(reservation));
  }

  peek(reservation: Reservation) {
    return this.#unlessAway('peek', () => this.#inner.peek(reservation));
  }

  settle(settlement: Settlement) {
    return this.#unlessAway('settle', () => this.#inner.settle(settlement));
  }

  report(reservation: Reservation) {
    return this.#unlessAway('report', () => this.#inner.report(reservation));
  }

  wasReached(): boolean {
    return this.isReached;
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  #unlessAway<T>(name: string, ask: () => Promise<T>): Promise<T> {
    this.calls.push(name);
    return this.isAway ? Promise.reject(new StoreUnavailable('timeout', 'no answer in 50 ms')) : ask();
  }
}

/** A limiter's decisions: its store, its clock (a Monday, midnight UTC) and its decider. */
export class Bench {
  readonly clock = new ManualClock(Date.UTC(2035, 0, 1) * 1000);
  readonly store = new WatchedStore(this.clock);
  /** Of the last question that was admitted. */
  last: Admission | undefined;
  /** What settlements met that is no outage. */
  readonly faults: unknown[] = [];

  decider(options: Partial<DeciderOptions> = {}): Decider {
    const calendar = new WindowCalendar();
    return new Decider({
      storeFor: () => this.store,
      sharersOf: () => 1,
      clock: this.clock,
      onFault: (error) => {
        this.faults.push(error);
      },
      windowEnd: (rule, at) => calendar.find(rule, at).end,
      ...options,
    });
  }

  async ask(decider: Decider, object: RuntimeObject, of: RequestFacts = facts(), hits = 1): Promise<Decision> {
    return (await this.take(decider, object, of, hits)).decision;
  }

  /** As {@link ask}, with the admission. */
  async take(decider: Decider, object: RuntimeObject, of: RequestFacts = facts(), hits = 1): Promise<Decided> {
    const decided = await decider.decide([object.limitSet], [{ facts: of, estimate: requestsEstimate(hits) }]);
    this.last = decided.admission;
    return decided;
  }

  peek(decider: Decider, object: RuntimeObject, of: RequestFacts = facts(), hits = 1): Promise<Decision> {
    return decider.peek([object.limitSet], [{ facts: of, estimate: requestsEstimate(hits) }]);
  }

  /** The kinds of `times` decisions, one after another. */
  async kinds(decider: Decider, object: RuntimeObject, times: number): Promise<string[]> {
    const seen: string[] = [];
    for (let count = 0; count < times; count += 1) seen.push((await this.ask(decider, object)).kind);
    return seen;
  }
}

/** So many requests were used. */
export function used(requests: number): Ending {
  return { kind: 'used', usage: { requests }, source: 'reported' };
}

/** An object with limits l0, l1 …: 10 per minute each unless the change says otherwise. */
export function withLimits(...limits: readonly Partial<LimitConfig>[]): RuntimeObject {
  return compiled({ limits: limits.map((change, index) => limit({ name: `l${index}`, ...change })) });
}

/** What is left of each limit, in order. */
export function remaining(decision: Decision): number[] {
  return decision.outcomes.map(({ state }) => state.remaining);
}
