// Limiter, compile: the frozen forms that a request meets. Types alone; runtime.ts makes them, the later stages read
// them.
import type { LimitConfig, LimiterConfig, SecretValues, Target } from '../../contract/limiter-config.ts';
import type { StoreUse } from '../../contract/limiter-report.ts';
import type { CidrSet } from '../../lib/values/address.ts';
import type { RequestFacts, WireRequest } from '../decide/decision.ts';
import type { Charge } from '../decide/usage.ts';
import type { IdentityProvider } from '../identity/provider.ts';
import type { Source } from '../request/one-value.ts';

/** One limit, ready to run. */
export interface RuntimeLimit {
  readonly config: LimitConfig;
  /** `weir:{namespace}:kind:uid:limit:fingerprint`: everything of the bucket's key but the caller. */
  readonly keyPrefix: string;
  /** True when every `when` holds. */
  readonly applies: (facts: RequestFacts) => boolean;
  /** What the bucket can hold, in units; 0 blocks. */
  readonly capacity: number;
  /** Units of a use. */
  readonly charge: Charge;
  /**
   * Whether a caller chooses a part of the key (header, query, address, session, tool, or the model where every model
   * is taken): such keys are bounded in number.
   */
  readonly callerChosen: boolean;
}

/** One routing rule, ready to run. */
export interface RuntimeRule {
  readonly name: string;
  readonly matches: (request: Pick<WireRequest, 'method' | 'headers'>, pathBelowPrefix: string) => boolean;
  readonly targets: readonly Target[];
  /**
   * Compared number by number; the greater one is the more specific match: path kind, path length, headers, methods.
   */
  readonly specificity: readonly number[];
}

/** What a request is routed by. An MCP server has one rule that takes everything and no models. */
export interface RuntimeRouting {
  readonly kind: 'model' | 'mcp';
  /** ["*"]: every model. */
  readonly models: readonly string[];
  /** Lower case; [''] = every host. */
  readonly hostnames: readonly string[];
  /** In its normal form, without a slash at its end; "/" takes everything. */
  readonly pathPrefix: string;
  /** The prefix was not chosen by the owner: it counts on a shared limiter, a sidecar takes every path. */
  readonly isDefaultPrefix: boolean;
  readonly rules: readonly RuntimeRule[];
}

/** How the callers of an object are known. */
export interface RuntimeIdentity {
  readonly required: boolean;
  readonly trustedHops: number;
  readonly trustedPeers: CidrSet;
  /** In order: the first that does not answer "absent" decides. Empty: no identity can be established. */
  readonly providers: readonly IdentityProvider[];
  /** Names (lower case) of all headers that carry an identity. */
  readonly headerNames: readonly string[];
}

/** One object, compiled. Frozen; a request in flight keeps the one it was routed to. */
export interface RuntimeObject {
  readonly config: LimiterConfig;
  /** What the config names: never dumped, never logged. */
  readonly secrets: SecretValues;
  /** `<kind>/<namespace>/<name>` */
  readonly resourceName: string;
  readonly routing: RuntimeRouting;
  readonly identity?: RuntimeIdentity;
  /** What its rules, conditions and keys read of a request: each must have one value (request/one-value.ts). */
  readonly reads: readonly Source[];
  readonly limitSet: LimitSet;
}

/** Limits that are decided on together, and where their buckets live: those of one object. */
export interface LimitSet {
  /** Of its owner: {@link RuntimeObject.resourceName}. */
  readonly name: string;
  /** In list order: the order of outcomes. */
  readonly limits: readonly RuntimeLimit[];
  /** Indices into `limits` in the order in which groups are resolved: priority (higher first), then list order. */
  readonly order: readonly number[];
  readonly store: StorePlace;
}

/** Where buckets live. */
export interface StorePlace {
  readonly use: StoreUse;
  readonly secrets: SecretValues;
  /** {@link storePlaceOf} `use`, made once: limit sets with one place share a store. */
  readonly id: string;
}
