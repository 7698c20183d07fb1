// On a real node, workloads: what a user has before Weir comes: Deployments and Services of a stand-in model, as
// manifests.
import type { Manifest } from '../e2e/manifests.ts';

/** Any object of Kubernetes. */
export type KubeManifest = Readonly<Record<string, unknown>>;

export interface WorkloadOptions {
  readonly namespace: string;
  readonly name: string;
  /** The image that has the stand-in model: Weir's own. */
  readonly image: string;
  readonly replicas?: number;
  /** What the Service targets: the port by its name (default) or by its number. */
  readonly target?: 'name' | 'number';
  readonly annotations?: Readonly<Record<string, string>>;
  /** Members of the pod template's metadata.labels beside `app`. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Members of the pod's spec. */
  readonly podSpec?: KubeManifest;
  /** Members of the container. */
  readonly container?: KubeManifest;
}

export const WORKLOAD_PORT = 8000;

export function namespace(name: string, labels: Readonly<Record<string, string>> = {}): KubeManifest {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } };
}

/** A Deployment that Pod Security `restricted` admits, and its Service on port 80. */
export function workload(options: WorkloadOptions): KubeManifest[] {
  const { namespace: space, name, target = 'name' } = options;
  const metadata = { namespace: space, name, labels: { app: name } };
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata,
    spec: {
      selector: { app: name },
      ports: [{ name: 'http', port: 80, targetPort: target === 'name' ? 'http' : WORKLOAD_PORT }],
    },
  };
  return [deployment(options), service];
}

function deployment(options: WorkloadOptions): KubeManifest {
  const { namespace: space, name, replicas = 1, annotations = {}, labels = {}, podSpec = {} } = options;
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { namespace: space, name, labels: { app: name } },
    spec: {
      replicas,
      selector: { matchLabels: { app: name } },
      strategy: { rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
      template: {
        metadata: { labels: { app: name, ...labels }, annotations },
        spec: {
          securityContext: { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: 'RuntimeDefault' } },
          containers: [container(options)],
          ...podSpec,
        },
      },
    },
  };
}

function container({ image, container: more = {} }: WorkloadOptions): KubeManifest {
  return {
    name: 'model',
    image,
    imagePullPolicy: 'IfNotPresent',
    args: ['stand-in', '--listen', `0.0.0.0:${WORKLOAD_PORT}`],
    ports: [{ name: 'http', containerPort: WORKLOAD_PORT }],
    readinessProbe: { httpGet: { path: '/healthz', port: 'http' }, periodSeconds: 1 },
    securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
    ...more,
  };
}

/** A ModelRoute beside the pods of a workload, with these limits. */
export function sidecarRoute(place: string, limits: readonly object[], more: Manifest['spec'] = {}): Manifest {
  const [space = '', name = ''] = place.split('/');
  return {
    apiVersion: 'weir.dev/v1alpha1',
    kind: 'ModelRoute',
    metadata: { namespace: space, name },
    spec: {
      modelName: 'llama',
      workloadSelector: { matchLabels: { app: name } },
      rateLimiting: { limits },
      ...more,
    },
  };
}
