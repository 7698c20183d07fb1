// Limiter, route stage: what the head of a request alone says of who takes it. In: the routes in force and a head; out: nobody,
// or what must be read before it is known.
import type { WireRequest } from '../decide/decision.ts';
import { endpointOf } from '../request/endpoints.ts';
import { isInferencePath, modelsOf } from '../request/model-request.ts';
import type { RouteIndex } from './route-index.ts';

/**
 * `nobody`: it may go on unread. `firstBytes`: it is nobody's unless its body begins like JSON, which could name a model on any
 * path. `body`: only the whole body tells, or somebody claims it already.
 */
export type HeadClaim = 'nobody' | 'firstBytes' | 'body';

/** What of a request's head shows its body: present, and coded (`Content-Encoding`). */
export interface BodySigns {
  readonly hasBody: boolean;
  readonly isCoded: boolean;
}

/** Judges a head. `wire`: without what only the body says. */
export function headClaim(index: RouteIndex, wire: WireRequest, signs: BodySigns): HeadClaim {
  const runsModel = index.hasModels && isInferencePath(wire.method, wire.path);
  if (!runsModel && !index.mayClaim(wire)) return 'nobody';
  const named = modelsOf(wire, undefined);
  const { kind } = index.claim({ ...wire, ...named });
  return kind === 'unclaimed' ? claimOfBody(wire, named.model !== undefined, signs) : 'body';
}

/** Nobody claims the head: could the body change that? */
function claimOfBody({ method, path }: WireRequest, isNamed: boolean, { hasBody, isCoded }: BodySigns): HeadClaim {
  const place = endpointOf(method, path)?.endpoint.model;
  if (isNamed && !hasBody) return 'nobody';
  // Where a model runs it must be named: those who read the body say so.
  if (isInferencePath(method, path) && place !== 'path') return 'body';
  // A body of JSON may name another model than the path.
  if (!hasBody) return 'nobody';
  return isCoded ? 'body' : 'firstBytes';
}
