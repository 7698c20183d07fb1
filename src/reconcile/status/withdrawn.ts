// Reconcile, status: the status of an object that no operator follows any more -> the same, without what nobody knows
// from now on.
import { cut } from '../problems.ts';
import { MAX_CONDITION_MESSAGE } from '../../crd/kinds/conditions.ts';
import type { Condition, Status } from '../../crd/types.ts';
import type { LimitState } from './limit-states.ts';
import { conditionsIn } from './status.ts';

/** Why nobody follows it. */
export interface Withdrawal {
  readonly reason: string;
  /** With what to do. */
  readonly message: string;
  /** RFC 3339. */
  readonly now: string;
}

/** What limiters said; the verdicts on the spec and its references stay. */
const FROM_LIMITERS: readonly string[] = ['Programmed', 'Degraded', 'Ready'];

/** @returns undefined when there is nothing to take back: no status, or it says so already. */
export function withdrawn(status: unknown, withdrawal: Withdrawal): Status | undefined {
  const conditions = [...conditionsIn(status).values()];
  const fromLimiters = conditions.filter(({ type }) => FROM_LIMITERS.includes(type));
  if (fromLimiters.every((condition) => condition.status === 'Unknown')) return undefined;
  const before = status as Status;
  const { limits = [] } = before;
  return {
    ...before,
    limiters: { summary: 'unknown' },
    unlimitedPods: {},
    limits: limits.map((limit) => ({ ...limit, state: 'Unknown' satisfies LimitState })),
    conditions: conditions.map((condition) =>
      fromLimiters.includes(condition) ? unknown(condition, withdrawal) : condition,
    ),
  };
}

function unknown(condition: Condition, { reason, message, now }: Withdrawal): Condition {
  const { status, lastTransitionTime } = condition;
  return {
    ...condition,
    status: 'Unknown',
    reason,
    message: cut(message, MAX_CONDITION_MESSAGE),
    lastTransitionTime: status === 'Unknown' ? lastTransitionTime : now,
  };
}
