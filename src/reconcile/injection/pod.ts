// Reconcile, injection: the parts of a Pod that the injector reads or changes. Whatever else a pod has is kept as it
// came.

export interface ContainerPort {
  readonly name?: string;
  readonly containerPort: number;
  /** Of the node. */
  readonly hostPort?: number;
  readonly hostIP?: string;
  /** Absent: TCP. */
  readonly protocol?: string;
}

/** A probe or a lifecycle hook: what calls a port of its own container, by number or by name. */
export interface PortCall {
  readonly httpGet?: {
    readonly port: number | string;
    readonly host?: string;
    readonly path?: string;
    readonly scheme?: string;
    readonly httpHeaders?: readonly { readonly name: string; readonly value: string }[];
  };
  readonly tcpSocket?: { readonly port: number | string; readonly host?: string };
  readonly grpc?: { readonly port: number };
}

export interface Lifecycle {
  readonly postStart?: PortCall;
  readonly preStop?: PortCall;
}

export interface Container {
  readonly name: string;
  readonly args?: readonly string[];
  readonly ports?: readonly ContainerPort[];
  readonly livenessProbe?: PortCall;
  readonly readinessProbe?: PortCall;
  readonly startupProbe?: PortCall;
  readonly lifecycle?: Lifecycle;
  /** Of an init container: Always makes it a native sidecar. */
  readonly restartPolicy?: string;
}

export interface PodSpec {
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly volumes?: readonly { readonly name: string }[];
  readonly imagePullSecrets?: readonly { readonly name?: string }[];
  readonly hostNetwork?: boolean;
  /** Absent: Always. */
  readonly restartPolicy?: string;
  readonly terminationGracePeriodSeconds?: number;
  readonly os?: { readonly name?: string };
  readonly nodeSelector?: Readonly<Record<string, string>>;
}

export interface InjectablePod {
  readonly metadata?: {
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: PodSpec;
}

/** Whether the port carries TCP. */
export function isTcp({ protocol }: ContainerPort): boolean {
  return protocol === undefined || protocol === 'TCP';
}

/** Every container that runs beside the limiter for the pod's life: the workload's own and native sidecars. */
export function runningContainers({ containers, initContainers = [] }: PodSpec): Container[] {
  return [...containers, ...initContainers.filter(({ restartPolicy }) => restartPolicy === 'Always')];
}
