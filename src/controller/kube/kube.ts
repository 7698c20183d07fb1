// Controller: the one door to the Kubernetes API. Input: a kubeconfig or a pod's service account. Output: a small
// typed client. Of the client library it takes what is hard and boring (kubeconfig, credential plugins, TLS,
// proxies); requests are made here, because every one must have a deadline, keep its status code and share one pool
// of connections.
import { HttpMethod, KubeConfig, RequestContext } from '@kubernetes/client-node';
import { getGlobalDispatcher, request, type Dispatcher } from 'undici';
import { messageOf } from '../../lib/thrown.ts';
import {
  hasStatus,
  KubeError,
  type AccessQuestion,
  type Kube,
  type ListOptions,
  type ListPage,
  type TokenVerdict,
  type WatchEvent,
  type WatchOptions,
} from './kube-api.ts';
import { RESOURCES, type KubeObject, type ResourceType } from './kube-types.ts';
import type { WriteFence } from './write-fence.ts';

/** A kubeconfig that cannot be used: the message names the file or what is missing. */
export class KubeconfigError extends Error {}

export interface KubeSettings {
  /** Path; undefined = $KUBECONFIG, ~/.kube/config, then the pod's service account. */
  readonly kubeconfig?: string | undefined;
  /** undefined = the current context. */
  readonly context?: string | undefined;
  /** Deadline of every request but watches; default 30 s. */
  readonly requestTimeoutMs?: number;
}

const FIELD_MANAGER = 'weir-operator';
/** Tokens of files and plugins are asked for again after this long; a 401 does it at once. */
const HEADERS_LIFE_MS = 10_000;
/** Certificates and CAs are reloaded, and connections replaced, after this long. */
const CONNECTIONS_LIFE_MS = 600_000;

/** @throws KubeconfigError when there is no usable kubeconfig. */
export function connectKube(settings: KubeSettings = {}): Kube {
  return new KubeClient(loadConfig(settings), settings.requestTimeoutMs ?? 30_000);
}

function loadConfig(settings: KubeSettings): KubeConfig {
  const config = new KubeConfig();
  const source = settings.kubeconfig ?? 'the default kubeconfig';
  try {
    if (settings.kubeconfig === undefined) config.loadFromDefault();
    else config.loadFromFile(settings.kubeconfig);
  } catch (error) {
    throw new KubeconfigError(`cannot read ${source}: ${messageOf(error)}`, { cause: error });
  }
  if (settings.context !== undefined) config.setCurrentContext(settings.context);
  const cluster = config.getCurrentCluster();
  if (cluster === null) {
    throw new KubeconfigError(`${source} has no cluster for the context "${config.getCurrentContext()}"`);
  }
  // What the library invents when it finds nothing at all.
  if (cluster.name === 'cluster' && cluster.server === 'http://localhost:8080') {
    throw new KubeconfigError('no kubeconfig found: set --kubeconfig or KUBECONFIG, or run in a cluster');
  }
  return config;
}

interface Credentials {
  readonly headers: Record<string, string>;
  readonly dispatcher: Dispatcher | undefined;
  readonly headersUntilMs: number;
  readonly connectionsUntilMs: number;
}

interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly signal?: AbortSignal | undefined;
  readonly fence?: WriteFence;
}

class KubeClient implements Kube {
  readonly server: string;
  readonly #config: KubeConfig;
  readonly #requestTimeoutMs: number;
  /** Whose connections these are, and what stands before writes on them. */
  readonly #behind: { readonly client: KubeClient; readonly fence: WriteFence } | undefined;
  #credentials: Credentials | undefined;
  #renewal: Promise<Credentials> | undefined;

  constructor(config: KubeConfig, requestTimeoutMs: number, behind?: { client: KubeClient; fence: WriteFence }) {
    this.#config = config;
    this.#behind = behind;
    this.#requestTimeoutMs = requestTimeoutMs;
    this.server = config.getCurrentCluster()?.server.replace(/\/+$/, '') ?? '';
  }

  async list<T extends KubeObject>(type: ResourceType, options: ListOptions = {}): Promise<ListPage<T>> {
    const { namespace, labelSelector, fieldSelector, limit, next, signal } = options;
    const list = await this.#json<{ items?: T[]; metadata: { resourceVersion: string; continue?: string } }>({
      method: 'GET',
      path: pathOf(type, namespace),
      query: { labelSelector, fieldSelector, limit, continue: next },
      signal,
    });
    return {
      items: list.items ?? [],
      resourceVersion: list.metadata.resourceVersion,
      next: list.metadata.continue ?? '',
    };
  }

  async *watch<T extends KubeObject>(type: ResourceType, options: WatchOptions): AsyncGenerator<WatchEvent<T>, void> {
    const { namespace, labelSelector, fieldSelector, resourceVersion, timeoutSeconds, silenceMs, signal } = options;
    const selectors = { labelSelector, fieldSelector };
    const query = { ...selectors, resourceVersion, timeoutSeconds, watch: 'true', allowWatchBookmarks: 'true' };
    const call: Call = { method: 'GET', path: pathOf(type, namespace), query, signal };
    const response = await this.#send(call, silenceMs);
    for await (const line of linesOf(response.body)) {
      const event = JSON.parse(line) as WatchEvent<T> | { type: 'ERROR'; object: ApiStatus };
      if (event.type === 'ERROR') throw errorOf(event.object.code ?? 500, event.object);
      yield event;
    }
  }

  get<T extends KubeObject>(
    type: ResourceType,
    namespace: string | undefined,
    name: string,
    signal?: AbortSignal,
  ): Promise<T> {
    return this.#json({ method: 'GET', path: pathOf(type, namespace, name), signal });
  }

  create<T extends KubeObject>(type: ResourceType, namespace: string, body: T, signal?: AbortSignal): Promise<T> {
    return this.#write({ method: 'POST', path: pathOf(type, namespace), body, signal });
  }

  replace<T extends KubeObject>(type: ResourceType, body: T, signal?: AbortSignal): Promise<T> {
    const { namespace, name } = body.metadata;
    return this.#write({ method: 'PUT', path: pathOf(type, namespace, name), body, signal });
  }

  patch<T extends KubeObject>(type: ResourceType, namespace: string, name: string, change: object): Promise<T> {
    const contentType = 'application/merge-patch+json';
    return this.#write({ method: 'PATCH', path: pathOf(type, namespace, name), body: change, contentType });
  }

  apply<T extends KubeObject>(type: ResourceType, namespace: string | undefined, body: T): Promise<T> {
    return this.#write({
      method: 'PATCH',
      path: pathOf(type, namespace, body.metadata.name),
      query: { force: 'true' },
      body,
      contentType: 'application/apply-patch+yaml',
    });
  }

  replaceStatus<T extends KubeObject>(type: ResourceType, body: T): Promise<T> {
    const { namespace, name } = body.metadata;
    const path = `${pathOf(type, namespace, name)}/status`;
    return this.#write({ method: 'PUT', path, body });
  }

  async remove(type: ResourceType, namespace: string, name: string): Promise<void> {
    try {
      await this.#write({ method: 'DELETE', path: pathOf(type, namespace, name) });
    } catch (error) {
      if (!hasStatus(error, 404)) throw error;
    }
  }

  async reviewToken(token: string, wanted: readonly string[]): Promise<TokenVerdict> {
    const { status } = await this.#json<{ status?: TokenReviewStatus }>({
      method: 'POST',
      path: pathOf(RESOURCES.tokenReviews),
      body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token, audiences: wanted } },
    });
    const { authenticated = false, audiences = [], user = {} } = status ?? {};
    const { username = '', groups = [], extra = {} } = user;
    return { authenticated, audiences, username, groups, extra };
  }

  async reviewAccess(question: AccessQuestion): Promise<boolean> {
    const { username, groups, extra, verb, group, resource, namespace } = question;
    const spec = { user: username, groups, extra, resourceAttributes: { verb, group, resource, namespace } };
    const { status } = await this.#json<{ status?: { allowed?: boolean } }>({
      method: 'POST',
      path: pathOf(RESOURCES.subjectAccessReviews),
      body: { apiVersion: 'authorization.k8s.io/v1', kind: 'SubjectAccessReview', spec },
    });
    return status?.allowed === true;
  }

  fenced(fence: WriteFence): Kube {
    return new KubeClient(this.#config, this.#requestTimeoutMs, { client: this, fence });
  }

  async close(): Promise<void> {
    const dispatcher = this.#credentials?.dispatcher;
    this.#credentials = undefined;
    await dispatcher?.destroy();
  }

  /** A call that changes an object: of the reviews, which are POSTs too, nothing stays. */
  #write<T>(call: Call): Promise<T> {
    const fence = this.#behind?.fence;
    const manager = call.method === 'DELETE' ? {} : { fieldManager: FIELD_MANAGER };
    if (fence === undefined) return this.#json({ ...call, query: { ...manager, ...call.query } });
    const query = { ...manager, ...call.query, timeout: `${Math.ceil(fence.serverTimeoutMs)}ms` };
    return fence.track(() => this.#json({ ...call, query, fence }));
  }

  async #json<T>(call: Call): Promise<T> {
    const deadline = AbortSignal.timeout(this.#requestTimeoutMs);
    const signal = call.signal === undefined ? deadline : AbortSignal.any([deadline, call.signal]);
    const response = await this.#send({ ...call, signal }, this.#requestTimeoutMs);
    return (await response.body.json()) as T;
  }

  /** The answer of a success, its body not yet read; anything else is thrown. */
  async #send(call: Call, bodyTimeoutMs: number): Promise<Dispatcher.ResponseData> {
    const { headers, dispatcher: open } = await this.#authenticate();
    const dispatcher = call.fence === undefined ? open : call.fence.guard(open ?? getGlobalDispatcher());
    const contentType = call.contentType ?? 'application/json';
    const response = await request(this.server + call.path + queryOf(call.query), {
      method: call.method,
      headers: {
        ...headers,
        accept: 'application/json',
        'user-agent': FIELD_MANAGER,
        ...(call.body === undefined ? {} : { 'content-type': contentType }),
      },
      body: call.body === undefined ? null : JSON.stringify(call.body),
      headersTimeout: this.#requestTimeoutMs,
      bodyTimeout: bodyTimeoutMs,
      signal: call.signal ?? null,
      ...(dispatcher === undefined ? {} : { dispatcher }),
    });
    if (response.statusCode < 300) return response;
    if (response.statusCode === 401) this.#forgetHeaders();
    throw errorOf(response.statusCode, parseStatus(await response.body.text()));
  }

  async #authenticate(): Promise<Credentials> {
    if (this.#behind !== undefined) return this.#behind.client.#authenticate();
    const current = this.#credentials;
    if (current !== undefined && performance.now() < current.headersUntilMs) return current;
    this.#renewal ??= this.#renew(current).finally(() => (this.#renewal = undefined));
    return this.#renewal;
  }

  async #renew(current: Credentials | undefined): Promise<Credentials> {
    const nowMs = performance.now();
    const context = new RequestContext(`${this.server}/`, HttpMethod.GET);
    await this.#config.applySecurityAuthentication(context);
    const keep = current !== undefined && nowMs < current.connectionsUntilMs;
    this.#credentials = {
      headers: context.getHeaders(),
      headersUntilMs: nowMs + HEADERS_LIFE_MS,
      dispatcher: keep ? current.dispatcher : context.getDispatcher(),
      connectionsUntilMs: keep ? current.connectionsUntilMs : nowMs + CONNECTIONS_LIFE_MS,
    };
    // Watches that still run on the old connections end by themselves.
    if (!keep) current?.dispatcher?.close().catch(() => undefined);
    return this.#credentials;
  }

  #forgetHeaders(): void {
    if (this.#behind !== undefined) this.#behind.client.#forgetHeaders();
    if (this.#credentials !== undefined) this.#credentials = { ...this.#credentials, headersUntilMs: 0 };
  }
}

interface ApiStatus {
  readonly code?: number;
  readonly reason?: string;
  readonly message?: string;
}

interface TokenReviewStatus {
  readonly authenticated?: boolean;
  readonly audiences?: readonly string[];
  readonly user?: {
    readonly username?: string;
    readonly groups?: readonly string[];
    readonly extra?: Readonly<Record<string, readonly string[]>>;
  };
}

function errorOf(code: number, status: ApiStatus): KubeError {
  return new KubeError(code, status.reason ?? 'Unknown', status.message ?? `the API server answered ${code}`);
}

/** Proxies and a starting API server answer in plain text. */
function parseStatus(text: string): ApiStatus {
  try {
    return JSON.parse(text) as ApiStatus;
  } catch {
    return { message: text.slice(0, 200) };
  }
}

function pathOf(type: ResourceType, namespace?: string, name?: string): string {
  const root = type.group === '' ? `/api/${type.version}` : `/apis/${type.group}/${type.version}`;
  const scope = namespace === undefined ? '' : `/namespaces/${encodeURIComponent(namespace)}`;
  return `${root}${scope}/${type.plural}${name === undefined ? '' : `/${encodeURIComponent(name)}`}`;
}

function queryOf(query: Call['query'] = {}): string {
  const set = Object.entries(query).filter((entry): entry is [string, string | number] => {
    return entry[1] !== undefined && entry[1] !== '';
  });
  if (set.length === 0) return '';
  return `?${set.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&')}`;
}

/** The lines of a body; an unfinished last line is an error, because half an event is none. */
async function* linesOf(body: AsyncIterable<Buffer>): AsyncGenerator<string, void> {
  const decoder = new TextDecoder();
  let pieces: string[] = [];
  for await (const chunk of body) {
    const [first = '', ...others] = decoder.decode(chunk, { stream: true }).split('\n');
    pieces.push(first);
    for (const piece of others) {
      yield pieces.join('');
      pieces = [piece];
    }
  }
  if (pieces.join('').trim() !== '') throw new Error('the watch ended in the middle of an event');
}
