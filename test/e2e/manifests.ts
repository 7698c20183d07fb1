// End to end, manifests: objects of Weir as tests write them, with what they do not care about filled in.
import type { ObjectRef } from '../../src/contract/limiter-config.ts';

/** An object to apply. */
export interface Manifest {
  readonly apiVersion: 'weir.dev/v1alpha1';
  readonly kind: ObjectRef['kind'];
  readonly metadata: {
    readonly namespace: string;
    readonly name: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly spec: Readonly<Record<string, unknown>>;
}

/** A bucket so slow that nothing flows back while a test runs: counts are then exact, however slow the machine. */
export const slowBucket = (maxTokens: number): object => ({ maxTokens, refillPeriod: '8000h' });

/** A limit on requests. */
export function requestLimit(name: string, maxTokens: number, more: object = {}): object {
  return { name, measure: 'Requests', bucket: slowBucket(maxTokens), ...more };
}

/** A ModelRoute at `namespace/name`; its spec as given. */
export function modelRoute(place: string, spec: Manifest['spec'], labels?: Record<string, string>): Manifest {
  return manifest('ModelRoute', place, spec, labels);
}

/** An MCPServer at `namespace/name`; its spec as given, with the transport filled in. */
export function mcpServer(place: string, spec: Manifest['spec'], labels?: Record<string, string>): Manifest {
  return manifest('MCPServer', place, { transport: 'streamable-http', ...spec }, labels);
}

export function refOf({ kind, metadata: { namespace, name } }: Manifest): ObjectRef {
  return { kind, namespace, name };
}

function manifest(
  kind: ObjectRef['kind'],
  place: string,
  spec: Manifest['spec'],
  labels?: Readonly<Record<string, string>>,
): Manifest {
  const [namespace = '', name = ''] = place.split('/');
  return {
    apiVersion: 'weir.dev/v1alpha1',
    kind,
    metadata: { namespace, name, ...(labels === undefined ? {} : { labels }) },
    spec,
  };
}
