// Limiter, store arithmetic: how one bucket changes with time and charges. Input: its stored state, its rule and the
// time; output: what is used now, when an amount fits, and the next state. Pure; the Lua twins are
// lua/include/{bucket,rule}.lua.
import type { BucketRule, WindowRule } from '../../../contract/limiter-config.ts';
import { greatestCommonDivisor, MAX_WHOLE, multiplyDivide, type Quotient } from './exact.ts';

/** Largest debt that is remembered: beyond it a further charge is lost (4.5e15 units). */
export const MAX_USED = 2 ** 52;
/** The largest amount of one take. */
export const MAX_AMOUNT = 1e12;
/**
 * A clock that stepped back by no more than this is waited for: negative elapsed counts as 0, and nothing is written. A
 * state from further in the future is moved to the present, or a fail-over to a slow clock would block its bucket.
 */
export const MAX_SKEW_MICROS = 1_000_000;
/**
 * A bucket that is full again is remembered for a moment: a caller who comes back soon finds its key, to make it anew
 * costs more.
 */
export const LINGER_MICROS = 1_000_000;
const SECOND_MICROS = 1_000_000;

/** What is stored of a bucket. Absent = unused. */
export interface StoredBucket {
  /** Units used; more than the capacity = debt. */
  readonly used: number;
  /** Store time of the last change, µs. */
  readonly at: number;
  /** Refill that is less than a unit: carry/period of one unit, 0 <= carry < period. */
  readonly carry: number;
  readonly period: number;
  /** Last charged as shadow: its debt is forgiven when it is charged as enforced. */
  readonly shadow: boolean;
}

/** A rule as the arithmetic wants it. Bucket: `units` flow in per `period` µs, reduced to lowest terms. */
export type CompiledRule =
  | { readonly kind: 'bucket'; readonly capacity: number; readonly units: number; readonly period: number }
  | { readonly kind: 'window'; readonly capacity: number; readonly rule: WindowRule };

/** A calendar window, [start, end) in µs. */
export interface WindowSpan {
  readonly start: number;
  readonly end: number;
}

/** Finds the window that holds a time. */
export type FindWindow = (rule: WindowRule, atMicros: number) => WindowSpan;

/** A bucket at a moment. */
export interface BucketView {
  readonly used: number;
  readonly carry: number;
  readonly period: number;
  /** max(now, time of the last change) */
  readonly at: number;
  /** How much `at` is ahead of the clock, µs. */
  readonly skew: number;
  /** Absent for a token bucket. */
  readonly window: WindowSpan | undefined;
}

const compiled = new WeakMap<BucketRule | WindowRule, CompiledRule>();

/** Brings a rule into lowest terms; remembered per rule object. */
export function compileRule(rule: BucketRule | WindowRule): CompiledRule {
  const known = compiled.get(rule);
  if (known !== undefined) return known;
  const fresh = rule.kind === 'bucket' ? compileBucket(rule) : { kind: rule.kind, capacity: rule.limit, rule };
  compiled.set(rule, fresh);
  return fresh;
}

function compileBucket(rule: BucketRule): CompiledRule {
  const divisor = greatestCommonDivisor(rule.maxTokens, rule.refillPeriodMicros);
  return {
    kind: 'bucket',
    capacity: rule.burst,
    units: rule.maxTokens / divisor,
    period: rule.refillPeriodMicros / divisor,
  };
}

/** The bucket at `now`, as a take that is (not) `shadow` sees it. Changes nothing. */
export function viewBucket(
  stored: StoredBucket | undefined,
  rule: CompiledRule,
  shadow: boolean,
  now: number,
  findWindow: FindWindow,
): BucketView {
  const changed = stored === undefined || stored.at > now + MAX_SKEW_MICROS ? now : stored.at;
  const debt = stored !== undefined && stored.shadow && !shadow ? withoutDebt(stored, rule.capacity) : stored;
  const at = Math.max(now, changed);
  if (rule.kind === 'bucket') {
    const { whole, rest } = debt === undefined ? EMPTY : usedAfter(debt, rule, at - changed);
    return { used: whole, carry: rest, period: rule.period, at, skew: at - now, window: undefined };
  }
  const window = findWindow(rule.rule, at);
  const used = debt !== undefined && changed >= window.start ? debt.used : 0;
  return { used, carry: 0, period: 1, at, skew: at - now, window };
}

const EMPTY: Quotient = { whole: 0, rest: 0 };

/** Units still used after `elapsed` µs of refill, and the carry. */
function usedAfter(
  stored: StoredBucket,
  { units, period }: Extract<CompiledRule, { kind: 'bucket' }>,
  elapsed: number,
): Quotient {
  const carry = stored.period === period ? stored.carry : multiplyDivide(stored.carry, period, 0, stored.period).whole;
  const refill = multiplyDivide(elapsed, units, carry, period);
  return refill.whole >= stored.used ? EMPTY : { whole: stored.used - refill.whole, rest: refill.rest };
}

/** Counted from the last charge, so that a refused caller's wait runs although a refusal writes nothing. */
function withoutDebt(stored: StoredBucket, capacity: number): StoredBucket {
  return stored.used > capacity ? { ...stored, used: capacity, carry: 0 } : stored;
}

/**
 * µs until `amount` fits when `used` units are taken: the smallest whole number after which it passes. 0: fits now;
 * Infinity: never; waits beyond 2^53 - 1 µs (285 years) are cut to that.
 */
export function waitFor(view: BucketView, rule: CompiledRule, used: number, amount: number): number {
  const missing = used + amount - rule.capacity;
  if (missing <= 0) return 0;
  if (amount > rule.capacity) return Infinity;
  return timeUntil(view, rule, missing);
}

/** µs until the bucket is full again when `used` units are taken, or until its window ends. */
export function resetAfter(view: BucketView, rule: CompiledRule, used: number): number {
  if (view.window === undefined && used <= 0) return 0;
  return Math.min(timeUntil(view, rule, used), MAX_WHOLE);
}

/** µs until `units` (at least 1) have flowed in, or until the window ends. */
function timeUntil(view: BucketView, rule: CompiledRule, units: number): number {
  if (rule.kind === 'window') return (view.window?.end ?? view.at) - view.at + view.skew;
  if (rule.units === 0) return Infinity;
  // ceil((units * period - carry) / rate)
  const { whole } = multiplyDivide(units - 1, rule.period, rule.period - view.carry + rule.units - 1, rule.units);
  return Math.min(whole + view.skew, MAX_WHOLE);
}

/**
 * When a bucket that is full at `fullAt` (a window: over) may be forgotten. Redis expires keys then, and every store
 * forgets alike.
 */
export function forgottenAt(rule: CompiledRule, fullAt: number): number {
  if (rule.kind === 'window') return fullAt;
  const lingered = Math.min(fullAt, MAX_WHOLE) + LINGER_MICROS;
  return lingered - (lingered % SECOND_MICROS) + SECOND_MICROS;
}

/** The state after `delta` more units (negative: a refund) were used; undefined = unused again. */
export function applyCharge(view: BucketView, delta: number, shadow: boolean): StoredBucket | undefined {
  const used = Math.min(view.used + delta, MAX_USED);
  if (used <= 0) return undefined;
  return { used, at: view.at, carry: view.carry, period: view.period, shadow };
}
