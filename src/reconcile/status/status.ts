// Reconcile, status: what was found out about an object -> its whole status, unchanged where it says the same already.
import { canonicalJson } from '../../contract/snapshot.ts';
import { CONDITION_TYPES, MAX_CONDITION_MESSAGE, type ConditionType } from '../../crd/kinds/conditions.ts';
import type { Condition } from '../../crd/types.ts';
import { given } from '../optional.ts';
import { statesInForce, statesRefused } from './limit-states.ts';
import { HEALTHY } from './degraded.ts';
import type { Verdict } from './programmed.ts';
import { type Problem, cut } from '../problems.ts';
import type { InForce, LimiterTally, ObjectStatus, ReconcileInput } from '../types.ts';

/** What the stages before found out. */
export interface Findings {
  readonly inForce?: InForce;
  readonly tally: LimiterTally;
  /** What is wrong with the present form. */
  readonly problems: readonly Problem[];
  readonly accepted: Verdict;
  readonly resolvedRefs: Verdict;
  readonly programmed: Verdict;
  /** Holds when something is wrong. undefined: nobody can say now, what was said before stays. */
  readonly degraded: Verdict | undefined;
}

const MOST_POD_NAMES = 10;

/** The status of the object, with the time of each condition's last change of status kept. */
export function statusOf(input: ReconcileInput, findings: Findings): ObjectStatus {
  const { inForce, tally, problems } = findings;
  const { desired, synced, rejected, unlimited } = tally;
  const limits = inForce?.config.limits ?? [];
  return {
    observedGeneration: input.object.metadata.generation ?? 0,
    ...given('configVersion', inForce?.resource.version),
    limitCount: limits.length,
    toolCount: toolCount(limits.map((limit) => limit.name)),
    limiters: { desired, synced, rejected: rejected.length, summary: `${synced}/${desired}` },
    limits:
      inForce === undefined
        ? statesRefused(input.object.spec, problems)
        : statesInForce(inForce.config, findings.programmed.holds),
    unlimitedPods: { count: unlimited.length, names: unlimited.slice(0, MOST_POD_NAMES).map(({ pod }) => pod) },
    conditions: conditionsOf(input, findings),
  };
}

/** Tools with limits of their own: the `<tool>` of `tools/<tool>/shared` and `tools/<tool>/perUser`. */
function toolCount(names: readonly string[]): number {
  return new Set(names.filter((name) => name.startsWith('tools/')).map((name) => name.slice(0, name.lastIndexOf('/'))))
    .size;
}

function conditionsOf(input: ReconcileInput, findings: Findings): Condition[] {
  const { accepted, resolvedRefs, programmed } = findings;
  const firstBad = [accepted, resolvedRefs, programmed].find((verdict) => !verdict.holds);
  const ready = firstBad ?? { holds: true, reason: 'Ready', message: programmed.message };
  const before = conditionsIn(input.object.status);
  const table: readonly (readonly [ConditionType, Verdict])[] = [
    ['Accepted', accepted],
    ['ResolvedRefs', resolvedRefs],
    ['Programmed', programmed],
    ['Degraded', findings.degraded ?? toldBefore(before.get('Degraded')) ?? HEALTHY],
    ['Ready', ready],
  ];
  return table.map(([type, { holds, reason, message }]) => {
    const status = holds ? 'True' : 'False';
    const previous = before.get(type);
    return {
      type,
      status,
      reason,
      message: cut(message, MAX_CONDITION_MESSAGE),
      observedGeneration: input.object.metadata.generation ?? 0,
      lastTransitionTime: previous?.status === status ? previous.lastTransitionTime : input.now,
    };
  });
}

/** What a condition of before says, as a verdict. */
function toldBefore(condition: Condition | undefined): Verdict | undefined {
  if (condition === undefined || condition.status === 'Unknown') return undefined;
  return { holds: condition.status === 'True', reason: condition.reason, message: condition.message };
}

/** Whether a status says something else than the object's present one. */
export function differs(status: ObjectStatus, present: unknown): boolean {
  return canonicalJson(status) !== canonicalJson(present ?? {});
}

/**
 * The conditions whose reason is not what the object's present status says; that a new object is healthy is no news.
 */
export function changedReasons(status: ObjectStatus, present: unknown): Condition[] {
  const before = conditionsIn(present);
  return status.conditions.filter(
    ({ type, reason }) => before.get(type)?.reason !== reason && (reason !== 'Healthy' || before.has(type)),
  );
}

/** The conditions of a status that may be anything. */
export function conditionsIn(status: unknown): Map<string, Condition> {
  const list = (status as { readonly conditions?: unknown } | null | undefined)?.conditions;
  return new Map((Array.isArray(list) ? (list as unknown[]) : []).filter(isCondition).map((each) => [each.type, each]));
}

function isCondition(value: unknown): value is Condition {
  if (typeof value !== 'object' || value === null) return false;
  const { type, lastTransitionTime } = value as Partial<Condition>;
  return CONDITION_TYPES.some((each) => each === type) && typeof lastTransitionTime === 'string';
}
