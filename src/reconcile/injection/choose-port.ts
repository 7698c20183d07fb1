// Injection: which port of a pod the limiter stands before. Input: a pod's containers and annotations. Output: a number and the
// names that the limiter takes over, or why there is none and what to do.
import { PORT_ANNOTATION, REDIRECT_ANNOTATION } from './names.ts';
import { isTcp, runningContainers, type ContainerPort, type InjectablePod, type PodSpec } from './pod.ts';

/** Where the limiter stands. `port` undefined: before none; it only answers the decision API. */
export interface Placement {
  readonly port: number | undefined;
  /** Names that move from the workload's port to the limiter's; none when traffic is redirected. */
  readonly names: readonly string[];
  readonly redirect: boolean;
}

/** Why a pod gets no limiter although it asked for one. */
export interface Refusal {
  readonly reason: RefusalReason;
  /** With what to do. */
  readonly message: string;
}

export type RefusalReason =
  'WrongAnnotation' | 'NoPort' | 'SeveralPorts' | 'UnknownPort' | 'UnnamedPort' | 'AmbiguousName' | 'NotHttp';

interface Port {
  readonly number: number;
  readonly names: readonly string[];
}

/** What servers that do not speak HTTP/1.1 in the clear call their ports, as a whole or before a dash. */
const OTHER_PROTOCOLS =
  /^(grpcs?|h2c?|http2|https|tls|tcp|udp|redis|mysql|mongo|mongodb|postgres|postgresql|kafka|amqp|nats)(-|$)/;

/** Chooses the port, or says why none can be. */
export function choosePort({ metadata, spec }: InjectablePod): Placement | Refusal {
  const { [PORT_ANNOTATION]: wanted, [REDIRECT_ANNOTATION]: redirectText = 'false' } = metadata?.annotations ?? {};
  if (redirectText !== 'true' && redirectText !== 'false') {
    const message = `annotation ${REDIRECT_ANNOTATION}: "${redirectText}" is neither "true" nor "false"`;
    return { reason: 'WrongAnnotation', message };
  }
  const redirect = redirectText === 'true';
  const port = wanted === undefined ? onlyPort(spec, redirect) : wantedPort(spec, wanted);
  if ('reason' in port || 'redirect' in port) return port;
  return placementAt(spec, port, redirect);
}

export function isRefusal(result: Placement | Refusal): result is Refusal {
  return 'reason' in result;
}

function placementAt(spec: PodSpec, { number, names }: Port, redirect: boolean): Placement | Refusal {
  if (redirect) return { port: number, names: [], redirect };
  if (names.length === 0) {
    const fix = `name it and let the Service target the name, or annotate ${REDIRECT_ANNOTATION}: "true"`;
    return { reason: 'UnnamedPort', message: `port ${number} has no name that the limiter could take over: ${fix}` };
  }
  const ambiguous = names.find((name) => numbersOf(spec, name).length > 1);
  if (ambiguous !== undefined) {
    const numbers = numbersOf(spec, ambiguous).join(' and ');
    const message = `the port name "${ambiguous}" means ${numbers}: give each port a name of its own`;
    return { reason: 'AmbiguousName', message };
  }
  return { port: number, names, redirect };
}

/** The one port that speaks HTTP/1.1, as far as its name and its probes tell. */
function onlyPort(spec: PodSpec, redirect: boolean): Port | Placement | Refusal {
  const all = portsOf(spec);
  // Who asks for a redirect of the only port there is has chosen it.
  const isChosen = redirect && all.length === 1;
  const [only, ...others] = all.filter((port) => isChosen || !speaksOtherwise(spec, port));
  if (only !== undefined && others.length === 0) return only;
  if (only !== undefined) {
    const message = `it has several ports (${listOf(all)}): annotate ${PORT_ANNOTATION} with the one to limit`;
    return { reason: 'SeveralPorts', message };
  }
  if (all.length > 0) {
    const fix = `if one speaks HTTP/1.1, annotate ${PORT_ANNOTATION} with it`;
    return { reason: 'NotHttp', message: `its ports (${listOf(all)}) do not speak plain HTTP/1.1: ${fix}` };
  }
  const runsOnce = spec.restartPolicy === 'Never' || spec.restartPolicy === 'OnFailure';
  if (runsOnce && !redirect) return { port: undefined, names: [], redirect: false };
  const fix = `declare it under ports with a name, or annotate ${PORT_ANNOTATION} and ${REDIRECT_ANNOTATION}: "true"`;
  return { reason: 'NoPort', message: `it declares no TCP port: ${fix}` };
}

function wantedPort(spec: PodSpec, wanted: string): Port | Refusal {
  const all = portsOf(spec);
  const declared = all.find(({ number, names }) => String(number) === wanted || names.includes(wanted));
  if (declared !== undefined) return declared;
  const number = /^[1-9]\d{0,4}$/.test(wanted) ? Number(wanted) : 65_536;
  // A port need not be declared to be there.
  if (number <= 65_535) return { number, names: [] };
  const known = all.length === 0 ? 'it declares none' : `it has ${listOf(all)}`;
  return { reason: 'UnknownPort', message: `annotation ${PORT_ANNOTATION}: there is no port "${wanted}": ${known}` };
}

/** TCP ports of the workload's containers by number; one number may have several names. */
function portsOf({ containers }: PodSpec): Port[] {
  const names = new Map<number, Set<string>>();
  for (const { containerPort, name } of containers.flatMap(tcpPorts)) {
    const known = names.get(containerPort) ?? new Set();
    names.set(containerPort, name === undefined ? known : known.add(name));
  }
  return [...names].map(([number, found]) => ({ number, names: [...found] }));
}

function numbersOf(spec: PodSpec, name: string): number[] {
  const ports = runningContainers(spec).flatMap(tcpPorts);
  return [...new Set(ports.filter((port) => port.name === name).map(({ containerPort }) => containerPort))];
}

function tcpPorts({ ports = [] }: { readonly ports?: readonly ContainerPort[] }): readonly ContainerPort[] {
  return ports.filter(isTcp);
}

/** A port named for another protocol, or probed by one: a proxy of HTTP/1.1 would break it. */
function speaksOtherwise({ containers }: PodSpec, { number, names }: Port): boolean {
  if (names.some((name) => OTHER_PROTOCOLS.test(name))) return true;
  if (names.some((name) => /^http(-|$)/.test(name))) return false;
  const probes = containers.flatMap(({ livenessProbe, readinessProbe, startupProbe }) => [
    livenessProbe,
    readinessProbe,
    startupProbe,
  ]);
  return probes.some((probe) => {
    const { grpc, httpGet } = probe ?? {};
    if (grpc?.port === number) return true;
    return httpGet?.scheme === 'HTTPS' && (httpGet.port === number || names.includes(String(httpGet.port)));
  });
}

function listOf(ports: readonly Port[]): string {
  return ports.map(({ number, names }) => [...names, number].join(' ')).join(', ');
}
