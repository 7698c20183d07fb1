// Limiter, route stage: which model of an object a request means. In: an object's models and a request; out: the model
// in the object's spelling, or that the request has to name one.
import type { RuntimeObject } from '../compile/runtime-object.ts';
import type { WireRequest } from '../decide/decision.ts';
import { endpointOf, type ModelNeed } from '../request/endpoints.ts';
import { canonicalModel, claimedModel, EVERY_MODEL } from '../request/model-request.ts';

/** What says which model a request means. */
type Asked = Pick<WireRequest, 'method' | 'path' | 'model' | 'modelNeed'>;

/**
 * The model of a request as an object has it: its own spelling, or the canonical one where it takes every model. A
 * request that names none, where one runs, means the object's first one: conditions and keys see it.
 */
export function modelIn({ routing }: RuntimeObject, request: Asked): { readonly model?: string } {
  const { model } = request;
  if (model === undefined) {
    const [first] = routing.models;
    return first === undefined || first === EVERY_MODEL || needOf(request) === 'none' ? {} : { model: first };
  }
  if (routing.models.includes(EVERY_MODEL)) return { model: canonicalModel(model) };
  return { model: claimedModel(routing.models, model) ?? model };
}

/** Which of the object's models would run? Where the API asks for a name, nobody guesses. */
export function isUnnamed({ routing }: RuntimeObject, request: Asked): boolean {
  const isMany = routing.models.length > 1 || routing.models.includes(EVERY_MODEL);
  return request.model === undefined && routing.kind === 'model' && isMany && needOf(request) === 'named';
}

/** Whether a request there must name a model. */
export function needOf({ method, path, modelNeed }: Asked): ModelNeed {
  return modelNeed ?? endpointOf(method, path)?.endpoint.need ?? 'none';
}
