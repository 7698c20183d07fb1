// CRD: the types of the objects as they were written, derived from the schemas. What an absent field means:
// defaults.ts.
import type { Status } from './kinds/conditions.ts';
import type { MCPServerSpec } from './kinds/mcp-server.ts';
import type { ModelRouteSpec } from './kinds/model-route.ts';
import type { MCPRateLimiting, ModelRateLimiting } from './kinds/rate-limiting.ts';

export type { Authentication } from './kinds/authentication.ts';
export type { Condition, ConditionType, LimitStatus, Status } from './kinds/conditions.ts';
export type { KeyPart } from './kinds/key-part.ts';
export type { Bucket, Limit, LimitBucket, Window } from './kinds/limit.ts';
export type { HeaderMatch, Match, PathMatch, RuleMatches } from './kinds/match.ts';
export type { MCPServerSpec } from './kinds/mcp-server.ts';
export type { ModelRouteSpec, RouteRuleSpec } from './kinds/model-route.ts';
export type { MCPRateLimiting, ModelRateLimiting, Tool } from './kinds/rate-limiting.ts';
export type { Redis } from './kinds/redis.ts';
export type { TargetSpec } from './kinds/target.ts';
export type { SecretKeyRef, SecretRef, WorkloadSelector } from './kinds/values.ts';

/** `spec.rateLimiting` of either kind. */
export type RateLimiting = ModelRateLimiting | MCPRateLimiting;

/** What Weir reads of the metadata of an object. Times are RFC 3339. */
export interface ObjectMeta {
  readonly name: string;
  readonly namespace: string;
  /** Absent in manifests; standalone makes one. */
  readonly uid?: string;
  readonly generation?: number;
  readonly resourceVersion?: string;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** The group and version of both kinds. */
export type ApiVersion = 'weir.dev/v1alpha1';

export interface ModelRoute {
  readonly apiVersion: ApiVersion;
  readonly kind: 'ModelRoute';
  readonly metadata: ObjectMeta;
  readonly spec: ModelRouteSpec;
  readonly status?: Status;
}

export interface MCPServer {
  readonly apiVersion: ApiVersion;
  readonly kind: 'MCPServer';
  readonly metadata: ObjectMeta;
  readonly spec: MCPServerSpec;
  readonly status?: Status;
}

/** An object of either kind. */
export type WeirObject = ModelRoute | MCPServer;
