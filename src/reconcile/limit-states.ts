// Reconcile, status: the limits of an object -> one line each of what is done with them.
import { valuesAt } from '../contract/capabilities.ts';
import type { LimitConfig } from '../contract/limiter-config.ts';
import type { LimitStatus } from '../crd/conditions.ts';
import { formatDuration } from '../lib/duration.ts';
import { type Problem, cut } from './problems.ts';

/** Enforced and Shadow: in force at every limiter; Pending: not at every limiter yet; NotEnforced: the object is refused. */
export const LIMIT_STATES = ['Enforced', 'Shadow', 'Pending', 'NotEnforced'] as const;
export type LimitState = (typeof LIMIT_STATES)[number];

const MAX_MESSAGE = 1024;
const MAX_NAME = 256;

/** The limits that are in force, or will be when every limiter has acknowledged them. */
export function statesInForce(limits: readonly LimitConfig[], isProgrammed: boolean): LimitStatus[] {
  return limits.map((limit) => ({
    name: limit.name,
    state: (isProgrammed ? doneState(limit) : 'Pending') satisfies LimitState,
    message: describeLimit(limit),
  }));
}

function doneState(limit: LimitConfig): LimitState {
  return limit.enforcement === 'Shadow' ? 'Shadow' : 'Enforced';
}

/** What a limit amounts to, and what of it could surprise. */
function describeLimit({ rule, cost }: LimitConfig): string {
  if (rule.kind === 'window') {
    if (rule.limit === 0) return 'refuses everything: its limit is 0';
    return `${rule.limit} per calendar ${rule.period} in ${rule.timeZone}${neverFits(cost, rule.limit)}`;
  }
  const first = rule.burst + rule.maxTokens;
  const refill = `${rule.maxTokens} per ${formatDuration(rule.refillPeriodMicros)}, at most ${rule.burst} at once`;
  return `${refill}; up to ${first} may pass in the first period${neverFits(cost, rule.burst)}`;
}

function neverFits(cost: number, capacity: number): string {
  return cost <= capacity ? '' : `; no request ever passes: one costs ${cost}, more than it holds`;
}

/** The limits of a refused object, each with what is wrong with it. The spec may be anything. */
export function statesRefused(spec: unknown, problems: readonly Problem[]): LimitStatus[] {
  const named = valuesAt({ spec }, 'spec.rateLimiting.limits[].name').flatMap(({ path, value }) =>
    typeof value === 'string' && value.length > 0 && value.length <= MAX_NAME
      ? [{ name: value, at: path.slice(0, -'.name'.length) }]
      : [],
  );
  const unique = new Map(named.map((limit) => [limit.name, limit]));
  return [...unique.values()].slice(0, 32).map(({ name, at }) => ({
    name,
    state: 'NotEnforced' satisfies LimitState,
    message: cut(ownProblems(at, problems) || 'the object is not accepted', MAX_MESSAGE),
  }));
}

function ownProblems(at: string, problems: readonly Problem[]): string {
  return problems
    .filter(({ path }) => path === at || path?.startsWith(`${at}.`) === true)
    .map(({ path, message }) => `${path ?? ''}: ${message}`)
    .join('; ');
}
