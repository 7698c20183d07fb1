// Reconcile, references: the Services that an object names -> whether they are there and have the port. Secrets are not read
// by this version: every field that names one is NotSupported.
import { valuesAt } from '../contract/capabilities.ts';
import type { ResolvedRefsReason } from '../crd/conditions.ts';
import type { ServiceFacts, World } from './types.ts';

/** What one reference lacks. */
export interface MissingReference {
  readonly reason: Exclude<ResolvedRefsReason, 'ResolvedRefs'>;
  readonly message: string;
}

const SERVICES = ['spec.targets[].service', 'spec.rules[].targets[].service'];

/** All references that do not resolve, in the order of the spec. */
export function unresolved(spec: unknown, namespace: string, world: Pick<World, 'serviceOf'>): MissingReference[] {
  return SERVICES.flatMap((path) => valuesAt({ spec }, path)).flatMap(({ path, value }) => {
    const { name, port } = (value ?? {}) as { readonly name?: unknown; readonly port?: unknown };
    if (typeof name !== 'string' || typeof port !== 'number') return [];
    const service = world.serviceOf(namespace, name);
    if (service === undefined) {
      return { reason: 'ServiceNotFound' as const, message: `${path}: there is no Service ${namespace}/${name}` };
    }
    if (hasPort(service, port)) return [];
    const ports = service.ports.map((each) => each.port).join(', ');
    return {
      reason: 'PortNotFound' as const,
      message: `${path}: Service ${namespace}/${name} has no port ${port}, only ${ports === '' ? 'none' : ports}`,
    };
  });
}

/** An ExternalName is only another name for a host: without declared ports every port may be there. */
function hasPort(service: ServiceFacts, port: number): boolean {
  if (service.type === 'ExternalName' && service.ports.length === 0) return true;
  return service.ports.some((each) => each.port === port);
}
