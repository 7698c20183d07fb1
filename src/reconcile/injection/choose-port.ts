// Reconcile, injection: which port of a pod the limiter stands before. Input: a pod's containers and annotations.
// Output: a number and the names that the limiter takes over, or why there is none and what to do.
import { PORT_ANNOTATION, REDIRECT_ANNOTATION } from './names.ts';
import type { Skip } from './skips.ts';
import { isTcp, runningContainers, type ContainerPort, type InjectablePod, type PodSpec } from './pod.ts';

/** Where the limiter stands. `port` undefined: before none; it only answers the decision API. */
export interface Placement {
  readonly port: number | undefined;
  /** Names that move from the workload's port to the limiter's; none when traffic is redirected. */
  readonly names: readonly string[];
  readonly redirect: boolean;
}

interface Port {
  readonly number: number;
  readonly names: readonly string[];
}

/** What servers that do not speak HTTP/1.1 in the clear call their ports, as a whole or before a dash. */
const OTHER_PROTOCOLS =
  /^(grpcs?|h2c?|http2|https|tls|tcp|udp|redis|mysql|mongo|mongodb|postgres|postgresql|kafka|amqp|nats)(-|$)/;

/** Chooses the port, or says why none can be. */
export function choosePort({ metadata, spec }: InjectablePod): Placement | Skip {
  const { [PORT_ANNOTATION]: wanted, [REDIRECT_ANNOTATION]: redirectText = 'false' } = metadata?.annotations ?? {};
  if (redirectText !== 'true' && redirectText !== 'false') {
    const what = `annotation ${REDIRECT_ANNOTATION}: "${redirectText}" is neither "true" nor "false"`;
    return { reason: 'WrongAnnotation', what };
  }
  const redirect = redirectText === 'true';
  const port = wanted === undefined ? onlyPort(spec, redirect) : wantedPort(spec, wanted);
  if ('reason' in port || 'redirect' in port) return port;
  return placementAt(spec, port, redirect);
}

export function isSkip(result: Placement | Skip): result is Skip {
  return 'reason' in result;
}

function placementAt(spec: PodSpec, { number, names }: Port, redirect: boolean): Placement | Skip {
  if (redirect) return { port: number, names: [], redirect };
  if (names.length === 0) return { reason: 'UnnamedPort', what: `port ${number} has no name, which the limiter needs` };
  const ambiguous = names.find((name) => numbersOf(spec, name).length > 1);
  if (ambiguous !== undefined) {
    const numbers = numbersOf(spec, ambiguous).join(' and ');
    return { reason: 'AmbiguousName', what: `the port name "${ambiguous}" means ${numbers}` };
  }
  return { port: number, names, redirect };
}

/** The one port that speaks HTTP/1.1, as far as its name and its probes tell. */
function onlyPort(spec: PodSpec, redirect: boolean): Port | Placement | Skip {
  const all = portsOf(spec);
  // Who asks for a redirect of the only port there is has chosen it.
  const isChosen = redirect && all.length === 1;
  const [only, ...others] = all.filter((port) => isChosen || !speaksOtherwise(spec, port));
  if (only !== undefined && others.length === 0) return only;
  if (only !== undefined) return { reason: 'SeveralPorts', what: `several ports are declared (${listOf(all)})` };
  if (all.length > 0) {
    const what = `no declared port (${listOf(all)}) speaks plain HTTP/1.1, by its name or probe`;
    return { reason: 'NotHttp', what };
  }
  const runsOnce = spec.restartPolicy === 'Never' || spec.restartPolicy === 'OnFailure';
  return runsOnce && !redirect ? { port: undefined, names: [], redirect: false } : { reason: 'NoPort' };
}

function wantedPort(spec: PodSpec, wanted: string): Port | Skip {
  const all = portsOf(spec);
  const declared = all.find(({ number, names }) => String(number) === wanted || names.includes(wanted));
  if (declared !== undefined) return declared;
  const number = /^[1-9]\d{0,4}$/.test(wanted) ? Number(wanted) : 65_536;
  // A port need not be declared to be there.
  if (number <= 65_535) return { number, names: [] };
  const known = all.length === 0 ? 'none is declared' : `there are ${listOf(all)}`;
  return { reason: 'UnknownPort', what: `annotation ${PORT_ANNOTATION}: there is no port "${wanted}", ${known}` };
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
