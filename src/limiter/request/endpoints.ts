// Limiter, request stage: the one table of the HTTP endpoints of model servers. In: method and path (in normal form);
// out: the endpoint, its dialect, where its model is named, whether one must be named, and whether its tokens can be
// metered.

/** Whose error bodies the clients of an endpoint read. */
export type EndpointDialect = 'openai' | 'anthropic' | 'google' | 'kserve' | 'ollama' | 'tgi';

/** Where a request names its model. `form`: a field of an upload, or a member of a JSON body. */
export type ModelPlace = 'body' | 'form' | 'path' | 'query' | 'none';

/**
 * What it means when no model is named.
 * `named`: the API asks for one, and an engine would run its default model unseen. `default`: the server's own model is
 * meant. `none`: no model runs.
 */
export type ModelNeed = 'named' | 'default' | 'none';

/**
 * tokens: the answer reports usage. free: no tokens are used. unmeterable: tokens are used and nothing says how many.
 */
export type Metering = 'tokens' | 'free' | 'unmeterable';

/** One row of the table. */
export interface Endpoint {
  /** Stable name for metrics and records: `openai.chat`. */
  readonly id: string;
  readonly dialect: EndpointDialect;
  readonly model: ModelPlace;
  readonly need: ModelNeed;
  readonly metering: Metering;
}

/** What a request line says. */
export interface EndpointMatch {
  readonly endpoint: Endpoint;
  /** The model that the path names; '' where it should and does not. */
  readonly pathModel?: string;
}

interface Row extends Endpoint {
  /** Segments from the end of the path, lower case; "*" is any one segment. The last one is literal. */
  readonly tail: readonly string[];
}

type Columns = readonly [id: string, model: ModelPlace, need: ModelNeed, metering: Metering];

function rows(dialect: EndpointDialect, table: readonly (readonly [...Columns, ...tails: string[]])[]): Row[] {
  return table.flatMap(([id, model, need, metering, ...tails]) =>
    tails.map((tail) => ({ id, dialect, model, need, metering, tail: tail.split('/') })),
  );
}

/** A WebSocket, opened by GET; its model is in the query. */
const REALTIME: Row = {
  ...endpoint('openai.realtime', 'openai', 'query', 'named', 'unmeterable'),
  tail: ['realtime'],
};

/**
 * Endpoints by the end of their path: they are served below any prefix, and most engines serve them without /v1 too. Of
 * several rows the one with the longer tail counts, then the one with fewer "*".
 */
const TABLE: readonly Row[] = [
  ...rows('openai', [
    ['openai.chat', 'body', 'named', 'tokens', 'chat/completions'],
    ['openai.chat.render', 'body', 'default', 'free', 'chat/completions/render', 'completions/render'],
    ['openai.chat.batch', 'body', 'named', 'unmeterable', 'chat/completions/batch'],
    ['openai.chat.stored', 'none', 'none', 'free', 'chat/completions/*/messages'],
    ['openai.completions', 'body', 'named', 'tokens', 'completions', 'v1/edits'],
    ['openai.embeddings', 'body', 'named', 'tokens', 'embeddings'],
    ['openai.responses', 'body', 'named', 'tokens', 'responses', 'responses/compact'],
    ['openai.responses.stored', 'none', 'none', 'free', 'responses/*/cancel', 'responses/*/input_items'],
    ['openai.responses.count', 'body', 'none', 'free', 'responses/input_tokens'],
    ['openai.images', 'form', 'default', 'tokens', 'images/generations', 'images/edits', 'images/variations'],
    ['openai.transcriptions', 'form', 'named', 'tokens', 'audio/transcriptions', 'audio/translations'],
    ['openai.speech', 'body', 'named', 'unmeterable', 'audio/speech'],
    ['openai.videos', 'form', 'default', 'unmeterable', 'v1/videos', 'videos/generations', 'videos/sync'],
    ['openai.moderations', 'body', 'none', 'free', 'moderations'],
    ['openai.batches', 'none', 'none', 'unmeterable', 'v1/batches', 'openai/batches'],
    ['openai.runs', 'body', 'none', 'unmeterable', 'threads/*/runs', 'threads/runs', 'fine_tuning/jobs'],
    ['openai.threads', 'none', 'none', 'free', 'threads/*/messages'],
    ['openai.realtime.session', 'body', 'none', 'unmeterable', 'realtime/sessions', 'realtime/client_secrets'],
    ['rerank', 'body', 'default', 'tokens', 'rerank', 'reranking'],
    ['score', 'body', 'default', 'tokens', 'score', 'generative_scoring'],
    ['classify', 'body', 'default', 'tokens', 'classify'],
    ['pooling', 'body', 'default', 'tokens', 'pooling'],
    [
      'embed',
      'body',
      'default',
      'unmeterable',
      'v2/embed',
      'embed',
      'embed_all',
      'embed_sparse',
      'embedding',
      'encode',
    ],
    ['tokenize', 'body', 'none', 'free', 'tokenize', 'detokenize', 'apply-template', 'chat_tokenize', 'decode'],
    ['invocations', 'body', 'default', 'unmeterable', 'invocations', 'vertex', 'vertex_generate'],
    ['llamacpp.completion', 'body', 'default', 'unmeterable', 'completion', 'infill'],
    ['lmdeploy.interactive', 'body', 'default', 'unmeterable', 'chat/interactive'],
    ['lmstudio.chat', 'body', 'named', 'unmeterable', 'api/v0/chat', 'api/v1/chat'],
    ['vllm.generate', 'body', 'default', 'unmeterable', 'inference/v1/generate'],
  ]),
  REALTIME,
  ...rows('anthropic', [
    ['anthropic.messages', 'body', 'named', 'tokens', 'messages'],
    ['anthropic.count_tokens', 'body', 'none', 'free', 'messages/count_tokens'],
    ['anthropic.batches', 'none', 'none', 'unmeterable', 'messages/batches'],
    ['anthropic.batches.stored', 'none', 'none', 'free', 'messages/batches/*/cancel', 'messages/batches/*/results'],
    ['anthropic.complete', 'body', 'named', 'unmeterable', 'v1/complete'],
  ]),
  ...rows('ollama', [
    ['ollama.chat', 'body', 'named', 'unmeterable', 'api/chat'],
    ['ollama.generate', 'body', 'named', 'unmeterable', 'api/generate'],
    ['ollama.embed', 'body', 'named', 'unmeterable', 'api/embed', 'api/embeddings'],
    [
      'ollama.manage',
      'body',
      'none',
      'free',
      'api/show',
      'api/pull',
      'api/push',
      'api/create',
      'api/copy',
      'api/delete',
    ],
  ]),
  ...rows('tgi', [
    ['generate', 'body', 'default', 'unmeterable', 'generate', 'generate_stream'],
    ['predict', 'body', 'default', 'unmeterable', 'predict', 'similarity', 'predictions'],
  ]),
];

/** TGI serves its root; nothing else does. */
const ROOT = endpoint('generate.root', 'tgi', 'body', 'default', 'unmeterable');

/** Kept things and jobs, no inference: whatever lies below these two segments. */
const RESOURCES: ReadonlyMap<string, Endpoint> = new Map([
  ...['responses', 'models', 'files', 'uploads', 'batches', 'vector_stores', 'assistants', 'threads']
    .concat(['conversations', 'fine_tuning', 'evals', 'containers', 'videos', 'images', 'audio', 'realtime'])
    .flatMap((name) => [`v1/${name}`, `openai/${name}`])
    .map((place) => [place, endpoint('openai.resource', 'openai', 'none', 'none', 'free')] as const),
  ['chat/completions', endpoint('openai.resource', 'openai', 'none', 'none', 'free')],
  ['v1/messages', endpoint('anthropic.resource', 'anthropic', 'none', 'none', 'free')],
  ['v2/models', endpoint('kserve.resource', 'kserve', 'none', 'none', 'free')],
  ['v2/repository', endpoint('kserve.resource', 'kserve', 'none', 'none', 'free')],
]);

/** `/models/<model>:<verb>`: KServe V1 and TensorFlow Serving, Gemini. Another verb is unmeterable. */
const VERBS: ReadonlyMap<string, Endpoint> = new Map([
  ...['predict', 'explain', 'classify', 'regress'].map(
    (verb) => [verb, endpoint(`kserve.v1.${verb}`, 'kserve', 'path', 'named', 'unmeterable')] as const,
  ),
  ...['generatecontent', 'streamgeneratecontent', 'embedcontent', 'batchembedcontents', 'rawpredict'].map(
    (verb) => [verb, endpoint(`google.${verb}`, 'google', 'path', 'named', 'unmeterable')] as const,
  ),
  ['streamrawpredict', endpoint('google.streamrawpredict', 'google', 'path', 'named', 'unmeterable')],
  ['counttokens', endpoint('google.counttokens', 'google', 'path', 'named', 'free')],
]);
const OTHER_VERB = endpoint('models.verb', 'kserve', 'path', 'named', 'unmeterable');

/** `/predictions/<model>[/<version>]`: TorchServe, DJL Serving. */
const PREDICTIONS: ReadonlyMap<string, Endpoint> = new Map(
  ['predictions', 'explanations'].map((action) => [
    action,
    endpoint(`torchserve.${action}`, 'kserve', 'path', 'named', 'unmeterable'),
  ]),
);

/** What Azure serves for a deployment beside the endpoints of the table. */
const OTHER_DEPLOYMENT = endpoint('azure.deployment', 'openai', 'path', 'named', 'unmeterable');

/** `/v2/models/<model>[/versions/<v>]/<action>`: the Open Inference Protocol (KServe V2, Triton, MLServer). */
const V2_ACTIONS: ReadonlyMap<string, Endpoint> = new Map(
  ['infer', 'infer_stream', 'explain', 'predict', 'generate', 'generate_stream'].map((action) => [
    action,
    endpoint(`kserve.v2.${action}`, 'kserve', 'path', 'named', 'unmeterable'),
  ]),
);
/** The two segments before the name of a deployment. */
const DEPLOYMENTS = [
  ['openai', 'deployments'],
  ['v1', 'engines'],
] as const;
/** Between a model's name and what is asked of it. */
const QUALIFIERS: ReadonlySet<string> = new Set(['versions', 'labels']);
const READS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

const BY_LAST = indexed();

function endpoint(
  id: string,
  dialect: EndpointDialect,
  model: ModelPlace,
  need: ModelNeed,
  metering: Metering,
): Endpoint {
  return { id, dialect, model, need, metering };
}

/** Rows by their last segment, the more specific first. */
function indexed(): ReadonlyMap<string, readonly Row[]> {
  const index = new Map<string, Row[]>();
  for (const row of TABLE) {
    const last = row.tail.at(-1) ?? '';
    index.set(
      last,
      [...(index.get(last) ?? []), row].sort((a, b) => rank(b) - rank(a)),
    );
  }
  return index;
}

function rank({ tail }: Row): number {
  return tail.length * 2 - (tail.includes('*') ? 1 : 0);
}

/**
 * The endpoint of a request; undefined: no model server is known to serve one there. GET, HEAD and OPTIONS run no model
 * (a WebSocket apart): there `need` is none and the metering free. Every other method counts as POST. Letter case and a
 * slash at the end make no difference, as to many servers; parameters of a segment (`;v=1`) are dropped.
 * @param path in normal form (lib/path), with or without the prefix of a route
 */
export function endpointOf(method: string, path: string): EndpointMatch | undefined {
  const isRead = READS.has(method);
  const found = matchPath(path, isRead);
  if (!isRead || found === undefined || (found.endpoint === REALTIME && method === 'GET')) return found;
  return { ...found, endpoint: { ...found.endpoint, need: 'none', metering: 'free' } };
}

/**
 * true: the path names the model, and no server of the endpoint looks for one in the body. Where Azure's clients call,
 * bodies name a model too, and some servers go by that.
 */
export function isNamedByPathAlone(found: EndpointMatch | undefined): boolean {
  return found?.pathModel !== undefined && found.endpoint.dialect !== 'openai';
}

/** One path of every endpoint that this table knows, as servers serve it: for what must hold of all of them. */
export function examplePaths(): readonly string[] {
  return [
    '/',
    ...TABLE.map(({ tail }) => `/${tail.join('/').replace('*', 'x')}`),
    ...[...RESOURCES.keys()].map((place) => `/${place}/x`),
    ...[...VERBS.keys(), 'other'].map((verb) => `/v1/models/m:${verb}`),
    ...[...V2_ACTIONS.keys()].map((action) => `/v2/models/m/${action}`),
    '/openai/deployments/m/other',
  ];
}

/** Whose errors the clients of a path read, whatever the method. */
export function dialectOf(path: string): EndpointDialect | undefined {
  return matchPath(path, false)?.endpoint.dialect;
}

/** Linear in the path: every segment is looked at a bounded number of times. */
function matchPath(path: string, isRead: boolean): EndpointMatch | undefined {
  const segments = segmentsOf(path);
  if (segments.length === 0) return { endpoint: ROOT };
  const lower = segments.map((segment) => segment.toLowerCase());
  const named = namedMatch(segments, lower, isRead);
  if (named !== undefined) return named;
  const row: Endpoint | undefined = (BY_LAST.get(lower.at(-1) ?? '') ?? []).find(({ tail }) => endsWith(lower, tail));
  const deployment = deploymentOf(segments, lower);
  const served = row ?? resourceOf(lower);
  if (deployment === undefined) return served === undefined ? undefined : { endpoint: served };
  const base = served ?? OTHER_DEPLOYMENT;
  return { endpoint: { ...base, model: 'path', need: 'named' }, pathModel: deployment };
}

function segmentsOf(path: string): readonly string[] {
  return path
    .split('/')
    .map((segment) => segment.split(';', 1)[0] ?? '')
    .filter((segment) => segment !== '');
}

function endsWith(segments: readonly string[], tail: readonly string[]): boolean {
  const offset = segments.length - tail.length;
  return offset >= 0 && tail.every((segment, index) => segment === '*' || segment === segments[offset + index]);
}

/** An endpoint whose path names the model. */
function namedMatch(segments: readonly string[], lower: readonly string[], isRead: boolean): EndpointMatch | undefined {
  return verbMatch(segments, lower, isRead) ?? actionMatch(segments, lower) ?? predictionMatch(segments, lower);
}

/** `…/models/<model>[/versions/<n>|/labels/<l>]:<verb>`. A read with another verb asks about a model `name:tag`. */
function verbMatch(segments: readonly string[], lower: readonly string[], isRead: boolean): EndpointMatch | undefined {
  const at = lower.lastIndexOf('models');
  const last = segments.at(-1) ?? '';
  const colon = last.lastIndexOf(':');
  if (at < 0 || at === segments.length - 1 || colon < 0) return undefined;
  const verb = last.slice(colon + 1).toLowerCase();
  const known = VERBS.get(verb);
  if (known === undefined && (isRead || !/^[a-z]+$/.test(verb))) return undefined;
  const name = unqualified([...segments.slice(at + 1, -1), last.slice(0, colon)]);
  return { endpoint: known ?? OTHER_VERB, pathModel: decodeName(name) };
}

/** `…/v2/models/<model>[/versions/<v>]/<action>` */
function actionMatch(segments: readonly string[], lower: readonly string[]): EndpointMatch | undefined {
  const at = lower.lastIndexOf('models');
  if (at < 1 || lower[at - 1] !== 'v2') return undefined;
  const action = V2_ACTIONS.get(lower.at(-1) ?? '');
  if (action === undefined || at === segments.length - 1) return undefined;
  return { endpoint: action, pathModel: decodeName(unqualified(segments.slice(at + 1, -1))) };
}

/** `…/predictions/<model>[/<version>]` */
function predictionMatch(segments: readonly string[], lower: readonly string[]): EndpointMatch | undefined {
  for (const behind of [2, 3]) {
    const found = PREDICTIONS.get(lower.at(-behind) ?? '');
    if (found !== undefined) return { endpoint: found, pathModel: decodeName(segments.at(1 - behind) ?? '') };
  }
  return undefined;
}

/** The segments of a model's name, without the version or label behind it. */
function unqualified(segments: readonly string[]): string {
  const isQualified = segments.length > 2 && QUALIFIERS.has(segments.at(-2)?.toLowerCase() ?? '');
  return (isQualified ? segments.slice(0, -2) : segments).join('/');
}

/**
 * `…/openai/deployments/<deployment>/…` of Azure, `…/v1/engines/<model>/…` of OpenAI's first API and LocalAI: the path
 * names the model, whatever the body says.
 */
function deploymentOf(segments: readonly string[], lower: readonly string[]): string | undefined {
  for (const [parent, name] of DEPLOYMENTS) {
    const at = lower.lastIndexOf(name);
    if (at > 0 && lower[at - 1] === parent && at + 2 < segments.length) return decodeName(segments[at + 1] ?? '');
  }
  return undefined;
}

/** The innermost one. */
function resourceOf(lower: readonly string[]): Endpoint | undefined {
  for (let at = lower.length - 1; at > 0; at -= 1) {
    const found = RESOURCES.get(`${lower[at - 1] ?? ''}/${lower[at] ?? ''}`);
    if (found !== undefined) return found;
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
