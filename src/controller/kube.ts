// Controller: the one door to the Kubernetes API. Input: a kubeconfig or a pod's service account. Output: a small typed
// client. Of the client library it takes what is hard and boring (kubeconfig, credential plugins, TLS, proxies); requests
// are made here, because every one must have a deadline, keep its status code and share one pool of connections.
import { HttpMethod, KubeConfig, RequestContext } from '@kubernetes/client-node';
import { request, type Dispatcher } from 'undici';
import { messageOf } from '../lib/log.ts';
import { RESOURCES, type KubeObject, type ResourceType } from './kube-types.ts';

/** An answer of the API server that is not a success. `status` is the HTTP status, `reason` the API's word for it. */
export class KubeError extends Error {
  readonly status: number;
  readonly reason: string;

  constructor(status: number, reason: string, message: string) {
    super(message);
    this.name = 'KubeError';
    this.status = status;
    this.reason = reason;
  }
}

/** A kubeconfig that cannot be used: the message names the file or what is missing. */
export class KubeconfigError extends Error {}

export function hasStatus(error: unknown, ...statuses: readonly number[]): boolean {
  return error instanceof KubeError && statuses.includes(error.status);
}

export interface ListPage<T> {
  readonly items: readonly T[];
  readonly resourceVersion: string;
  /** Token of the next page; '' on the last. */
  readonly next: string;
}

export interface ListOptions {
  /** undefined = all namespaces. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly limit?: number;
  readonly next?: string;
  readonly signal?: AbortSignal;
}

export interface WatchOptions {
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  /** Events after this version. */
  readonly resourceVersion: string;
  /** The server ends the watch after this long. */
  readonly timeoutSeconds: number;
  /** The watch fails when nothing, not even a bookmark, came for this long. */
  readonly silenceMs: number;
  readonly signal: AbortSignal;
}

export interface WatchEvent<T> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK';
  /** Of a bookmark only `metadata.resourceVersion` is set. */
  readonly object: T;
}

/** The verdict of the API server on a token. */
export interface TokenVerdict {
  readonly authenticated: boolean;
  readonly username: string;
  readonly groups: readonly string[];
  readonly audiences: readonly string[];
  /** Holds `authentication.kubernetes.io/pod-name` and `…/pod-uid` for a token that is bound to a pod. */
  readonly extra: Readonly<Record<string, readonly string[]>>;
}

export interface AccessQuestion {
  readonly username: string;
  readonly groups: readonly string[];
  readonly extra: Readonly<Record<string, readonly string[]>>;
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  /** '' asks for all namespaces. */
  readonly namespace: string;
}

/** All methods reject with KubeError for an answer and with another Error when there was none (deadline, network). */
export interface Kube {
  /** Address of the API server; for logs. */
  readonly server: string;
  list<T extends KubeObject>(type: ResourceType, options?: ListOptions): Promise<ListPage<T>>;
  /** Ends when the server ends the watch; rejects with KubeError 410 when the version is too old. */
  watch<T extends KubeObject>(
    type: ResourceType,
    options: WatchOptions,
  ): AsyncGenerator<WatchEvent<T>, void, undefined>;
  get<T extends KubeObject>(type: ResourceType, namespace: string, name: string): Promise<T>;
  create<T extends KubeObject>(type: ResourceType, namespace: string, body: T): Promise<T>;
  /** Server-side apply with force, owned by `weir-operator`. */
  apply<T extends KubeObject>(type: ResourceType, namespace: string, body: T): Promise<T>;
  /** Replaces the whole status; 409 unless `metadata.resourceVersion` is the current one. */
  replaceStatus<T extends KubeObject>(type: ResourceType, body: T): Promise<T>;
  /** A missing object is a success. */
  remove(type: ResourceType, namespace: string, name: string): Promise<void>;
  reviewToken(token: string, audiences: readonly string[]): Promise<TokenVerdict>;
  reviewAccess(question: AccessQuestion): Promise<boolean>;
  /** Ends idle connections; requests afterwards fail. */
  close(): Promise<void>;
}

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
/** Certificates and CAs are read again, and connections made anew, after this long. */
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
}

class KubeClient implements Kube {
  readonly server: string;
  readonly #config: KubeConfig;
  readonly #requestTimeoutMs: number;
  #credentials: Credentials | undefined;
  #renewal: Promise<Credentials> | undefined;

  constructor(config: KubeConfig, requestTimeoutMs: number) {
    this.#config = config;
    this.#requestTimeoutMs = requestTimeoutMs;
    this.server = config.getCurrentCluster()?.server.replace(/\/+$/, '') ?? '';
  }

  async list<T extends KubeObject>(type: ResourceType, options: ListOptions = {}): Promise<ListPage<T>> {
    const { namespace, labelSelector, limit, next, signal } = options;
    const list = await this.#json<{ items?: T[]; metadata: { resourceVersion: string; continue?: string } }>({
      method: 'GET',
      path: pathOf(type, namespace),
      query: { labelSelector, limit, continue: next },
      signal,
    });
    return {
      items: list.items ?? [],
      resourceVersion: list.metadata.resourceVersion,
      next: list.metadata.continue ?? '',
    };
  }

  async *watch<T extends KubeObject>(type: ResourceType, options: WatchOptions): AsyncGenerator<WatchEvent<T>, void> {
    const { namespace, labelSelector, resourceVersion, timeoutSeconds, silenceMs, signal } = options;
    const query = { labelSelector, resourceVersion, timeoutSeconds, watch: 'true', allowWatchBookmarks: 'true' };
    const call: Call = { method: 'GET', path: pathOf(type, namespace), query, signal };
    const response = await this.#send(call, silenceMs);
    for await (const line of linesOf(response.body)) {
      const event = JSON.parse(line) as WatchEvent<T> | { type: 'ERROR'; object: ApiStatus };
      if (event.type === 'ERROR') throw errorOf(event.object.code ?? 500, event.object);
      yield event;
    }
  }

  get<T extends KubeObject>(type: ResourceType, namespace: string, name: string): Promise<T> {
    return this.#json({ method: 'GET', path: pathOf(type, namespace, name) });
  }

  create<T extends KubeObject>(type: ResourceType, namespace: string, body: T): Promise<T> {
    return this.#json({ method: 'POST', path: pathOf(type, namespace), query: { fieldManager: FIELD_MANAGER }, body });
  }

  apply<T extends KubeObject>(type: ResourceType, namespace: string, body: T): Promise<T> {
    return this.#json({
      method: 'PATCH',
      path: pathOf(type, namespace, body.metadata.name),
      query: { fieldManager: FIELD_MANAGER, force: 'true' },
      body,
      contentType: 'application/apply-patch+yaml',
    });
  }

  replaceStatus<T extends KubeObject>(type: ResourceType, body: T): Promise<T> {
    const { namespace, name } = body.metadata;
    const path = `${pathOf(type, namespace, name)}/status`;
    return this.#json({ method: 'PUT', path, query: { fieldManager: FIELD_MANAGER }, body });
  }

  async remove(type: ResourceType, namespace: string, name: string): Promise<void> {
    try {
      await this.#json({ method: 'DELETE', path: pathOf(type, namespace, name) });
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

  async close(): Promise<void> {
    const dispatcher = this.#credentials?.dispatcher;
    this.#credentials = undefined;
    await dispatcher?.destroy();
  }

  async #json<T>(call: Call): Promise<T> {
    const deadline = AbortSignal.timeout(this.#requestTimeoutMs);
    const signal = call.signal === undefined ? deadline : AbortSignal.any([deadline, call.signal]);
    const response = await this.#send({ ...call, signal }, this.#requestTimeoutMs);
    return (await response.body.json()) as T;
  }

  /** The answer of a success, its body not yet read; anything else is thrown. */
  async #send(call: Call, bodyTimeoutMs: number): Promise<Dispatcher.ResponseData> {
    const { headers, dispatcher } = await this.#authenticate();
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
