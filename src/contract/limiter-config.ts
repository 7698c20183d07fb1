// Contract: the compiled form of one object, the only thing a limiter knows of it. Plain JSON data; all quantities are
// integers with their unit in the name; every list is in the order in which it is evaluated.
import type { Measure } from './measures.ts';

/** The kinds by the names that resource names carry. What is known of each: crd/kinds/kinds.ts. */
export const OBJECT_KINDS = ['ModelRoute', 'MCPServer'] as const;
export type ObjectKind = (typeof OBJECT_KINDS)[number];

export function isObjectKind(name: unknown): name is ObjectKind {
  return OBJECT_KINDS.some((kind) => kind === name);
}

/** The identity of an object and of the resource that carries its config. */
export interface ObjectRef {
  readonly kind: ObjectKind;
  readonly namespace: string;
  readonly name: string;
}

/** What a limiter gets of one object. Resource name: `<kind>/<namespace>/<name>`. */
export interface LimiterConfig extends ObjectRef {
  readonly uid: string;
  /**
   * metadata.creationTimestamp (RFC 3339): of two equally specific matches the older object's wins. Absent: by name.
   */
  readonly createdAt?: string;
  /** Ids of src/contract/capabilities.ts that a limiter must have to enforce this config; sorted. */
  readonly requires: readonly string[];
  readonly routing: ModelRouting | McpRouting;
  /** Absent: no identity is established; user and application parts take their fallback. */
  readonly identity?: IdentityConfig;
  /** Where the buckets live. */
  readonly store: StoreConfig;
  /** In list order; groups are resolved by `priority` (higher first), then this order. */
  readonly limits: readonly LimitConfig[];
  readonly response: ResponseConfig;
}

export interface ModelRouting {
  readonly kind: 'model';
  /** modelName and loraAdapters together, at least one; `['*']`: every model (capability model.every). */
  readonly models: readonly string[];
  /** Lower case; empty = every host. */
  readonly hostnames: readonly string[];
  /** Begins with "/", no trailing "/"; "/" alone takes everything. Stripped before the upstream sees the path. */
  readonly pathPrefix: string;
  /** true: the object names no prefix. A shared limiter takes `pathPrefix` then, a sidecar every path ("/"). */
  readonly isDefaultPrefix?: boolean;
  /** Never empty: an object without rules has one rule that takes everything. First match wins. */
  readonly rules: readonly RouteRule[];
}

export interface McpRouting {
  readonly kind: 'mcp';
  readonly transport: 'streamable-http' | 'sse';
  readonly hostnames: readonly string[];
  readonly pathPrefix: string;
  /** As in {@link ModelRouting}. */
  readonly isDefaultPrefix?: boolean;
  /** Empty: a sidecar sends to its own pod, a shared limiter only decides. As in {@link RouteRule}. */
  readonly targets: readonly Target[];
}

export interface RouteRule {
  readonly name: string;
  readonly path?: StringMatch;
  /** Names are lower case; all must hold. */
  readonly headers: readonly NamedMatch[];
  /** Upper case; empty = every method. */
  readonly methods: readonly string[];
  /** Empty: a sidecar sends to its own pod; a shared limiter has nowhere to send to and only decides. */
  readonly targets: readonly Target[];
}

/** Exactly one field is set. `regex` is RE2 and matches the whole text. */
export interface StringMatch {
  readonly exact?: string;
  readonly prefix?: string;
  readonly regex?: string;
  /** true: present with any value; false: absent. */
  readonly present?: boolean;
}

export interface NamedMatch extends StringMatch {
  readonly name: string;
}

/** An upstream. `url` has no trailing slash; its path is put before the request's path. */
export interface Target {
  readonly url: string;
  readonly weight: number;
}

export interface IdentityConfig {
  /** true: a request without an identity is refused with 401. */
  readonly required: boolean;
  /** Proxies in front of the limiter whose X-Forwarded-For entries are believed; 0 = the peer is the client. */
  readonly trustedHops: number;
  readonly trustedHeaders?: TrustedHeaders;
}

export interface TrustedHeaders {
  readonly user?: string;
  readonly application?: string;
  /** attribute name -> header name (lower case) */
  readonly attributes: Readonly<Record<string, string>>;
  /** CIDRs of the peers whose headers are believed; from everyone else the headers are stripped. */
  readonly trustedPeers: readonly string[];
}

export type StoreConfig = { readonly type: 'memory' } | RedisStoreConfig;

export interface RedisStoreConfig {
  readonly type: 'redis';
  readonly redis: RedisEndpoint;
  /**
   * true: the operator's own default, which every limiter may dial. Absent: an object named it, and egress rules
   * apply.
   */
  readonly isDefault?: boolean;
}

/** A Redis deployment. Exactly one of address, sentinel and cluster. Addresses are `host:port`. */
export interface RedisEndpoint {
  readonly address?: string;
  readonly sentinel?: { readonly masterName: string; readonly addresses: readonly string[] };
  readonly cluster?: { readonly addresses: readonly string[] };
  readonly db?: number;
  /** ACL user; absent: the default user. */
  readonly username?: string;
  readonly password?: SecretReference;
  /** Absent: no TLS. */
  readonly tls?: RedisTls;
}

export interface RedisTls {
  /** PEM; absent: the public authorities. */
  readonly ca?: SecretReference;
  /** Name in the certificate of the server; absent: the host that is dialled. */
  readonly serverName?: string;
}

/**
 * A value that a config needs and never holds: it travels beside the config. The version of a config changes when the
 * Secret does, because UID and resourceVersion are in it.
 */
export interface SecretReference {
  readonly secret: {
    readonly name: string;
    readonly key: string;
    /** Of the Secret when its value was read; absent: it could not be read, and there is no value. */
    readonly uid?: string;
    readonly resourceVersion?: string;
  };
}

/** Values by {@link secretKeyOf} of their references. A Map, because a log or a dump prints nothing of one. */
export type SecretValues = ReadonlyMap<string, string>;

/** The name of a reference among the values of one config. */
export function secretKeyOf({ secret }: SecretReference): string {
  return `${secret.name}/${secret.key}`;
}

export type FailurePolicy = 'Open' | 'Closed' | 'Local';
export type Enforcement = 'Enforce' | 'Shadow';

export interface LimitConfig {
  /**
   * Unique in the object. The short form of an MCPServer compiles to `shared`, `perUser`, `tools/<tool>/shared` and
   * `tools/<tool>/perUser` ("/" cannot occur in a name that a user chose).
   */
  readonly name: string;
  readonly measure: Measure;
  readonly rule: BucketRule | WindowRule;
  /** Empty = one bucket for all callers of the object. */
  readonly per: readonly KeyPart[];
  /** All must hold. */
  readonly when: readonly Match[];
  readonly group?: string;
  readonly priority: number;
  readonly enforcement: Enforcement;
  /** Resolved: Closed for windows of a Day and longer unless the object says otherwise. */
  readonly failurePolicy: FailurePolicy;
  /** Units taken per request for the measure Requests. */
  readonly cost: number;
}

/**
 * A token bucket: `maxTokens` flow in per `refillPeriodMicros`, continuously; it holds at most `burst`; starts full.
 */
export interface BucketRule {
  readonly kind: 'bucket';
  readonly maxTokens: number;
  readonly refillPeriodMicros: number;
  readonly burst: number;
}

export type WindowPeriod = 'Second' | 'Minute' | 'Hour' | 'Day' | 'Week' | 'Month' | 'Year';

/** A calendar-aligned fixed window. limit 0 = always refused. */
export interface WindowRule {
  readonly kind: 'window';
  readonly limit: number;
  readonly period: WindowPeriod;
  readonly timeZone: string;
}

/** One part of a bucket's key. `name` for header (lower case), query and claim, `value` for constant. */
export interface KeyPart {
  readonly type:
    'user' | 'application' | 'claim' | 'header' | 'query' | 'clientIP' | 'model' | 'tool' | 'session' | 'constant';
  readonly name?: string;
  readonly value?: string;
  readonly prefixV4?: number;
  readonly prefixV6?: number;
  /** The name that callers without the part share. */
  readonly fallback?: string;
  /** Share: callers without the part share one bucket. Skip: the limit does not apply to them. */
  readonly whenAbsent: 'Share' | 'Skip';
}

/** One condition on a request. Exactly one of the condition fields is set. */
export interface Match {
  readonly not: boolean;
  readonly header?: NamedMatch;
  readonly query?: NamedMatch;
  readonly path?: StringMatch;
  readonly method?: readonly string[];
  readonly model?: StringMatch;
  readonly tool?: StringMatch;
  /** A dotted path into the caller's attributes; on a list value it holds if an element matches. */
  readonly claim?: NamedMatch;
  /** CIDRs */
  readonly clientIP?: readonly string[];
  readonly application?: readonly string[];
  readonly user?: readonly string[];
}

export type Dialect = 'Auto' | 'OpenAI' | 'Anthropic' | 'MCP' | 'Problem';
export type HeaderFamily = 'IETF' | 'XRateLimit' | 'OpenAI' | 'Anthropic';

export interface ResponseConfig {
  readonly dialect: Dialect;
  /** Which header families go out; empty = those of the dialect. */
  readonly headers: readonly HeaderFamily[];
  readonly resetFormat: 'Delta' | 'Epoch';
  readonly mcp: { readonly form: 'ToolResult' | 'JSONRPCError' | 'HTTP429'; readonly code: number };
  /** CORS headers on the limiter's own answers: what the upstream grants the origin, or none. Absent: Mirror. */
  readonly cors?: 'Mirror' | 'Off';
}

/** What every limiter is told about the fleet it belongs to. Resource name: `Fleet/-/-`. */
export interface FleetConfig {
  readonly kind: 'Fleet';
  /**
   * All limiters of the cluster; at least 1. Divides what is left when the store is gone (failurePolicy Local) where
   * nothing better is known: see {@link SharersConfig}.
   */
  readonly knownLimiters: number;
  /**
   * Shared limiters of all namespaces: each shares the buckets of every object. Absent: this operator sends no {@link
   * SharersConfig}.
   */
  readonly sharedLimiters?: number;
  /**
   * What a shared limiter may dial (upstreams, and Redis that objects name) beside the Services of an object's own
   * namespace: CIDRs, host names,
   * `*.example.com`. Loopback and link-local only where a CIDR covers them.
   */
  readonly egressAllow: readonly string[];
  /** Service names of the own namespace may end in `.svc.<clusterDomain>`; cluster.local when absent. */
  readonly clusterDomain?: string;
  /** true: this operator takes reports (limiter-report.ts). */
  readonly takesReports?: boolean;
}

export const FLEET_RESOURCE_NAME = 'Fleet/-/-';

/**
 * How many limiters share the buckets of one object, beside `sharedLimiters` of the Fleet: its sidecars
 * (`<kind>.<name>`), and the shared limiters of single namespaces (`-`). The two and the Fleet's are added up.
 * Absent: none. Resource name: `Sharers/<namespace>/<name>`.
 */
export interface SharersConfig {
  readonly kind: 'Sharers';
  readonly namespace: string;
  /** `<kind>.<name>` of the object; `-`: of every object of the namespace. */
  readonly name: string;
  readonly limiters: number;
}

const SHARERS_PREFIX = 'Sharers/';

/** The resource that tells how many sidecars share the buckets of an object. */
export function sharersNameOf({ kind, namespace, name }: ObjectRef): string {
  return `${SHARERS_PREFIX}${namespace}/${kind}.${name}`;
}

/** The resource that tells how many shared limiters of single namespaces share the buckets of every object of one. */
export function namespaceSharersNameOf(namespace: string): string {
  return `${SHARERS_PREFIX}${namespace}/-`;
}

/** Whether a resource name is one of {@link SharersConfig}. */
export function isSharersName(name: string): boolean {
  return name.startsWith(SHARERS_PREFIX);
}

/** Everything that one limiter is told, by resource name. */
export type Resource = LimiterConfig | FleetConfig | SharersConfig;

/** The resource name of anything that is told. */
export function nameOfResource(resource: Resource): string {
  if (resource.kind === 'Fleet') return FLEET_RESOURCE_NAME;
  return resource.kind === 'Sharers'
    ? `${SHARERS_PREFIX}${resource.namespace}/${resource.name}`
    : resourceName(resource);
}

/** `<kind>/<namespace>/<name>`: the resource name of an object, and its key in every table, log line and metric. */
export function resourceName(ref: ObjectRef): string {
  return `${ref.kind}/${ref.namespace}/${ref.name}`;
}

/** The reverse of {@link resourceName}; undefined for anything else. */
export function parseResourceName(text: string): ObjectRef | undefined {
  const [kind, namespace, name, ...rest] = text.split('/');
  if (!isObjectKind(kind) || !namespace || !name || rest.length > 0) return undefined;
  return { kind, namespace, name };
}
