// Controller: what the operator asks of the Kubernetes API. Input: nothing. Output: the interface of the client, and
// its errors.
import type { KubeObject, ResourceType } from './kube-types.ts';
import type { WriteFence } from './write-fence.ts';

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
  readonly fieldSelector?: string | undefined;
  readonly limit?: number;
  readonly next?: string;
  readonly signal?: AbortSignal;
}

export interface WatchOptions {
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
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
  get<T extends KubeObject>(
    type: ResourceType,
    namespace: string | undefined,
    name: string,
    signal?: AbortSignal,
  ): Promise<T>;
  create<T extends KubeObject>(type: ResourceType, namespace: string, body: T, signal?: AbortSignal): Promise<T>;
  /** Replaces the whole object; 409 unless `metadata.resourceVersion` is the current one. */
  replace<T extends KubeObject>(type: ResourceType, body: T, signal?: AbortSignal): Promise<T>;
  /** JSON merge patch: what is null is removed. */
  patch<T extends KubeObject>(type: ResourceType, namespace: string, name: string, change: object): Promise<T>;
  /** Server-side apply with force, owned by `weir-operator`. */
  apply<T extends KubeObject>(type: ResourceType, namespace: string | undefined, body: T): Promise<T>;
  /** Replaces the whole status; 409 unless `metadata.resourceVersion` is the current one. */
  replaceStatus<T extends KubeObject>(type: ResourceType, body: T): Promise<T>;
  /** A missing object is a success. */
  remove(type: ResourceType, namespace: string, name: string): Promise<void>;
  reviewToken(token: string, audiences: readonly string[]): Promise<TokenVerdict>;
  reviewAccess(question: AccessQuestion): Promise<boolean>;
  /** The same connections; what changes an object is sent only as long as the fence lets it. */
  fenced(fence: WriteFence): Kube;
  /** Ends idle connections; requests afterwards fail. */
  close(): Promise<void>;
}
