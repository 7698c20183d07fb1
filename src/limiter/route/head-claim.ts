// Limiter, route stage: what the head of a request alone says of who takes it. In: the routes in effect and a head;
// out: nobody, or what must be read before it is known.
import type { WireRequest } from '../decide/decision.ts';
import { endpointOf, isNamedByPathAlone } from '../request/endpoints.ts';
import { isInferencePath, modelsOf } from '../request/model-request.ts';
import type { RouteIndex } from './route-index.ts';

/**
 * `nobody`: it may go on unread. `firstBytes`: it is nobody's unless its body begins like JSON, which could name a
 * model on any path. `body`: only the whole body tells, or somebody claims it already.
 */
export type HeadClaim = 'nobody' | 'firstBytes' | 'body';

/**
 * What of a request's head shows its body: present, and coded (`Content-Encoding`, or JSON in another charset than
 * UTF-8).
 */
export interface BodySigns {
  readonly hasBody: boolean;
  readonly isCoded: boolean;
}

/** Judges a head. `wire`: without what only the body says. */
export function headClaim(index: RouteIndex, wire: WireRequest, signs: BodySigns): HeadClaim {
  if (!index.mayClaim(wire)) return 'nobody';
  const { model } = modelsOf(wire, undefined);
  const { kind } = index.claim({ ...wire, ...(model === undefined ? {} : { model }) });
  return kind === 'unclaimed' ? claimOfBody(wire, model !== undefined, signs) : 'body';
}

/** Nobody claims the head: could the body change that? */
function claimOfBody({ method, path }: WireRequest, isNamed: boolean, { hasBody, isCoded }: BodySigns): HeadClaim {
  if (isNamed && (!hasBody || isNamedByPathAlone(endpointOf(method, path)))) return 'nobody';
  // Where a model runs it must be named: those who read the body say so.
  if (!isNamed && isInferencePath(method, path)) return 'body';
  if (!hasBody) return 'nobody';
  return isCoded ? 'body' : 'firstBytes';
}
