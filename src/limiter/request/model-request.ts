// Limiter, proxy: reads which model a request names. In: path and body; out: the model's name, and whether the path is
// one where a model runs (there a body that cannot be read is refused).
import { asRecord, type JsonBody } from './json-body.ts';

/** Paths on which models run, after any prefix. */
const INFERENCE_PATH =
  /\/(chat\/completions|completions|embeddings|responses|messages|rerank|score|pooling|classify|generate|generate_stream|invocations|audio\/(speech|transcriptions|translations)|images\/(generations|edits|variations))\/?$/;
/** Paths that name the model themselves; there the body's `model` means nothing to the upstream. */
const MODEL_IN_PATH: readonly RegExp[] = [
  /\/models\/(.+):[A-Za-z]+$/,
  /\/v2\/models\/(.+?)(?:\/versions\/[^/]+)?\/(?:infer|explain|generate|generate_stream)$/,
  /\/openai\/deployments\/([^/]+)\/.+$/,
];

/** Where the API asks for a model in the body: a request without one would run the server's default model, unseen. */
const MODEL_REQUIRED =
  /\/(chat\/completions|completions|embeddings|responses|messages|audio\/(speech|transcriptions|translations))\/?$/;

/** true: a POST there must name its model. */
export function isModelRequired(path: string): boolean {
  return MODEL_REQUIRED.test(path) && modelOfPath(path) === undefined;
}

/** true: a model runs there, so the model's name must be readable. `path` is in normal form. */
export function isInferencePath(path: string): boolean {
  return INFERENCE_PATH.test(path) || modelOfPath(path) !== undefined;
}

/** The model that a request names: by its path where the path says so, else by its JSON body whatever its Content-Type. */
export function modelOf(path: string, body: JsonBody): string | undefined {
  const inPath = modelOfPath(path);
  if (inPath !== undefined) return inPath;
  const model = body.kind === 'json' ? asRecord(body.value)?.['model'] : undefined;
  return typeof model === 'string' ? model : undefined;
}

function modelOfPath(path: string): string | undefined {
  for (const pattern of MODEL_IN_PATH) {
    const name = pattern.exec(path)?.[1];
    if (name !== undefined) return decodeName(name);
  }
  return undefined;
}

/** A normal path keeps as %XX what it may not hold literally; a name has it decoded. */
function decodeName(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}
