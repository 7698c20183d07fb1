// Reconcile, secrets: a compiled config that only names Secrets -> the same with the state of each in it, and the
// values beside it. An object gets the Secrets of its own namespace and no others.
import {
  secretKeyOf,
  type LimiterConfig,
  type RedisEndpoint,
  type SecretReference,
  type SecretValues,
} from '../contract/limiter-config.ts';
import { given } from './optional.ts';
import type { World } from './types.ts';

/** A config as it is put in force. A reference without a value stays without UID: limiters do without it. */
export function withSecrets(
  config: LimiterConfig,
  world: Pick<World, 'secretOf'>,
): { readonly config: LimiterConfig; readonly secrets: SecretValues } {
  const secrets = new Map<string, string>();
  const { store } = config;
  if (store.type === 'memory' || referencesOf(store.redis).length === 0) return { config, secrets };
  const resolve = (reference: SecretReference | undefined): SecretReference | undefined => {
    if (reference === undefined) return undefined;
    const { name, key } = reference.secret;
    const known = world.secretOf(config.namespace, name).values.get(key);
    if (known === undefined) return reference;
    const { uid, resourceVersion, value } = known;
    secrets.set(secretKeyOf(reference), value);
    return { secret: { name, key, uid, resourceVersion } };
  };
  const { password, tls, ...redis } = store.redis;
  const resolved: RedisEndpoint = {
    ...redis,
    ...given('password', resolve(password)),
    ...given('tls', tls && { ...tls, ...given('ca', resolve(tls.ca)) }),
  };
  return { config: { ...config, store: { ...store, redis: resolved } }, secrets };
}

function referencesOf({ password, tls }: RedisEndpoint): SecretReference[] {
  return [password, tls?.ca].filter((reference) => reference !== undefined);
}
