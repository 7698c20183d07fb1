// Contract: the push protocol on the wire. In: the .proto files of Envoy and our own; out: the method, its messages
// as types, and the words that both ends put into them (resources, rejections, what a limiter says of itself).
import type { MethodDefinition } from '@grpc/grpc-js';
import { loadSync, type MessageTypeDefinition, type PackageDefinition } from '@grpc/proto-loader';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { SecretValues } from './limiter-config.ts';
import type { VersionedResource } from './snapshot.ts';

/** The one resource type that travels; the Any of a resource carries it. */
export const LIMITER_CONFIG_TYPE_URL = 'type.googleapis.com/weir.contract.v1.LimiterConfig';
/** The audience that a limiter's ServiceAccount token must be made for. */
export const TOKEN_AUDIENCE = 'weir.dev';
/** The only subscription: everything that this limiter may see. */
export const WILDCARD = '*';
/** `system_version_info` of a response that is continued by the next: only after the last one the snapshot is whole. */
export const PARTIAL_RESPONSE = 'partial';
/**
 * Most bytes of one message from a limiter: room for the versions of 40,000 resources, or for thousands of
 * rejections.
 */
export const MAX_REQUEST_BYTES = 8 * 1024 * 1024;
/**
 * Most bytes of one message from the operator: one resource is never split, and no Kubernetes object compiles to
 * more.
 */
export const MAX_RESPONSE_BYTES = 64 * 1024 * 1024;
/** Longest text that a rejection may carry, in characters; longer ones are cut. */
export const MAX_REJECTION_TEXT = 1000;
/** Longest text of all rejections of one NACK together, in characters. */
const MAX_NACK_TEXT = 1_000_000;

/** google.protobuf.Value, as far as a limiter's description of itself uses it. */
interface WireValue {
  readonly stringValue?: string;
  readonly listValue?: { readonly values?: readonly WireValue[] } | null;
}

/** envoy.config.core.v3.Node, as far as it is used. */
export interface WireNode {
  readonly id?: string;
  readonly user_agent_name?: string;
  readonly user_agent_version?: string;
  readonly client_features?: readonly string[];
  readonly metadata?: { readonly fields?: Readonly<Record<string, WireValue>> } | null;
}

/** envoy.service.discovery.v3.DeltaDiscoveryRequest: subscribe, ACK or NACK. */
export interface DeltaDiscoveryRequest {
  readonly node?: WireNode | null;
  readonly type_url?: string;
  readonly resource_names_subscribe?: readonly string[];
  readonly resource_names_unsubscribe?: readonly string[];
  readonly initial_resource_versions?: Readonly<Record<string, string>>;
  readonly response_nonce?: string;
  readonly error_detail?: { readonly code?: number; readonly message?: string } | null;
}

/** envoy.service.discovery.v3.Resource. */
export interface WireResource {
  readonly name: string;
  readonly version: string;
  readonly resource: { readonly type_url: string; readonly value: Buffer } | null;
}

/** envoy.service.discovery.v3.DeltaDiscoveryResponse: what is new, and what is gone. */
export interface DeltaDiscoveryResponse {
  readonly system_version_info?: string;
  readonly type_url: string;
  readonly nonce: string;
  readonly resources: readonly WireResource[];
  readonly removed_resources: readonly string[];
}

/** One resource that a limiter did not take, in its own words. */
export interface Rejection {
  readonly name: string;
  readonly version: string;
  readonly message: string;
}

/** What a limiter says of itself on its first message; nothing of it is believed without the token. */
export interface LimiterSelf {
  /** Stable over restarts of the same limiter (pod name, or host and port). */
  readonly nodeId: string;
  /**
   * The namespaces that a shared limiter wants; `['*']` = all. Absent: a limiter with a pod token is the sidecar of
   * that pod; one with a token without a pod wants all.
   */
  readonly namespaces?: readonly string[];
  /** The version of the program, for the operator's log. */
  readonly version: string;
  /** What it takes beside configs and the Fleet; absent, as from a limiter of 0.2: nothing. */
  readonly features?: readonly string[];
}

/** Of a limiter that takes Sharers resources: one that does not know them refuses them, so it is not sent any. */
export const SHARERS_FEATURE = 'weir.dev/sharers';
/** What a limiter of this version takes. */
export const OWN_FEATURES: readonly string[] = [SHARERS_FEATURE];
/** Longest list of features that is read. */
const MOST_FEATURES = 100;

const PROTO_DEPENDENCIES = ['envoy-api', 'googleapis', 'xds', 'protoc-gen-validate'];
const METHOD = '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources';

/** The push protocol as gRPC needs it. */
export interface PushProtocol {
  /** DeltaAggregatedResources, streaming both ways. */
  readonly method: MethodDefinition<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;
  /** A resource as it goes into a response. Costs a copy of its bytes: keep the result. */
  readonly encode: (resource: VersionedResource) => WireResource;
  /**
   * The canonical bytes of a received resource, and the values of the secrets that they name.
   * @throws Error when the Any is absent, of another type or not readable.
   */
  readonly decode: (resource: WireResource) => { readonly bytes: Buffer; readonly secrets: SecretValues };
}

/** weir.contract.v1.LimiterConfig. */
interface ConfigMessage {
  readonly canonical_json: Buffer;
  readonly secrets: Readonly<Record<string, string>>;
}

let loaded: PushProtocol | undefined;

/** Loads the .proto files: about 80 ms, once per process. */
export function loadPushProtocol(): PushProtocol {
  loaded ??= load();
  return loaded;
}

function load(): PushProtocol {
  const envoy = join(dirname(createRequire(import.meta.url).resolve('@grpc/grpc-js-xds/package.json')), 'deps');
  const definitions = loadSync(
    ['envoy/service/discovery/v3/ads.proto', join(import.meta.dirname, 'proto', 'limiter-config.proto')],
    {
      keepCase: true,
      longs: String,
      enums: String,
      defaults: true,
      includeDirs: PROTO_DEPENDENCIES.map((dependency) => join(envoy, dependency)),
    },
  );
  const config = messageType<ConfigMessage>(definitions, 'weir.contract.v1.LimiterConfig');
  const request = messageType<DeltaDiscoveryRequest>(definitions, 'envoy.service.discovery.v3.DeltaDiscoveryRequest');
  const response = messageType<DeltaDiscoveryResponse>(
    definitions,
    'envoy.service.discovery.v3.DeltaDiscoveryResponse',
  );
  return {
    method: {
      path: METHOD,
      requestStream: true,
      responseStream: true,
      requestSerialize: request.serialize,
      requestDeserialize: request.deserialize,
      responseSerialize: response.serialize,
      responseDeserialize: response.deserialize,
    },
    encode: ({ name, version, bytes, secrets = [] }) => {
      const message = { canonical_json: bytes, secrets: Object.fromEntries(secrets) };
      return { name, version, resource: { type_url: LIMITER_CONFIG_TYPE_URL, value: config.serialize(message) } };
    },
    decode: ({ name, resource }) => {
      if (resource?.type_url !== LIMITER_CONFIG_TYPE_URL) {
        throw new Error(`resource ${name} is of type ${resource?.type_url ?? 'none'}, not ${LIMITER_CONFIG_TYPE_URL}`);
      }
      const { canonical_json: bytes, secrets } = config.deserialize(resource.value);
      return { bytes, secrets: new Map(Object.entries(secrets)) };
    },
  };
}

function messageType<T extends object>(definitions: PackageDefinition, name: string): MessageTypeDefinition<T, T> {
  const definition = definitions[name];
  if (definition === undefined || !('serialize' in definition)) throw new Error(`the .proto files lack ${name}`);
  return definition as unknown as MessageTypeDefinition<T, T>;
}

/** What a limiter says of itself, as a Node. */
export function toNode(self: LimiterSelf): WireNode {
  const { namespaces, features } = self;
  return {
    id: self.nodeId,
    user_agent_name: 'weir-limiter',
    user_agent_version: self.version,
    ...(features === undefined ? {} : { client_features: features }),
    ...(namespaces === undefined
      ? {}
      : {
          metadata: {
            fields: { namespaces: { listValue: { values: namespaces.map((name) => ({ stringValue: name })) } } },
          },
        }),
  };
}

/** The reverse of {@link toNode}; whatever a Node lacks is absent or ''. */
export function fromNode(node: WireNode | null | undefined): LimiterSelf {
  const namespaces = namespacesIn(node?.metadata?.fields ?? {});
  const { id = '', user_agent_version: version = '', client_features: features = [] } = node ?? {};
  return {
    nodeId: id,
    version,
    ...(features.length > 0 ? { features: features.slice(0, MOST_FEATURES) } : {}),
    ...(namespaces.length > 0 ? { namespaces } : {}),
  };
}

function namespacesIn(fields: Readonly<Record<string, WireValue>>): string[] {
  const values = fields['namespaces']?.listValue?.values ?? [];
  return values.map(({ stringValue = '' }) => stringValue).filter((name) => name !== '');
}

/**
 * The last request of a limiter that leaves on purpose: a stream that just ends was lost, its limiter still counts as
 * seen.
 */
export const GOODBYE: DeltaDiscoveryRequest = {
  type_url: LIMITER_CONFIG_TYPE_URL,
  resource_names_unsubscribe: [WILDCARD],
};

export function isGoodbye(request: DeltaDiscoveryRequest): boolean {
  return request.resource_names_unsubscribe?.includes(WILDCARD) ?? false;
}

/**
 * The text of a NACK's error_detail: a JSON list of what was not taken. The more there are, the shorter their
 * messages.
 */
export function formatRejections(rejections: readonly Rejection[]): string {
  const most = Math.min(MAX_REJECTION_TEXT, Math.floor(MAX_NACK_TEXT / rejections.length));
  return JSON.stringify(
    rejections.map(({ name, version, message }) => ({ name, version, message: message.slice(0, most) })),
  );
}

/** The reverse of {@link formatRejections}; undefined when the text is anything else or names nothing. */
export function parseRejections(text: string): Rejection[] | undefined {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!Array.isArray(list) || list.length === 0) return undefined;
  const rejections = list.map(toRejection);
  return rejections.every((rejection) => rejection !== undefined) ? rejections : undefined;
}

function toRejection(value: unknown): Rejection | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { name, version, message } = value as Partial<Record<string, unknown>>;
  if (typeof name !== 'string' || typeof version !== 'string' || typeof message !== 'string') return undefined;
  return { name, version, message: message.slice(0, MAX_REJECTION_TEXT) };
}
