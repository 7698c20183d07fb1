// Reconcile: problems of an object, as values: a reason for programs, a field and a correction for people.
import { MAX_CONDITION_MESSAGE, type AcceptedReason } from '../crd/kinds/conditions.ts';

/** A reason for which an object is not accepted. */
export interface Problem {
  readonly reason: Exclude<AcceptedReason, 'Accepted'>;
  /** `spec.rateLimiting.limits[0].bucket`; absent: the object as a whole. */
  readonly path?: string;
  /** What is wrong and how to correct it. */
  readonly message: string;
}

/** The reason of an object with several problems: the first of these. */
const ORDER: readonly Problem['reason'][] = ['Invalid', 'NotSupported', 'RedisRequired', 'Conflicted'];
/** Room for what follows the list of problems in a message. */
const MAX_LIST = MAX_CONDITION_MESSAGE - 1024;

/** The reason and the message of all problems together. The message names every one, the most severe first. */
export function summarise(problems: readonly [Problem, ...Problem[]]): {
  readonly reason: Problem['reason'];
  readonly message: string;
} {
  const sorted = [...problems].sort((a, b) => ORDER.indexOf(a.reason) - ORDER.indexOf(b.reason));
  const texts = sorted.map(({ path, message }) => (path === undefined ? message : `${path}: ${message}`));
  return { reason: (sorted[0] ?? problems[0]).reason, message: cut([...new Set(texts)].join('; '), MAX_LIST) };
}

/** At most `length` characters; says that it was cut. */
export function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}
