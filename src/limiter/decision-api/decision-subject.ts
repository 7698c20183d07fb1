// Limiter, decision API: what a body speaks of. In: an object's name or nothing, and facts of a request; out: the object in
// force and facts as the proxy would have them.
import { resourceName } from '../../contract/limiter-config.ts';
import { WeirError } from '../../lib/errors.ts';
import type { FactsBody, SubjectBody } from './decision-schemas.ts';
import type { RequestFacts, WireRequest } from '../decide/decision.ts';
import { normalisePath, pathBelow } from '../../lib/path.ts';
import type { RuntimeObject } from '../compile/runtime-object.ts';
import type { RuntimeSet } from '../compile/runtime-set.ts';

/** An object and what its limits look at. */
export interface Subject {
  readonly object: RuntimeObject;
  readonly facts: RequestFacts;
}

/**
 * Finds the object that a body names, or that would take the request.
 * @returns undefined on a sidecar when no object claims the request: it is not limited
 * @throws WeirError not_found, model_not_found, invalid_request
 */
export function subjectOf(body: SubjectBody, set: RuntimeSet): Subject | undefined {
  const wire = wireOf(body.request);
  if (body.object !== undefined) {
    const name = resourceName(body.object);
    const object = set.get(name);
    if (object === undefined) throw new WeirError('not_found', `${name} is not in force here`);
    const below = pathBelow(object.routing.pathPrefix, wire.path) ?? wire.path;
    return { object, facts: factsOf(body.request, wire, below) };
  }
  const claimed = set.index.claim(wire);
  if (claimed.kind === 'unclaimed') return undefined;
  if (claimed.kind === 'notFound') throw new WeirError(claimed.code);
  return { object: claimed.object, facts: factsOf(body.request, wire, claimed.upstreamPath) };
}

function wireOf(facts: FactsBody): WireRequest {
  const path = normalisePath(facts.path ?? '/');
  if (path === undefined)
    throw new WeirError('invalid_request', 'request.path holds characters that servers disagree on');
  const headers = Object.entries(facts.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value] as const);
  return {
    method: (facts.method ?? 'POST').toUpperCase(),
    host: (facts.host ?? '').toLowerCase(),
    path,
    query: new URLSearchParams(facts.query ?? ''),
    headers: Object.fromEntries(headers),
    peerAddress: facts.clientIP ?? '',
    ...named(facts),
  };
}

function named({ model, tool, session }: FactsBody): Pick<WireRequest, 'model' | 'tool' | 'session'> {
  return {
    ...(model === undefined ? {} : { model }),
    ...(tool === undefined ? {} : { tool }),
    ...(session === undefined ? {} : { session }),
  };
}

/** The caller of this API is believed, as a gateway that has authenticated its own caller. */
function factsOf(body: FactsBody, wire: WireRequest, upstreamPath: string): RequestFacts {
  const { user, application, attributes, clientIP } = body;
  return {
    ...wire,
    upstreamPath,
    identity: {
      ...(user === undefined || user === '' ? {} : { user }),
      ...(application === undefined || application === '' ? {} : { application }),
      attributes: attributes ?? {},
      clientAddress: clientIP ?? '',
    },
  };
}
