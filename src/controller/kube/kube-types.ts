// Controller: the parts of Kubernetes objects that the operator reads, and the resource types that it asks for.
import type { ObjectKind } from '../../contract/limiter-config.ts';
import { API_VERSION } from '../../crd/kinds/kinds.ts';
import type { PodSpec } from '../../reconcile/injection/pod.ts';
import type { ContainerRange } from '../../reconcile/injection/resources.ts';

/** Where a type of object lives in the API. */
export interface ResourceType {
  /** '' for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
}

/** Those that are not of Weir: crd/kinds/kinds.ts has its own. */
export const RESOURCES = {
  services: { group: '', version: 'v1', plural: 'services' },
  pods: { group: '', version: 'v1', plural: 'pods' },
  replicaSets: { group: 'apps', version: 'v1', plural: 'replicasets' },
  statefulSets: { group: 'apps', version: 'v1', plural: 'statefulsets' },
  daemonSets: { group: 'apps', version: 'v1', plural: 'daemonsets' },
  jobs: { group: 'batch', version: 'v1', plural: 'jobs' },
  /** As other controllers write them; those of Weir are `events`. */
  coreEvents: { group: '', version: 'v1', plural: 'events' },
  limitRanges: { group: '', version: 'v1', plural: 'limitranges' },
  controllerRevisions: { group: 'apps', version: 'v1', plural: 'controllerrevisions' },
  leases: { group: 'coordination.k8s.io', version: 'v1', plural: 'leases' },
  /** Only by name, and only where a namespace has granted it. */
  secrets: { group: '', version: 'v1', plural: 'secrets' },
  configMaps: { group: '', version: 'v1', plural: 'configmaps' },
  namespaces: { group: '', version: 'v1', plural: 'namespaces' },
  webhookConfigurations: {
    group: 'admissionregistration.k8s.io',
    version: 'v1',
    plural: 'mutatingwebhookconfigurations',
  },
  endpointSlices: { group: 'discovery.k8s.io', version: 'v1', plural: 'endpointslices' },
  events: { group: 'events.k8s.io', version: 'v1', plural: 'events' },
  kinds: { group: 'apiextensions.k8s.io', version: 'v1', plural: 'customresourcedefinitions' },
  tokenReviews: { group: 'authentication.k8s.io', version: 'v1', plural: 'tokenreviews' },
  subjectAccessReviews: { group: 'authorization.k8s.io', version: 'v1', plural: 'subjectaccessreviews' },
} as const satisfies Record<string, ResourceType>;

export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
}

export interface ObjectMeta {
  readonly name: string;
  /** Absent on cluster-scoped objects. */
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  /** RFC 3339, whole seconds. */
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly OwnerReference[];
}

export interface KubeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: ObjectMeta;
}

/** An object of Weir as the API server (or a file) gave it; `spec` may be anything until it is checked. */
export interface StoredObject extends KubeObject {
  readonly kind: ObjectKind;
  readonly metadata: ObjectMeta & { readonly namespace: string };
  readonly spec?: unknown;
  readonly status?: unknown;
}

/**
 * Which object, without what it wishes and what was said of it: what may be kept for long, when the object has
 * changed since.
 */
export type ObjectIdentity = Pick<StoredObject, 'kind' | 'metadata'>;

export interface ServicePort {
  readonly name?: string;
  readonly port: number;
  /** Absent: TCP. */
  readonly protocol?: string;
  /** Of the pods, by number or name; absent: `port`. */
  readonly targetPort?: number | string;
}

export interface Service extends KubeObject {
  readonly spec?: {
    readonly ports?: readonly ServicePort[];
    /** Absent: it selects no pods. */
    readonly selector?: Readonly<Record<string, string>>;
    /** `None`: headless. */
    readonly clusterIP?: string;
    readonly type?: string;
    readonly externalName?: string;
  };
}

/** core/v1 Secret; `data` is base64. */
export interface Secret extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
  readonly type?: string;
}

/** Of a container's status what tells why it does not run. */
export interface ContainerStatus {
  readonly name: string;
  readonly state?: ContainerState;
  readonly lastState?: ContainerState;
}

interface ContainerState {
  readonly running?: object;
  readonly waiting?: { readonly reason?: string };
  readonly terminated?: { readonly reason?: string };
}

export interface Pod extends KubeObject {
  readonly spec?: PodSpec;
  readonly status?: {
    readonly phase?: string;
    readonly podIPs?: readonly { readonly ip?: string }[];
    readonly initContainerStatuses?: readonly ContainerStatus[];
    readonly containerStatuses?: readonly ContainerStatus[];
  };
  /**
   * Of a pod that the operator keeps: what it made of spec and status when it read them. The API has nothing of this
   * name.
   */
  readonly facts?: PodFacts;
}

/** What the operator knows of a pod beside its metadata. */
export interface PodFacts {
  /** Why the limiter's container does not run, in the kubelet's word; absent: it runs, or is on its way. */
  readonly limiterTrouble?: string;
  /** How its traffic comes in; absent: it carries no limiter, or one that stands before no port. */
  readonly entry?: PodEntry;
  /** Of a pod without a limiter: what the injector wrote into it. */
  readonly notInjected?: string;
  /** Of a pod without a limiter: why none can stand in it. */
  readonly unfit?: 'HostNetwork' | 'Windows' | 'MirrorPod';
}

/** How traffic comes into a pod whose limiter stands before a port. */
export interface PodEntry {
  /** The workload's port. */
  readonly port: number;
  /** Its names, which the limiter took over. */
  readonly names: readonly string[];
  /** What comes in for the port is redirected to the limiter. */
  readonly redirect: boolean;
  /** TCP ports by name, as Services find them. */
  readonly byName: Readonly<Record<string, number>>;
  /** Ports of the node that lead into the pod, and where to. */
  readonly hostPorts: readonly { readonly hostPort: number; readonly target: number }[];
  readonly addresses: readonly string[];
}

/** discovery.k8s.io/v1; those that a Service's selector makes are not read. */
export interface EndpointSlice extends KubeObject {
  readonly endpoints?: readonly { readonly addresses?: readonly string[] }[] | null;
  /** A port that is absent or null is every port. */
  readonly ports?: readonly { readonly port?: number | null; readonly protocol?: string }[] | null;
}

export interface ControllerRevision extends KubeObject {
  readonly data?: unknown;
  readonly revision: number;
}

/** coordination.k8s.io/v1; times are RFC 3339 with microseconds, by the clock of whoever wrote them. */
export interface Lease extends KubeObject {
  readonly spec?: LeaseSpec;
}

export interface LeaseSpec {
  /** '' or absent: nobody's. */
  readonly holderIdentity?: string;
  readonly leaseDurationSeconds?: number;
  readonly acquireTime?: string;
  readonly renewTime?: string;
  readonly leaseTransitions?: number;
}

/** What makes pods: a ReplicaSet, StatefulSet, DaemonSet or Job. */
export interface Workload extends KubeObject {
  readonly spec?: {
    /** Of a ReplicaSet or StatefulSet; absent: 1. */
    readonly replicas?: number;
    /** Of a Job; absent: 1. */
    readonly parallelism?: number;
    readonly template?: { readonly metadata?: { readonly labels?: Readonly<Record<string, string>> } };
  };
}

/** core/v1 */
export interface CoreEvent extends KubeObject {
  readonly involvedObject?: { readonly kind?: string; readonly name?: string; readonly namespace?: string };
  readonly message?: string;
  readonly lastTimestamp?: string | null;
  readonly eventTime?: string | null;
  readonly series?: { readonly lastObservedTime?: string } | null;
}

/** core/v1 */
export interface LimitRange extends KubeObject {
  readonly spec?: { readonly limits?: readonly (Omit<ContainerRange, 'name'> & { readonly type: string })[] };
}

export interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
}

export interface WebhookConfiguration extends KubeObject {
  readonly webhooks?: readonly {
    readonly name: string;
    /** `caBundle` is base64 of PEM. */
    readonly clientConfig: Readonly<Record<string, unknown>> & { readonly caBundle?: string };
  }[];
}

/** events.k8s.io/v1; `eventTime` is RFC 3339 with microseconds. */
export interface KubeEvent extends KubeObject {
  readonly eventTime: string;
  readonly reportingController: string;
  readonly reportingInstance: string;
  readonly action: string;
  readonly reason: string;
  readonly note: string;
  readonly type: 'Normal' | 'Warning';
  readonly regarding: {
    readonly apiVersion: string;
    readonly kind: string;
    readonly namespace?: string;
    readonly name: string;
    readonly uid?: string;
  };
}

/** `<namespace>/<name>`, or the name alone when cluster-scoped. */
export function objectKey(object: KubeObject): string {
  const { namespace, name } = object.metadata;
  return namespace === undefined ? name : `${namespace}/${name}`;
}

/** The named parts of the metadata that are there; the name always is. */
export function pickMeta<K extends keyof ObjectMeta>(
  metadata: ObjectMeta,
  ...names: readonly K[]
): Pick<ObjectMeta, K> & Pick<ObjectMeta, 'name'> {
  const wanted = new Set<string>(['name', ...names]);
  const entries = Object.entries(metadata).filter(([name, value]) => wanted.has(name) && value !== undefined);
  return Object.fromEntries(entries) as Pick<ObjectMeta, K> & Pick<ObjectMeta, 'name'>;
}

/** What replaces the status of exactly this version of an object. */
export function statusBody({ kind, metadata }: ObjectIdentity, status: unknown): StoredObject {
  const { namespace } = metadata;
  return {
    apiVersion: API_VERSION,
    kind,
    metadata: { ...pickMeta(metadata, 'uid', 'resourceVersion'), namespace },
    status,
  };
}
