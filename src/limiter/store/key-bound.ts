// Limiter, store: a bound on how many buckets callers can make. Input: a limit's prefix and the key that its caller
// parts make; output: that key, or the key of the one bucket that all callers beyond the bound share.
import type { BucketRule, WindowPeriod, WindowRule } from '../../contract/limiter-config.ts';
import type { Clock } from '../../lib/clock.ts';

/** Live keys per object and limiter. */
export const DEFAULT_LIVE_KEYS = 100_000;

export interface KeyBoundOptions {
  readonly clock: Clock;
  /** Live keys per scope; at least 1. */
  readonly max?: number;
  /** Told for every request that shares the overflow bucket. */
  readonly onOverflow?: (scope: string) => void;
}

const PERIOD_MICROS: Readonly<Record<WindowPeriod, number>> = {
  Second: 1e6,
  Minute: 60e6,
  Hour: 3600e6,
  Day: 90_000e6,
  Week: 608_400e6,
  Month: 2_682_000e6,
  Year: 31_626_000e6,
};

/**
 * Keys in use, in two generations of one bucket's life each: what neither holds has been full again since it was
 * seen.
 */
interface Generations {
  current: Set<string>;
  previous: Set<string>;
  endsMicros: number;
}

/**
 * Counts live keys per scope. The maker of keys (limiter/keys.ts) calls {@link bound} with the object as scope,
 * before the key goes into a claim; a store decorator could not know the object. A rotating unauthenticated key (trap
 * 15) thus fills neither Redis nor this process: beyond `max` all further callers share one bucket, named by
 * `overflowKey`.
 */
export class KeyBound {
  readonly #options: KeyBoundOptions;
  readonly #max: number;
  readonly #scopes = new Map<string, Map<number, Generations>>();

  constructor(options: KeyBoundOptions) {
    this.#options = options;
    this.#max = options.max ?? DEFAULT_LIVE_KEYS;
  }

  /** The key to use: `key` itself, or `overflowKey` when the object `scope` has as many live keys as it may. */
  bound(scope: string, key: string, overflowKey: string, rule: BucketRule | WindowRule): string {
    const byLife = this.#scopes.get(scope) ?? new Map<number, Generations>();
    this.#scopes.set(scope, byLife);
    const { current, previous } = this.#generations(byLife, lifeMicros(rule));
    if (current.has(key)) return key;
    if (!previous.has(key) && this.#count(byLife) >= this.#max) {
      this.#options.onOverflow?.(scope);
      return overflowKey;
    }
    previous.delete(key);
    current.add(key);
    return key;
  }

  /** Live keys of an object, for its gauge. */
  size(scope: string): number {
    return this.#count(this.#scopes.get(scope) ?? new Map<number, Generations>());
  }

  /** The object is gone. */
  forget(scope: string): void {
    this.#scopes.delete(scope);
  }

  #generations(byLife: Map<number, Generations>, life: number): Generations {
    const now = this.#options.clock.nowMicros();
    const known = byLife.get(life);
    if (known !== undefined && now < known.endsMicros) return known;
    const isFresh = known !== undefined && now < known.endsMicros + life;
    const next = {
      current: new Set<string>(),
      previous: isFresh ? known.current : new Set<string>(),
      endsMicros: now + life,
    };
    byLife.set(life, next);
    return next;
  }

  #count(byLife: Map<number, Generations>): number {
    const now = this.#options.clock.nowMicros();
    let count = 0;
    for (const [life, { current, previous, endsMicros }] of byLife) {
      if (now >= endsMicros + life) byLife.delete(life);
      else count += current.size + (now < endsMicros ? previous.size : 0);
    }
    return count;
  }
}

/** The longest that a bucket needs to be full again, or that a window lasts (days of 25 hours included), µs. */
function lifeMicros(rule: BucketRule | WindowRule): number {
  if (rule.kind === 'window') return PERIOD_MICROS[rule.period];
  return Math.ceil((rule.burst * rule.refillPeriodMicros) / Math.max(1, rule.maxTokens));
}
