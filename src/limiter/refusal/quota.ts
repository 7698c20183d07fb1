// Limiter, refuse stage: a decision -> the one quota that every header and text of the answer speaks of.
import type { LimitConfig, WindowPeriod } from '../../contract/limiter-config.ts';
import { countedText, type Measure } from '../../contract/measures.ts';
import type { Decision, LimitOutcome } from '../decide/decision.ts';

/** A limit as an answer tells it. All amounts in units of the measure. */
export interface Quota {
  readonly name: string;
  readonly measure: Measure;
  readonly limit: number;
  readonly remaining: number;
  /** µs until the bucket is full again or the window ends. */
  readonly resetMicros: number;
  /** What flows in per `windowSeconds`. */
  readonly policyQuota: number;
  readonly windowSeconds: number;
}

/** Longest wait, in seconds, that a client is told to sit out; beyond it the answer says not to retry. */
const RETRYABLE_SECONDS = 60;

const PERIOD_SECONDS: Readonly<Record<WindowPeriod, number>> = {
  Second: 1,
  Minute: 60,
  Hour: 3600,
  Day: 86_400,
  Week: 604_800,
  Month: 2_592_000,
  Year: 31_536_000,
};

/** How a limit stands, as the store told it. Month and Year are told as 30 and 365 days; resets are exact. */
export function quotaOf({ limit, state }: LimitOutcome): Quota {
  const { rule } = limit;
  return {
    name: limit.name,
    measure: limit.measure,
    limit: state.limit,
    remaining: state.remaining,
    resetMicros: state.resetMicros,
    policyQuota: rule.kind === 'bucket' ? rule.maxTokens : rule.limit,
    windowSeconds: rule.kind === 'bucket' ? wholeSeconds(rule.refillPeriodMicros) : PERIOD_SECONDS[rule.period],
  };
}

/** The enforced limit with the smallest remaining fraction: the one an allowed answer speaks of. */
export function tightestQuota(decision: Extract<Decision, { kind: 'allowed' }>): Quota | undefined {
  let tightest: LimitOutcome | undefined;
  for (const outcome of decision.outcomes) {
    const counts = outcome.limit.enforcement === 'Enforce' && outcome.state.limit > 0;
    if (counts && (tightest === undefined || fraction(outcome) < fraction(tightest))) tightest = outcome;
  }
  return tightest === undefined ? undefined : quotaOf(tightest);
}

/** What a refused caller is told about time. */
export interface Wait {
  readonly micros: number;
  /** Rounded up, at least 1. */
  readonly seconds: number;
  /** Rounded up, at least 1. */
  readonly milliseconds: number;
  /** false: longer than clients should wait by themselves. */
  readonly isRetryable: boolean;
}

/** The wait of the bucket that refused, for exactly the refused amount. */
export function waitOf({ state }: LimitOutcome): Wait {
  const seconds = wholeSeconds(state.waitMicros);
  return {
    micros: state.waitMicros,
    seconds,
    milliseconds: Math.max(1, Math.ceil(state.waitMicros / 1000)),
    isRetryable: seconds <= RETRYABLE_SECONDS,
  };
}

/** µs as whole seconds, rounded up, at least 1. */
export function wholeSeconds(micros: number): number {
  return Math.max(1, Math.ceil(micros / 1_000_000));
}

/** `6m0s`, `1h0m5s`, `250ms`: µs as API clients write durations; rounded up, so never earlier than the truth. */
export function clientDuration(micros: number): string {
  if (micros <= 0) return '0s';
  if (micros <= 999_000) return `${Math.ceil(micros / 1000)}ms`;
  const total = Math.ceil(micros / 1_000_000);
  const [hours, minutes, seconds] = [Math.floor(total / 3600), Math.floor((total % 3600) / 60), total % 60];
  if (hours > 0) return `${hours}h${minutes}m${seconds}s`;
  return minutes > 0 ? `${minutes}m${seconds}s` : `${seconds}s`;
}

/** A name for people: limit names are the owner's, but may come from tools with any characters. */
export function printable(name: string): string {
  return name.replace(/[^\x20-\x7e]/g, '?');
}

/** An id may come from the caller: nothing in it ends a header. */
export function headerSafe(text: string): string {
  return text.replace(/[^\x21-\x7e]/g, '').slice(0, 128);
}

/** `50 requests per 1h`: what a limit allows, for messages. */
export function allowance({ rule, measure }: LimitConfig): string {
  if (rule.kind === 'window') return `${countedText(rule.limit, measure)} per ${rule.period.toLowerCase()}`;
  return `${countedText(rule.maxTokens, measure)} per ${clientDuration(rule.refillPeriodMicros)}`;
}

function fraction({ state }: LimitOutcome): number {
  return state.remaining / state.limit;
}
