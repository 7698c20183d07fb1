// Controller: the known ways into a pod that carries a limiter. Input: how the pod is entered, the Services and
// EndpointSlices that lead to it. Output: each way, and whether it meets the limiter. Pure.
import { LIMITER_PORTS } from '../../reconcile/injection/names.ts';
import type { Bypass } from '../../reconcile/types.ts';
import type { EndpointSlice, PodEntry, Service, ServicePort } from '../kube/kube-types.ts';
import { SERVICE_LABEL } from './endpoint-index.ts';

/**
 * limited: it meets the limiter. past: it leads to the port that the limiter stands before. elsewhere: to another
 * port.
 */
export interface Way extends Pick<Bypass, 'via' | 'name' | 'port' | 'target'> {
  readonly leads: 'limited' | 'past' | 'elsewhere';
}

export function waysTo(entry: PodEntry, services: readonly Service[], slices: readonly EndpointSlice[]): Way[] {
  return [
    ...services.flatMap((service) => serviceWays(entry, service)),
    ...slices.flatMap((slice) => sliceWays(entry, slice)),
    ...entry.hostPorts.map(({ hostPort: port, target }) => wayTo(entry, { via: 'HostPort', name: '', port, target })),
  ];
}

/**
 * The ways past the limiter of one pod, and whether no known way meets it. Those to other ports count then as well:
 * the limiter stands where nobody comes in. Not so in a pod that redirects, which limits who dials it directly, nor
 * of a headless Service, whose callers choose the port.
 */
export function bypassesOf(
  entry: PodEntry,
  ways: readonly Way[],
): { readonly ways: readonly Way[]; readonly isAll: boolean } {
  const past = ways.filter(({ leads }) => leads === 'past');
  if (ways.some(({ leads }) => leads === 'limited')) return { ways: past, isAll: false };
  const others = ways.filter(({ leads, via }) => leads === 'elsewhere' && !entry.redirect && via !== 'HeadlessService');
  return { ways: [...past, ...others], isAll: past.length + others.length > 0 };
}

function serviceWays(entry: PodEntry, { metadata, spec = {} }: Service): Way[] {
  const { clusterIP, type, ports = [] } = spec;
  // Another name for a host: its selector selects nothing.
  if (type === 'ExternalName') return [];
  const targetOf = clusterIP === 'None' ? headlessTarget : targetIn;
  return ports.filter(isTcp).flatMap((port) => {
    const target = targetOf(entry, port);
    if (target === undefined) return [];
    const via = clusterIP === 'None' ? 'HeadlessService' : 'Service';
    return wayTo(entry, { via, name: metadata.name, port: port.port, target });
  });
}

/** undefined: the pod has no port of this name, so it is not an endpoint of the Service. */
function targetIn({ byName }: PodEntry, { port, targetPort = port }: ServicePort): number | undefined {
  if (typeof targetPort === 'number') return targetPort;
  return Object.hasOwn(byName, targetPort) ? byName[targetPort] : undefined;
}

/** Callers dial the pod itself, at the port that they write: the Service's, unless they look SRV records up. */
function headlessTarget(entry: PodEntry, port: ServicePort): number | undefined {
  const target = targetIn(entry, port);
  return isPort(entry, port.port) || target !== LIMITER_PORTS.traffic ? port.port : target;
}

function sliceWays(entry: PodEntry, { metadata, ports }: EndpointSlice): Way[] {
  const name = metadata.labels?.[SERVICE_LABEL] ?? metadata.name;
  return (ports ?? []).filter(isTcp).flatMap(({ port }) => {
    if (typeof port !== 'number') return [];
    return wayTo(entry, { via: 'EndpointSlice', name, port, target: port });
  });
}

function wayTo(entry: PodEntry, way: Omit<Way, 'leads'>): Way {
  return { ...way, leads: leadsTo(entry, way.target) };
}

function leadsTo({ port, redirect }: PodEntry, target: number): Way['leads'] {
  if (target === LIMITER_PORTS.traffic) return 'limited';
  if (redirect && target === LIMITER_PORTS.probes) return 'past';
  if (target !== port) return 'elsewhere';
  return redirect ? 'limited' : 'past';
}

function isPort({ port, redirect }: PodEntry, number: number): boolean {
  return number === port || (redirect && number === LIMITER_PORTS.probes);
}

function isTcp({ protocol }: { readonly protocol?: string }): boolean {
  return protocol === undefined || protocol === 'TCP';
}
