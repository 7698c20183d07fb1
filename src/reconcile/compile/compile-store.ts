// Reconcile, compile: where the buckets of an object live. Input: its spec and the operator's default; output: the
// store of its limiter config, or nothing where nobody names one.
import { isIP } from 'node:net';
import type { RedisEndpoint, SecretReference, StoreConfig } from '../../contract/limiter-config.ts';
import { DEFAULT_REDIS_SECRET } from '../../contract/names.ts';
import type { Redis } from '../../crd/kinds/redis.ts';
import type { WeirObject } from '../../crd/types.ts';
import type { SecretKeyRef } from '../../crd/kinds/values.ts';
import { ownServiceName } from './compile-routing.ts';
import { given } from '../optional.ts';
import type { ReconcileSettings } from '../types.ts';

/** @returns undefined: the object needs a Redis, and neither it nor the operator names one. */
export function compileStore({ spec, metadata }: WeirObject, settings: ReconcileSettings): StoreConfig | undefined {
  const { scope, redis } = spec.rateLimiting ?? {};
  if (scope === 'Local') return { type: 'memory' };
  if (redis?.address === undefined) return defaultStore(metadata.namespace, settings);
  const address = withServiceDomain(redis.address, { ...metadata, ...given('clusterDomain', settings.clusterDomain) });
  return { type: 'redis', redis: { address, ...given('db', redis.db), ...loginOf(redis) } };
}

/** Names of Secrets alone: what they hold is looked up when the config is put in force. */
function loginOf({ address, username, passwordSecretRef, tls }: Redis): Partial<RedisEndpoint> {
  const written = hostOf(address ?? '');
  const serverName = tls?.serverName ?? (isIP(written) === 0 ? written : undefined);
  return {
    ...given('username', username),
    ...given('password', reference(passwordSecretRef)),
    ...(tls === undefined
      ? {}
      : { tls: { ...given('ca', reference(tls.caSecretRef)), ...given('serverName', serverName) } }),
  };
}

function reference(ref: SecretKeyRef | undefined): SecretReference | undefined {
  return ref && { secret: { name: ref.name, key: ref.key } };
}

/** As the user wrote it: the name that people put into certificates. */
function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(':')).replace(/^\[|\]$/g, '');
}

/**
 * Marked as the operator's own: what an object names is dialled by a shared limiter only where egress rules cover it.
 */
function defaultStore(
  namespace: string,
  { defaultStore: store, defaultStoreUsers = false }: ReconcileSettings,
): StoreConfig | undefined {
  if (store?.type !== 'redis') return store;
  if (!defaultStoreUsers) return { ...store, isDefault: true };
  const password = { secret: { name: DEFAULT_REDIS_SECRET, key: namespace } };
  return { ...store, isDefault: true, redis: { ...store.redis, username: redisUserOf(namespace), password } };
}

/** The user of a namespace in the default Redis. */
export function redisUserOf(namespace: string): string {
  return `weir-${namespace}`;
}

/** Whether an object may use the default Redis: the password of all must not come into pods of just any namespace. */
export function mayUseDefault({ metadata, spec }: WeirObject, settings: ReconcileSettings): boolean {
  const { defaultStoreSidecars: named } = settings;
  return named === undefined || spec.workloadSelector === undefined || named.includes(metadata.namespace);
}

/**
 * `<svc>.<ns>:port` of the own namespace is written out to `<svc>.<ns>.svc…:port`: the short name could also be found
 * outside of the cluster, where a namespace may be called like a top-level domain.
 */
function withServiceDomain(
  address: string,
  context: { readonly namespace: string; readonly clusterDomain?: string },
): string {
  const [service = '', namespace, port, ...rest] = address.split(/[.:]/);
  const isShort = rest.length === 0 && port !== undefined && namespace?.toLowerCase() === context.namespace;
  return isShort ? `${ownServiceName(service, context)}:${port}` : address;
}
