// Reconcile, injection: what is added to a pod. Input: the injection config and where the limiter stands. Output: the
// limiter's container, the container that redirects, their volumes, and the preStop of the workload.
import { boundFlags } from './bounds.ts';
import type { Placement } from './choose-port.ts';
import { LIMITER_CONTAINER, LIMITER_PORTS, PORT_NAMES, REDIRECT_CONTAINER, VOLUMES } from './names.ts';
import type { Container, ContainerPort, PodSpec, PortCall } from './pod.ts';
import type { InjectionConfig } from './settings.ts';

/** What the sidecar is made of, beside the pod. */
export interface SidecarSettings extends InjectionConfig {
  /** Name of the ConfigMap with `ca.crt`. */
  readonly caConfigMap: string;
}

const LIMITER_USER = 65_532;
const CA_FOLDER = '/var/run/weir/ca';
const TOKEN_FOLDER = '/var/run/secrets/weir.dev';
const STATE_FOLDER = '/var/lib/weir';
const UPSTREAM_FLAG = '--upstream=http://127.0.0.1:';
const DRAIN_TOKEN_FLAG = '--drain-token=';
const DRAIN_HEADER = 'x-weir-drain-token';
const DEFAULT_GRACE_SECONDS = 30;

/** The limiter as a native sidecar. */
export function limiterContainer(settings: SidecarSettings, placement: Placement, drainToken: string): object {
  const { image, imagePullPolicy, resources } = settings;
  const admin = (path: string): object => ({ httpGet: { path, port: LIMITER_PORTS.admin } });
  return {
    name: LIMITER_CONTAINER,
    image,
    imagePullPolicy,
    restartPolicy: 'Always',
    args: ['limiter', ...flagsOf(settings, placement, drainToken)],
    env: [{ name: 'WEIR_ID', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }],
    ports: [
      ...trafficPorts(placement),
      { name: PORT_NAMES.admin, containerPort: LIMITER_PORTS.admin, protocol: 'TCP' },
    ],
    startupProbe: { ...admin('/livez'), periodSeconds: 1, timeoutSeconds: 2, failureThreshold: 120 },
    livenessProbe: { ...admin('/livez'), periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 },
    readinessProbe: { ...admin('/readyz'), periodSeconds: 2, timeoutSeconds: 2, failureThreshold: 3 },
    ...(resources === undefined ? {} : { resources }),
    securityContext: {
      runAsNonRoot: true,
      runAsUser: LIMITER_USER,
      runAsGroup: LIMITER_USER,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    },
    volumeMounts: [
      { name: VOLUMES.ca, mountPath: CA_FOLDER, readOnly: true },
      { name: VOLUMES.token, mountPath: TOKEN_FOLDER, readOnly: true },
      { name: VOLUMES.state, mountPath: STATE_FOLDER },
    ],
  };
}

function flagsOf(settings: SidecarSettings, { port }: Placement, drainToken: string): string[] {
  const { operator, operatorName, storeDeadline, unconfiguredPolicy, unconfiguredWait, logLevel } = settings;
  const optional: readonly (readonly [string, string | undefined])[] = [
    ['--operator-name', operatorName],
    ['--store-deadline', storeDeadline],
    ['--unconfigured-policy', unconfiguredPolicy],
    ['--unconfigured-wait', unconfiguredWait],
  ];
  return [
    '--mode=sidecar',
    `--listen=[::]:${LIMITER_PORTS.traffic}`,
    `--admin-listen=[::]:${LIMITER_PORTS.admin}`,
    `--decision-listen=127.0.0.1:${LIMITER_PORTS.decision}`,
    ...(port === undefined ? [] : [`${UPSTREAM_FLAG}${port}`]),
    `--operator=${operator}`,
    `--operator-ca=${CA_FOLDER}/ca.crt`,
    `--token-file=${TOKEN_FOLDER}/token`,
    `--state-dir=${STATE_FOLDER}`,
    `${DRAIN_TOKEN_FLAG}${drainToken}`,
    ...optional.filter(([, value]) => value !== undefined).map(([flag, value]) => `${flag}=${String(value)}`),
    ...boundFlags(settings.bounds),
    `--log-level=${logLevel}`,
  ];
}

function trafficPorts({ names }: Placement): ContainerPort[] {
  const taken = names.length === 0 ? [PORT_NAMES.traffic] : names;
  return taken.map((name) => ({ name, containerPort: LIMITER_PORTS.traffic, protocol: 'TCP' }));
}

/** Where the limiter that is in the pod already stands; undefined when it is none of ours. */
export function placementOf({
  initContainers = [],
}: Pick<PodSpec, 'initContainers'>): { placement: Placement; drainToken: string } | undefined {
  const limiter = initContainers.find(({ name }) => name === LIMITER_CONTAINER);
  const { args = [], ports = [] } = limiter ?? {};
  const drainToken = valueOf(args, DRAIN_TOKEN_FLAG);
  if (drainToken === undefined) return undefined;
  const upstream = valueOf(args, UPSTREAM_FLAG);
  const names = ports
    .filter(({ containerPort, name }) => containerPort === LIMITER_PORTS.traffic && name !== PORT_NAMES.traffic)
    .flatMap(({ name }) => (name === undefined ? [] : [name]));
  const redirect = initContainers.some(({ name }) => name === REDIRECT_CONTAINER);
  return { placement: { port: upstream === undefined ? undefined : Number(upstream), names, redirect }, drainToken };
}

function valueOf(args: readonly string[], flag: string): string | undefined {
  return args.find((arg) => arg.startsWith(flag))?.slice(flag.length);
}

/** Runs before everything else, and as root: only so may it change how packets go. */
export function redirectContainer(settings: SidecarSettings, image: string, port: number): object {
  const { imagePullPolicy, initResources } = settings;
  const env = { WEIR_PORT: port, WEIR_TRAFFIC_PORT: LIMITER_PORTS.traffic, WEIR_PROBE_PORT: LIMITER_PORTS.probes };
  return {
    name: REDIRECT_CONTAINER,
    image,
    imagePullPolicy,
    env: Object.entries(env).map(([name, value]) => ({ name, value: String(value) })),
    ...(initResources === undefined ? {} : { resources: initResources }),
    securityContext: {
      runAsNonRoot: false,
      runAsUser: 0,
      runAsGroup: 0,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      // NET_RAW: where the kernel has no nftables, iptables speaks to it by a raw socket.
      capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'NET_RAW'] },
      seccompProfile: { type: 'RuntimeDefault' },
    },
  };
}

export function limiterVolumes({ caConfigMap, tokenExpirationSeconds }: SidecarSettings): { readonly name: string }[] {
  const serviceAccountToken = { audience: 'weir.dev', expirationSeconds: tokenExpirationSeconds, path: 'token' };
  const sources: Record<string, object> = {
    [VOLUMES.token]: { projected: { sources: [{ serviceAccountToken }] } },
    // A pod must start although nobody has made it: the limiter looks again.
    [VOLUMES.ca]: { configMap: { name: caConfigMap, optional: true } },
    [VOLUMES.state]: { emptyDir: { medium: 'Memory', sizeLimit: '32Mi' } },
  };
  return Object.entries(sources).map(([name, source]) => ({ name, ...source }));
}

/** The hook of workload containers without one; undefined when the pod's grace period has no room for it. */
export function drainHook(settings: SidecarSettings, spec: PodSpec, drainToken: string): PortCall | undefined {
  const graceSeconds = spec.terminationGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS;
  const delaySeconds = Math.min(settings.drainSeconds, Math.floor(graceSeconds / 3));
  if (delaySeconds < 1) return undefined;
  const path = `/drain?delay=${delaySeconds}s&max=${Math.floor(graceSeconds / 2)}s`;
  const httpHeaders = [{ name: DRAIN_HEADER, value: drainToken }];
  return { httpGet: { path, port: LIMITER_PORTS.admin, scheme: 'HTTP', httpHeaders } };
}

/** Whether a container wants a port that the limiter needs. */
export function portCollision(containers: readonly Container[]): number | undefined {
  const needed = new Set<number>(Object.values(LIMITER_PORTS));
  const declared = containers.flatMap(({ ports = [] }) => ports.map(({ containerPort }) => containerPort));
  return declared.find((port) => needed.has(port));
}
