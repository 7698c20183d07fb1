// Limiter, request stage: which model a request names. In: request line and what its body says; out: the model's
// name, or undefined where it names none. Whether it must name one is a column of the endpoint table.
import { plainText } from '../../lib/values/text.ts';
import { endpointOf, isNamedByPathAlone, type EndpointMatch } from './endpoints.ts';

/**
 * A model's name as it was given: text with something in it, without the white space around it. Everything else names
 * no model: a missing member, null, a number, an empty or blank text. An engine runs its default model on all of
 * these.
 */
export function modelName(value: unknown): string | undefined {
  if (typeof value !== 'string') return undefined;
  const name = plainText(bareName(value));
  return name === '' ? undefined : name;
}

/**
 * A name without what any server takes off its ends: white space as JavaScript, Python or Go have it, and control
 * characters. Linear, whatever the text.
 */
export function bareName(text: string): string {
  let [start, end] = [0, text.length];
  while (start < end && isBlank(text.charCodeAt(start))) start += 1;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1;
  return text.slice(start, end);
}

/** C0, space, DEL, C1, no-break space; and the white space of Unicode beyond Latin-1, the byte order mark included. */
function isBlank(code: number): boolean {
  if (code <= 0x20 || (code >= 0x7f && code <= 0xa0)) return true;
  return code > 0xff && (code === 0x180e || String.fromCharCode(code).trim() === '');
}

/** What a route names to take every model. */
export const EVERY_MODEL = '*';
const DEFAULT_TAG = ':latest';
/** Where Ollama looks for a name that says nothing of it. */
const DEFAULT_REGISTRY = /^(?:https?:\/\/)?(?:registry\.ollama\.ai\/)?library\//;

/**
 * The form in which two names are one model to some engines: these ignore letter case, read a name without a tag as
 * `:latest`, and one without a registry as `registry.ollama.ai/library/…`. Such a name must not lead past the limits
 * of the other.
 */
export function canonicalModel(name: string): string {
  const folded = plainText(bareName(name)).toLowerCase();
  const local = folded.replace(DEFAULT_REGISTRY, '');
  const bare = local.endsWith(DEFAULT_TAG) ? local.slice(0, -DEFAULT_TAG.length) : local;
  return bare === '' ? folded : bare;
}

/** Whether an object with `models` takes a model of that name, in whichever spelling. */
export function takesModel(models: readonly string[], name: string): boolean {
  return models.includes(EVERY_MODEL) || claimedModel(models, name) !== undefined;
}

/** The first of `models` that a name stands for: the same name, else one of the same canonical form. */
export function claimedModel(models: readonly string[], name: string): string | undefined {
  if (models.includes(name)) return name;
  const canonical = canonicalModel(name);
  return models.find((model) => canonicalModel(model) === canonical);
}

/** true: a request there must name its model, or runs the server's own one; a body that hides it is refused. */
export function isInferencePath(method: string, path: string): boolean {
  return (endpointOf(method, path)?.endpoint.need ?? 'none') !== 'none';
}

/** Which models a request names. */
export interface NamedModels {
  readonly model?: string;
  /** What the body says where the path names the model, and it differs. */
  readonly bodyModel?: string;
}

/**
 * The model that a request names: by its path where the path says so (there the body's `model` means nothing to most
 * upstreams), by the query of a WebSocket, else by its body.
 * @param given the `model` of the body, whatever it is
 */
export function modelsOf(
  { method, path, query }: { readonly method: string; readonly path: string; readonly query: URLSearchParams },
  given: unknown,
): NamedModels {
  const found = endpointOf(method, path);
  const inBody = modelName(given);
  const isByPath = found?.pathModel !== undefined;
  const model = isByPath ? modelName(found.pathModel) : (inBody ?? queryModel(found, query));
  return {
    ...(model === undefined ? {} : { model }),
    ...(isByPath && !isNamedByPathAlone(found) && inBody !== undefined && inBody !== model
      ? { bodyModel: inBody }
      : {}),
  };
}

function queryModel(found: EndpointMatch | undefined, query: URLSearchParams): string | undefined {
  const values = found?.endpoint.model === 'query' ? query.getAll('model') : [];
  return values.length === 1 ? modelName(values[0]) : undefined;
}
