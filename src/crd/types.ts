// CRD: the types of the objects as they were written, derived from the schemas. What an absent field means:
// defaults.ts.
import type { ObjectKind } from '../contract/limiter-config.ts';
import type { Status } from './kinds/conditions.ts';
import { type API_VERSION, kindOf, type SpecOf } from './kinds/kinds.ts';
import type { MCPRateLimiting, ModelRateLimiting } from './kinds/rate-limiting.ts';

export type { Authentication } from './kinds/authentication.ts';
export type { Condition, ConditionType, LimitStatus, Status } from './kinds/conditions.ts';
export type { KeyPartSpec } from './kinds/key-part.ts';
export type { Bucket, Limit, LimitBucket, Window } from './kinds/limit.ts';
export type { HeaderMatch, MatchSpec, PathMatch, RuleMatches } from './kinds/match.ts';
export type { MCPRateLimiting, ModelRateLimiting, ToolSpec } from './kinds/rate-limiting.ts';
export type { Redis } from './kinds/redis.ts';
export type { TargetSpec } from './kinds/target.ts';
export type { SecretKeyRef, SecretRef, WorkloadSelector } from './kinds/values.ts';

/** `spec.rateLimiting` of any kind. */
export type RateLimiting = ModelRateLimiting | MCPRateLimiting;

/** What Weir reads of the metadata of an object. Times are RFC 3339. */
export interface ObjectMetadata {
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

/** An object of kind K. */
export interface ObjectOf<K extends ObjectKind> {
  readonly apiVersion: typeof API_VERSION;
  readonly kind: K;
  readonly metadata: ObjectMetadata;
  readonly spec: SpecOf<K>;
  readonly status?: Status;
}

/** An object of any kind. */
export type WeirObject = { readonly [K in ObjectKind]: ObjectOf<K> }[ObjectKind];

/** Whether requests to the object name a model, and its spec the models that it takes. */
export function namesModels(object: WeirObject): object is ObjectOf<'ModelRoute'> {
  return kindOf(object.kind).namesModels;
}
