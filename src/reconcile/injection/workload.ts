// Reconcile, injection: what changes in the workload's own containers. Input: a container and where the limiter
// stands. Output: the container without the names that the limiter took, with ports of the node that lead to the
// limiter, with probes and hooks that go past it, and with a preStop.
import { isDeepStrictEqual } from 'node:util';
import type { Placement } from './choose-port.ts';
import { LIMITER_PORTS } from './names.ts';
import { isTcp, type Container, type ContainerPort, type Lifecycle, type PortCall } from './pod.ts';

/** What the kubelet calls. */
interface Called {
  readonly port: number | string;
  /** Absent: the pod. */
  readonly host?: string;
}

/** The port that leads past the limiter; undefined: it stays. */
type Redial = (called: Called, container: Container) => number | undefined;

/** A container that runs beside the limiter. The same again when it was passed before. */
export function passLimiter(container: Container, placement: Placement): Container {
  const redial = placement.redirect ? toProbePort(placement) : toNumber(placement);
  const { lifecycle } = container;
  return {
    ...withPorts(container, placement),
    ...changed(container, 'livenessProbe', redial),
    ...changed(container, 'readinessProbe', redial),
    ...changed(container, 'startupProbe', redial),
    ...(lifecycle === undefined ? {} : { lifecycle: hooks(lifecycle, container, redial) }),
  };
}

/** Native sidecars stop last: until the limiter let the pod's last callers go, the workload is not told to stop. */
export function withPreStop(container: Container, preStop: PortCall | undefined): Container {
  if (preStop === undefined || container.lifecycle?.preStop !== undefined) return container;
  return { ...container, lifecycle: { ...container.lifecycle, preStop } };
}

/** Named: the workload's port keeps its number, so its number leads past the limiter. */
function toNumber({ names }: Placement): Redial {
  return ({ port }, { ports = [] }) => {
    if (typeof port !== 'string' || !names.includes(port)) return undefined;
    return ports.find(({ name }) => name === port)?.containerPort;
  };
}

/** Redirected: what comes in for the workload's port meets the limiter, so probes come in by a port that does not. */
function toProbePort(placement: Placement): Redial {
  return ({ port, host = '' }, { ports = [] }) => {
    if (host !== '') return undefined;
    const number = typeof port === 'number' ? port : ports.find(({ name }) => name === port)?.containerPort;
    return number === placement.port ? LIMITER_PORTS.probes : undefined;
  };
}

/** Where traffic is redirected the ports stay as they are: what comes in for them meets the limiter. */
function withPorts(container: Container, placement: Placement): Container {
  const { ports } = container;
  if (ports === undefined || placement.redirect) return container;
  const led = ports.flatMap((port) => (isTcp(port) ? ledToLimiter(port, placement) : [port]));
  if (isDeepStrictEqual(led, ports)) return container;
  // What was declared once for each name is now the same thing several times.
  const unique = led.filter((port, index) => led.findIndex((each) => isDeepStrictEqual(each, port)) === index);
  return { ...container, ports: unique };
}

/** A port of the node stays with this container, because the kubelet maps those of ordinary containers alone. */
function ledToLimiter(declared: ContainerPort, placement: Placement): ContainerPort[] {
  const { name, ...nameless } = declared;
  const port = name !== undefined && placement.names.includes(name) ? nameless : declared;
  const { hostPort, hostIP, ...inner } = port;
  if (hostPort === undefined || port.containerPort !== placement.port) return [port];
  const outer = { containerPort: LIMITER_PORTS.traffic, hostPort, ...(hostIP === undefined ? {} : { hostIP }) };
  return [inner, { ...outer, protocol: 'TCP' }];
}

type ProbeName = 'livenessProbe' | 'readinessProbe' | 'startupProbe';

function changed(container: Container, name: ProbeName, redial: Redial): Partial<Record<ProbeName, PortCall>> {
  const probe = container[name];
  return probe === undefined ? {} : { [name]: call(probe, container, redial) };
}

function hooks({ postStart, preStop, ...rest }: Lifecycle, container: Container, redial: Redial): Lifecycle {
  return {
    ...rest,
    ...(postStart === undefined ? {} : { postStart: call(postStart, container, redial) }),
    ...(preStop === undefined ? {} : { preStop: call(preStop, container, redial) }),
  };
}

function call(probe: PortCall, container: Container, redial: Redial): PortCall {
  const { httpGet, tcpSocket, grpc } = probe;
  return {
    ...probe,
    ...(httpGet === undefined ? {} : { httpGet: redialled(httpGet, container, redial) }),
    ...(tcpSocket === undefined ? {} : { tcpSocket: redialled(tcpSocket, container, redial) }),
    ...(grpc === undefined ? {} : { grpc: redialled(grpc, container, redial) }),
  };
}

function redialled<T extends Called>(target: T, container: Container, redial: Redial): T {
  const port = redial(target, container);
  return port === undefined ? target : { ...target, port };
}
