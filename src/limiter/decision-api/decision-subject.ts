// Limiter, decision API: what a body speaks of. In: an object's name or nothing, and facts of a request; out: the
// object in force and facts as the proxy would have them.
import { resourceName } from '../../contract/limiter-config.ts';
import { parseAddress } from '../../lib/values/address.ts';
import { WeirError } from '../../lib/errors.ts';
import type { FactsBody, SubjectBody } from './decision-schemas.ts';
import type { RequestFacts, WireRequest } from '../decide/decision.ts';
import { unclearIn } from '../identity/identity.ts';
import { normalisePath, pathBelow } from '../../lib/values/path.ts';
import { modelsOf } from '../request/model-request.ts';
import { readValues, unclearQuery, unclearText } from '../request/one-value.ts';
import { hostName } from '../request/request-target.ts';
import { modelIn } from '../route/route-model.ts';
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
    const unclear = unclearIn(object, wire);
    if (unclear !== undefined) throw new WeirError(unclear.code, unclearText(unclear.source));
    const upstreamPath = pathBelow(object.routing.pathPrefix, wire.path) ?? wire.path;
    return { object, facts: factsOf(body.request, { ...wire, ...modelIn(object, wire) }, upstreamPath) };
  }
  const claimed = set.index.claim(wire);
  if (claimed.kind === 'unclaimed') return undefined;
  if (claimed.kind === 'unclear') throw new WeirError(claimed.code, claimed.message);
  if (claimed.kind === 'notFound') throw new WeirError(claimed.code);
  const { object, upstreamPath, model } = claimed;
  return { object, facts: factsOf(body.request, { ...wire, ...(model === undefined ? {} : { model }) }, upstreamPath) };
}

function wireOf(facts: FactsBody): WireRequest {
  const path = normalisePath(facts.path ?? '/');
  if (path === undefined)
    throw new WeirError('invalid_request', 'request.path holds characters that servers disagree on');
  // The same name in two spellings is one header with two values.
  const { headers, unclear } = readValues(Object.entries(facts.headers ?? {}));
  const query = new URLSearchParams(facts.query ?? '');
  const line = { method: (facts.method ?? 'POST').toUpperCase(), path, query };
  return {
    ...line,
    ...modelsOf(line, facts.model),
    host: hostName(facts.host ?? ''),
    headers,
    unclear: new Set([...unclear, ...unclearQuery(query)]),
    peerAddress: addressOf(facts),
    ...named(facts),
    // Without a path nothing says where the request goes, so nothing says that it needs a model.
    ...(facts.path === undefined ? { modelNeed: 'none' } : {}),
  };
}

/** In the form that the proxy has it: one client, one text. */
function addressOf({ clientIP = '' }: { readonly clientIP?: string | undefined }): string {
  if (clientIP === '') return '';
  const address = parseAddress(clientIP);
  if (address === undefined) throw new WeirError('invalid_request', 'request.clientIP is not an IP address');
  return address.toString();
}

function named({ tool, session }: FactsBody): Pick<WireRequest, 'tool' | 'session'> {
  return {
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
      clientAddress: addressOf({ clientIP }),
    },
  };
}
