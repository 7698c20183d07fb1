// Reconcile, parse: an object as read -> the same with its type established, or everything in it that violates schema
// and CEL.
import { type Finding, judgeObject } from '../crd/validate.ts';
import { API_VERSION } from '../crd/kinds/kinds.ts';
import type { WeirObject } from '../crd/types.ts';
import type { Problem } from './problems.ts';
import type { ObjectAsRead } from './types.ts';

export interface Parsed {
  /** Absent: the schema is violated, so it has no type. */
  readonly object?: WeirObject;
  /** Violations of schema and CEL; empty: they admit it. */
  readonly problems: readonly Problem[];
}

/** Checks again what the API server checks: admission can be bypassed, and an older CRD may have admitted more. */
export function parse({ kind, metadata, spec }: ObjectAsRead): Parsed {
  const { name, namespace = '', uid = '' } = metadata;
  const { shaped, findings } = judgeObject({ apiVersion: API_VERSION, kind, metadata: { name, namespace }, spec });
  const problems = findings.map(toProblem);
  if (shaped === undefined) return { problems };
  return { object: { ...shaped, metadata: { name, namespace, uid } }, problems };
}

/** A field of a newer version is valid there, and no limiter of this version enforces it. */
function toProblem({ type, path, message }: Finding): Problem {
  const where = path === '' ? {} : { path };
  if (type !== 'UnknownField') return { reason: 'Invalid', ...where, message };
  return {
    reason: 'NotSupported',
    ...where,
    message: 'this version does not know this field: remove it, or install a version of Weir that knows it',
  };
}
