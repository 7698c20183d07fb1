// Reconcile, references: the Services and Secrets that an object names -> whether they are there, may be used, and
// have the port or the key.
import { valuesAt } from '../contract/capabilities.ts';
import { CREDENTIAL_LABEL } from '../contract/names.ts';
import type { ResolvedRefsReason } from '../crd/kinds/conditions.ts';
import type { SecretFacts, ServiceFacts, World } from './types.ts';

/** What one reference lacks. */
export interface MissingReference {
  readonly reason: Exclude<ResolvedRefsReason, 'ResolvedRefs'>;
  readonly message: string;
}

const SERVICES = ['spec.targets[].service', 'spec.rules[].targets[].service'];

const SECRETS = ['spec.rateLimiting.redis.passwordSecretRef', 'spec.rateLimiting.redis.tls.caSecretRef'];

/** All references that do not resolve, Services first, in the order of the spec. */
export function unresolved(
  spec: unknown,
  namespace: string,
  world: Pick<World, 'serviceOf' | 'secretOf' | 'settings'>,
): MissingReference[] {
  return [...unresolvedServices(spec, namespace, world), ...unresolvedSecrets(spec, namespace, world)];
}

/** The Secrets that a spec names, in its order; the same one perhaps twice. */
export function secretRefsOf(spec: unknown): { readonly path: string; readonly name: string; readonly key: string }[] {
  return SECRETS.flatMap((path) => valuesAt({ spec }, path)).flatMap(({ path, value }) => {
    const { name, key } = (value ?? {}) as { readonly name?: unknown; readonly key?: unknown };
    return typeof name === 'string' && typeof key === 'string' ? [{ path, name, key }] : [];
  });
}

function unresolvedSecrets(
  spec: unknown,
  namespace: string,
  world: Pick<World, 'secretOf' | 'settings'>,
): MissingReference[] {
  const { weirCommand = 'weir' } = world.settings;
  return secretRefsOf(spec).flatMap(({ path, name, key }) => {
    const facts = world.secretOf(namespace, name);
    const trouble = troubleWith(facts, { namespace, name, key }, weirCommand);
    if (trouble === undefined) return [];
    const kept = facts.values.has(key) ? '; the value that was read last stays in use' : '';
    return { reason: trouble.reason, message: `${path}: ${trouble.message}${kept}` };
  });
}

/**
 * @returns undefined when limiters get the value as it is now. No key that the Secret has is named: not everyone may
 * know them.
 */
function troubleWith(
  { state, keys, account }: SecretFacts,
  { namespace, name, key }: { readonly namespace: string; readonly name: string; readonly key: string },
  weirCommand: string,
): MissingReference | undefined {
  const secret = `Secret ${namespace}/${name}`;
  switch (state) {
    case 'found':
      if (keys.has(key)) return undefined;
      return { reason: 'SecretKeyMissing', message: `${secret} has no key "${key}", or its value is empty` };
    case 'unlabelled': {
      const command = `kubectl label secret ${name} --namespace ${namespace} ${CREDENTIAL_LABEL}=true`;
      return {
        reason: 'SecretNotPermitted',
        message: `${secret} lacks the label ${CREDENTIAL_LABEL}: "true": ${command}`,
      };
    }
    case 'forbidden': {
      const message = `the operator may not read ${secret}: ${weirCommand} ${grantArguments(namespace, name, account)}`;
      return { reason: 'SecretForbidden', message };
    }
    case 'missing':
      return {
        reason: 'SecretNotFound',
        message: `${secret} does not exist: create it with the label ${CREDENTIAL_LABEL}: "true"`,
      };
    case 'unknown':
      return { reason: 'SecretNotFound', message: `${secret} has not been read yet` };
    case 'absent':
      return { reason: 'SecretNotFound', message: `${secret} cannot be read: Secrets exist only in a cluster` };
  }
}

/** What follows `weir` in the command that lets the operator read a Secret. */
function grantArguments(namespace: string, name: string, account?: string): string {
  const of = account === undefined ? '' : ` --service-account ${account}`;
  return `grant --namespace ${namespace} --secret ${name}${of} | kubectl apply -f -`;
}

function unresolvedServices(spec: unknown, namespace: string, world: Pick<World, 'serviceOf'>): MissingReference[] {
  return SERVICES.flatMap((path) => valuesAt({ spec }, path)).flatMap(({ path, value }) => {
    const { name, port } = (value ?? {}) as { readonly name?: unknown; readonly port?: unknown };
    if (typeof name !== 'string' || typeof port !== 'number') return [];
    const service = world.serviceOf(namespace, name);
    if (service === undefined) {
      return { reason: 'ServiceNotFound' as const, message: `${path}: Service ${namespace}/${name} does not exist` };
    }
    if (hasPort(service, port)) return [];
    const ports = service.ports.map((each) => each.port).join(', ');
    return {
      reason: 'PortNotFound' as const,
      message: `${path}: Service ${namespace}/${name} has no port ${port}: it has ${ports === '' ? 'no ports' : ports}`,
    };
  });
}

/** An ExternalName is another name for a host: if it declares no ports, any port may exist. */
function hasPort(service: ServiceFacts, port: number): boolean {
  if (service.type === 'ExternalName' && service.ports.length === 0) return true;
  return service.ports.some((each) => each.port === port);
}
