// Limiter, decide stage without a store: takes -> admitted or not from this limiter's own share (failurePolicy Local).
import type { BucketRule, WindowRule } from '../../contract/limiter-config.ts';
import { RecentMap } from '../../lib/recent-map.ts';
import type { BucketState, Take, StoreDecision } from '../store/store.ts';

/** Keys that are remembered; beyond it the longest unused one counts as never seen. */
const DEFAULT_MAX_KEYS = 100_000;

/** The end (µs since the epoch) of the window that holds a time. */
export type WindowEnd = (rule: WindowRule, atMicros: number) => number;

interface Share {
  left: number;
  readonly total: number;
  /** No new share before this time: the window's end, or when an empty bucket would be full again. */
  readonly untilMicros: number;
}

interface Memory {
  /**
   * What the store said was left, and until when that says anything: window's end, or when the bucket is full again.
   */
  seen?: { readonly remaining: number; readonly untilMicros: number };
  share?: Share;
}

/**
 * This limiter's shares during an outage. The bounds, per bucket:
 * - One outage: this limiter admits at most floor(left / N), where left is what remained when it last saw the bucket
 *   (the
 *   whole limit when it never did, or when the bucket is full again since) and N the number of known limiters. A token
 *   bucket's share does not refill. So all limiters together admit at most the sum of their shares: what was left, when
 *   all saw the same.
 * - A window's end gives a new share, of the new window: floor(limit / N).
 * - A store that comes and goes does not multiply shares: until the window ends, or an empty bucket would be full
 *   again, an
 *   answer in between can only lower what is left of a share.
 * Memory is bounded by the number of keys; a key that was dropped counts as never seen.
 */
export class LocalShares {
  readonly #memories: RecentMap<Memory>;
  readonly #windowEnd: WindowEnd;

  constructor(windowEnd: WindowEnd, maxKeys = DEFAULT_MAX_KEYS) {
    this.#windowEnd = windowEnd;
    this.#memories = new RecentMap(maxKeys);
  }

  /** Remembers what the store told about the buckets of some takes; states in the order of the takes. */
  saw(takes: readonly Take[], states: readonly BucketState[], nowMicros: number): void {
    takes.forEach(({ bucket }, index) => {
      const state = states[index];
      if (state !== undefined && !bucket.shadow) this.#sawOne(bucket.key, state, nowMicros);
    });
  }

  /**
   * Takes from every share or from none; with `peek` from none in any case. Waits are told as if the store were back.
   */
  take(takes: readonly Take[], knownLimiters: number, nowMicros: number, peek = false): StoreDecision {
    const shares = takes.map(({ bucket }) => this.#shareOf(bucket.key, bucket.rule, knownLimiters, nowMicros));
    const fits = takes.every(({ amount }, index) => amount <= (shares[index]?.left ?? 0));
    if (fits && !peek) {
      shares.forEach((share, index) => {
        share.left -= takes[index]?.amount ?? 0;
      });
    }
    const states = takes.map((take, index) => this.#stateOf(take, shares[index]?.left ?? 0, fits, nowMicros));
    if (fits) return { outcome: 'admitted', atMicros: nowMicros, states };
    const waits = states.map(({ waitMicros }) => waitMicros);
    return { outcome: 'refused', atMicros: nowMicros, refusedBy: waits.indexOf(Math.max(...waits)), states };
  }

  /** Puts back what a request did not use. `actual` is in the order of the takes. */
  giveBack(takes: readonly Take[], actual: readonly number[]): void {
    takes.forEach(({ bucket, amount }, index) => {
      const share = this.#memories.get(bucket.key)?.share;
      if (share !== undefined) share.left = Math.min(share.total, share.left + amount - (actual[index] ?? amount));
    });
  }

  #sawOne(key: string, state: BucketState, nowMicros: number): void {
    const share = this.#memories.get(key)?.share;
    const memory: Memory = { seen: { remaining: state.remaining, untilMicros: nowMicros + state.resetMicros } };
    if (share !== undefined && nowMicros < share.untilMicros) memory.share = share;
    this.#memories.set(key, memory);
  }

  #shareOf(key: string, rule: BucketRule | WindowRule, knownLimiters: number, nowMicros: number): Share {
    const memory = this.#memories.get(key) ?? {};
    const ceiling = Math.floor(leftOf(memory, capacityOf(rule), nowMicros) / Math.max(1, knownLimiters));
    const isOver = rule.kind === 'window' && memory.share !== undefined && nowMicros >= memory.share.untilMicros;
    if (memory.share === undefined || isOver) {
      memory.share = { left: ceiling, total: ceiling, untilMicros: this.#shareEnd(rule, nowMicros) };
    } else if (memory.seen !== undefined) {
      memory.share.left = Math.min(memory.share.left, ceiling);
    }
    delete memory.seen;
    this.#memories.set(key, memory);
    return memory.share;
  }

  #shareEnd(rule: BucketRule | WindowRule, nowMicros: number): number {
    return rule.kind === 'window' ? this.#windowEnd(rule, nowMicros) : nowMicros + flowMicros(rule, rule.burst);
  }

  #stateOf({ bucket, amount }: Take, left: number, fits: boolean, nowMicros: number): BucketState {
    const { rule } = bucket;
    const over = !fits && amount > left;
    const used = rule.kind === 'window' ? 0 : Math.max(1, rule.burst - left);
    const untilFull =
      rule.kind === 'window' ? Math.max(0, this.#windowEnd(rule, nowMicros) - nowMicros) : flowMicros(rule, used);
    const wait = rule.kind === 'window' ? untilFull : flowMicros(rule, amount);
    return {
      limit: capacityOf(rule),
      remaining: left,
      resetMicros: untilFull,
      over,
      waitMicros: over ? wait : 0,
    };
  }
}

/** What a bucket holds at most. */
export function capacityOf(rule: BucketRule | WindowRule): number {
  return rule.kind === 'bucket' ? rule.burst : rule.limit;
}

/** µs in which `amount` flows into a bucket, rounded up. */
export function flowMicros(rule: BucketRule, amount: number): number {
  return Math.ceil((amount / rule.maxTokens) * rule.refillPeriodMicros);
}

function leftOf({ seen }: Memory, capacity: number, nowMicros: number): number {
  return seen === undefined || nowMicros >= seen.untilMicros ? capacity : Math.min(seen.remaining, capacity);
}
