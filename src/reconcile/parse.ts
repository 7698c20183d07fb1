// Reconcile: an object as read -> the same with its type established and its defaults filled in, or all that schema and CEL
// have against it.
import { type Finding, judgeObject } from '../crd/validate.ts';
import { API_VERSION } from '../crd/kinds/kinds.ts';
import type { WeirObject } from '../crd/types.ts';
import type { Problem } from './problems.ts';
import type { ObjectAsRead } from './types.ts';

export interface Parsed {
  /** Absent: its shape is wrong, nothing more can be said of it. */
  readonly object?: WeirObject;
  /** What schema and CEL say; empty: they admit it. */
  readonly problems: readonly Problem[];
}

/** Checks again what the API server checks: admission can be by-passed, and an older CRD may have let something in. */
export function parse({ kind, metadata, spec }: ObjectAsRead): Parsed {
  const { name, namespace = '', uid = '' } = metadata;
  const { shaped, findings } = judgeObject({ apiVersion: API_VERSION, kind, metadata: { name, namespace }, spec });
  const problems = findings.map(toProblem);
  if (shaped === undefined) return { problems };
  return { object: { ...shaped, metadata: { name, namespace, uid } }, problems };
}

/** A field of a newer version is valid there and enforced by nobody here. */
function toProblem({ type, path, message }: Finding): Problem {
  const where = path === '' ? {} : { path };
  if (type !== 'UnknownField') return { reason: 'Invalid', ...where, message };
  return { reason: 'NotSupported', ...where, message: 'this version does not know the field: remove it' };
}
