// Contract: what a limiter has trouble with, told to the operator beside ACK and NACK. In: stores and upstreams in
// trouble; out: one more DeltaDiscoveryRequest on the stream, with a type of its own and no nonce, so that an
// operator that does not know it reads an answer to nothing. It is sent only to an operator whose Fleet resource says
// that it takes reports.
import { createHash } from 'node:crypto';
import { secretKeyOf, type LimiterConfig, type RedisEndpoint, type SecretReference } from './limiter-config.ts';
import type { DeltaDiscoveryRequest } from './push-protocol.ts';
import { canonicalJson } from './snapshot.ts';

/** The type of a report; nothing is ever subscribed to by it. */
export const LIMITER_REPORT_TYPE_URL = 'type.googleapis.com/weir.contract.v1.LimiterReport';
/** What does not fit is left out: the rest says that there is trouble. */
export const MOST_STORES = 200;
export const MOST_UPSTREAMS = 200;
/** Names of unclaimed models: examples, for people. */
export const MOST_UNCLAIMED = 3;
const LONGEST_MODEL = 64;
const LONGEST_NAME = 700;
const LONGEST_DETAIL = 200;

/** A store that cannot be reached, or one that throws buckets away. */
export interface StoreTrouble {
  /** {@link storeIdOf} the store. */
  readonly store: string;
  readonly kind: 'unreachable' | 'evicts';
  /** How it shows: `ECONNREFUSED`, `maxmemory-policy allkeys-lru`. */
  readonly detail: string;
}

/** An upstream that accepts no connections. */
export interface UpstreamTrouble {
  /** Resource name of the object whose target it is. */
  readonly object: string;
  /** `http://host:port`. */
  readonly upstream: string;
  readonly detail: string;
}

/** Everything that a limiter has trouble with now; an empty one says that all is well. It replaces the one before. */
export interface LimiterReport {
  readonly stores: readonly StoreTrouble[];
  readonly upstreams: readonly UpstreamTrouble[];
  /** Sidecars: models that callers named and no route claims, so that they pass unlimited. Absent: none. Any text. */
  readonly unclaimed?: readonly string[];
}

export const NO_TROUBLE: LimiterReport = { stores: [], upstreams: [] };

/** What an object says of its store. */
export type StoreUse = Pick<LimiterConfig, 'store' | 'namespace'>;

/**
 * What makes a store: where it is, and the names of its secrets, which belong to a namespace. Their values do not: a
 * store outlives their rotation.
 */
export function storePlaceOf({ store, namespace }: StoreUse): string {
  if (store.type === 'memory') return canonicalJson(store);
  const { password, tls, ...at } = store.redis;
  if (password === undefined && tls?.ca === undefined) return canonicalJson(store);
  const redis = { ...at, password: nameOf(password), tls: tls && { ...tls, ca: nameOf(tls.ca) } };
  return canonicalJson({ ...store, redis, namespace });
}

function nameOf(reference: SecretReference | undefined): string | undefined {
  return reference && secretKeyOf(reference);
}

/** The same at both ends for one store; undefined for one that cannot be away. */
export function storeIdOf(use: StoreUse): string | undefined {
  if (use.store.type !== 'redis') return undefined;
  return createHash('sha256').update(storePlaceOf(use)).digest('hex').slice(0, 16);
}

/** Addresses and user, never a password: for logs, metrics and statuses. */
export function storeLabelOf({ address, sentinel, cluster, username }: RedisEndpoint): string {
  const user = username === undefined ? '' : `${username}@`;
  if (sentinel !== undefined) return `${user}sentinel ${sentinel.masterName} at ${sentinel.addresses.join(',')}`;
  return cluster === undefined ? `${user}${address ?? ''}` : `${user}cluster ${cluster.addresses.join(',')}`;
}

/** The request that carries a report. */
export function toReportRequest({ stores, upstreams, unclaimed = [] }: LimiterReport): DeltaDiscoveryRequest {
  const report = {
    stores: stores.slice(0, MOST_STORES).map((each) => ({ ...each, detail: each.detail.slice(0, LONGEST_DETAIL) })),
    upstreams: upstreams
      .slice(0, MOST_UPSTREAMS)
      .map((each) => ({ ...each, detail: each.detail.slice(0, LONGEST_DETAIL) })),
    ...(unclaimed.length === 0 ? {} : { unclaimed: unclaimedOf(unclaimed) }),
  };
  return { type_url: LIMITER_REPORT_TYPE_URL, error_detail: { code: 0, message: JSON.stringify(report) } };
}

export function isReport(request: DeltaDiscoveryRequest): boolean {
  return request.type_url === LIMITER_REPORT_TYPE_URL;
}

/**
 * The reverse of {@link toReportRequest}, within its bounds; undefined if it is not a report. Parts that cannot be
 * read are left out.
 */
export function fromReportRequest(request: DeltaDiscoveryRequest): LimiterReport | undefined {
  let report: unknown;
  try {
    report = JSON.parse(request.error_detail?.message ?? '');
  } catch {
    return undefined;
  }
  if (typeof report !== 'object' || report === null) return undefined;
  const { stores, upstreams, unclaimed } = report as Partial<Record<string, unknown>>;
  const models = unclaimedOf(unclaimed);
  return {
    stores: listOf(stores, MOST_STORES).flatMap(storeTroubleOf),
    upstreams: listOf(upstreams, MOST_UPSTREAMS).flatMap(upstreamTroubleOf),
    ...(models.length === 0 ? {} : { unclaimed: models }),
  };
}

function unclaimedOf(value: unknown): string[] {
  const list: unknown[] = Array.isArray(value) ? value.slice(0, MOST_UNCLAIMED) : [];
  return list.filter((name) => typeof name === 'string').map((name) => name.slice(0, LONGEST_MODEL));
}

function listOf(value: unknown, most: number): readonly Partial<Record<string, unknown>>[] {
  const list: unknown[] = Array.isArray(value) ? value.slice(0, most) : [];
  return list.filter((each): each is Partial<Record<string, unknown>> => typeof each === 'object' && each !== null);
}

function storeTroubleOf({ store, kind, detail }: Partial<Record<string, unknown>>): StoreTrouble[] {
  if (typeof store !== 'string' || (kind !== 'unreachable' && kind !== 'evicts')) return [];
  return [{ store: store.slice(0, LONGEST_NAME), kind, detail: detailOf(detail) }];
}

function upstreamTroubleOf({ object, upstream, detail }: Partial<Record<string, unknown>>): UpstreamTrouble[] {
  if (typeof object !== 'string' || typeof upstream !== 'string') return [];
  return [
    { object: object.slice(0, LONGEST_NAME), upstream: upstream.slice(0, LONGEST_NAME), detail: detailOf(detail) },
  ];
}

/** One line of plain text. */
function detailOf(detail: unknown): string {
  return typeof detail === 'string' ? detail.replaceAll(/[^\x20-\x7e]+/g, ' ').slice(0, LONGEST_DETAIL) : '';
}
