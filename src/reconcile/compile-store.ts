// Reconcile, compile: where the buckets of an object live. Input: its spec and the operator's default; output: the store of its
// limiter config, or nothing where nobody names one.
import type { StoreConfig } from '../contract/limiter-config.ts';
import type { WeirObject } from '../crd/types.ts';
import { ownServiceName } from './compile-routing.ts';
import { given } from './optional.ts';
import type { ReconcileSettings } from './types.ts';

/** @returns undefined: the object needs a Redis, and neither it nor the operator names one. */
export function compileStore({ spec, metadata }: WeirObject, settings: ReconcileSettings): StoreConfig | undefined {
  const { scope, redis } = spec.rateLimiting ?? {};
  if (scope === 'Local') return { type: 'memory' };
  if (redis?.address === undefined) return defaultStore(settings);
  const address = withServiceDomain(redis.address, { ...metadata, ...given('clusterDomain', settings.clusterDomain) });
  return { type: 'redis', redis: { address, ...given('db', redis.db) } };
}

/** Marked as the operator's own: what an object names is dialled by a shared limiter only where egress rules cover it. */
function defaultStore({ defaultStore: store }: ReconcileSettings): StoreConfig | undefined {
  return store?.type === 'redis' ? { ...store, isDefault: true } : store;
}

/**
 * `<svc>.<ns>:port` of the own namespace is written out to `<svc>.<ns>.svc…:port`: the short name could also be found outside of
 * the cluster, where a namespace may be called like a top-level domain.
 */
function withServiceDomain(
  address: string,
  context: { readonly namespace: string; readonly clusterDomain?: string },
): string {
  const [service = '', namespace, port, ...rest] = address.split(/[.:]/);
  const isShort = rest.length === 0 && port !== undefined && namespace?.toLowerCase() === context.namespace;
  return isShort ? `${ownServiceName(service, context)}:${port}` : address;
}
