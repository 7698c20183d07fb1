// Limiter, request stage: reads which model a request names. In: request line and body; out: the model's name, or undefined
// where it names none. Whether it must name one is a column of the endpoint table.
import { endpointOf } from './endpoints.ts';
import { asRecord, type JsonBody } from './json-body.ts';

/**
 * A model's name as it was given: text with something in it, without the white space around it. Everything else names no
 * model: a missing member, null, a number, an empty or blank text. An engine runs its default model on all of these.
 */
export function modelName(value: unknown): string | undefined {
  if (typeof value !== 'string') return undefined;
  const name = value.trim();
  return name === '' ? undefined : name;
}

/** true: a request there must name its model, or runs the server's own one; a body that hides it is refused. */
export function isInferencePath(method: string, path: string): boolean {
  return (endpointOf(method, path)?.endpoint.need ?? 'none') !== 'none';
}

/**
 * The model that a request names: by its path where the path says so (there the body's `model` means nothing to the
 * upstream), by the query of a WebSocket, else by its JSON body, whatever its Content-Type.
 */
export function modelOf(
  { method, path, query }: { readonly method: string; readonly path: string; readonly query: URLSearchParams },
  body: JsonBody,
): string | undefined {
  const found = endpointOf(method, path);
  if (found?.pathModel !== undefined) return modelName(found.pathModel);
  const inBody = body.kind === 'json' ? modelName(asRecord(body.value)?.['model']) : undefined;
  if (inBody !== undefined || found?.endpoint.model !== 'query') return inBody;
  const values = query.getAll('model');
  return values.length === 1 ? modelName(values[0]) : undefined;
}
