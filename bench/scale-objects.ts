// Benchmark of scale, what it puts into the cluster. In: numbers; out: namespaces, pods and ModelRoutes.
import type { KubeObject, StoredObject } from '../src/controller/kube/kube-types.ts';

export function namespaceOf(index: number): string {
  return `scale-${index}`;
}

export function namespaceList(count: number): string {
  const items = Array.from({ length: count }, (_, index) => ({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: namespaceOf(index) },
  }));
  return JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
}

export function podOf(name: string): KubeObject {
  const spec = { serviceAccountName: 'limiter', containers: [{ name: 'main', image: 'none' }] };
  const metadata = { name, labels: { app: 'model' }, annotations: { 'weir.dev/injected': 'bench' } };
  return { apiVersion: 'v1', kind: 'Pod', metadata, spec } as KubeObject;
}

export function routeOf(namespace: number, object: number, maxTokens: number): StoredObject {
  return {
    apiVersion: 'weir.dev/v1alpha1',
    kind: 'ModelRoute',
    metadata: { name: `route-${object}`, namespace: namespaceOf(namespace) },
    spec: {
      modelName: `model-${object}`,
      workloadSelector: { matchLabels: { app: 'model' } },
      rateLimiting: {
        scope: 'Local',
        limits: [
          {
            name: 'minute',
            measure: 'Requests',
            bucket: { maxTokens, refillPeriod: '1m' },
            per: [{ header: 'x-team' }],
          },
          { name: 'day', measure: 'Requests', window: { limit: 100_000, period: 'Day' } },
        ],
      },
    },
  };
}
