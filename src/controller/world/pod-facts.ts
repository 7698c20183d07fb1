// Controller: what the operator keeps of a pod. Input: a pod as the API server has it. Output: its metadata, its
// phase, and what its spec and status say of its limiter: why it does not run, and how traffic comes to it.
import { unfitness } from '../../reconcile/injection/inject.ts';
import { INJECTED_ANNOTATION, LIMITER_CONTAINER, NOT_INJECTED_ANNOTATION } from '../../reconcile/injection/names.ts';
import { isTcp, runningContainers, type PodSpec } from '../../reconcile/injection/pod.ts';
import { placementOf } from '../../reconcile/injection/sidecar.ts';
import { pickMeta, type ContainerStatus, type Pod, type PodEntry, type PodFacts } from '../kube/kube-types.ts';

/** Of an annotation that may be as long as anyone likes. */
const LONGEST_SKIP = 600;
/** Reasons to wait that are the way of things. */
const ON_ITS_WAY: ReadonlySet<string> = new Set(['PodInitializing', 'ContainerCreating']);

/** Memory is proportional to what this returns: there may be ten thousand pods without a limiter. */
export function trimPod(pod: Pod): Pod {
  const injected = pod.metadata.annotations?.[INJECTED_ANNOTATION];
  const facts = injected === undefined ? plainFacts(pod) : factsOf(pod);
  const metadata = {
    ...pickMeta(
      pod.metadata,
      'namespace',
      'uid',
      'resourceVersion',
      'labels',
      'creationTimestamp',
      'deletionTimestamp',
    ),
    ...(injected === undefined ? {} : { annotations: { [INJECTED_ANNOTATION]: injected } }),
  };
  const phase = pod.status?.phase;
  return {
    metadata,
    ...(phase === undefined ? {} : { status: { phase } }),
    ...(Object.keys(facts).length === 0 ? {} : { facts }),
  };
}

function plainFacts({ metadata, spec }: Pod): PodFacts {
  const notInjected = metadata.annotations?.[NOT_INJECTED_ANNOTATION]?.slice(0, LONGEST_SKIP);
  const unfit = spec === undefined ? undefined : unfitness({ metadata, spec });
  return { ...(notInjected === undefined ? {} : { notInjected }), ...(unfit === undefined ? {} : { unfit }) };
}

function factsOf(pod: Pod): PodFacts {
  const limiterTrouble = troubleIn(pod);
  const entry = entryOf(pod);
  return {
    ...(limiterTrouble === undefined ? {} : { limiterTrouble }),
    ...(entry === undefined ? {} : { entry }),
  };
}

/** From the limiter's container, never from an annotation: the author of a pod writes those. */
function entryOf({ spec, status = {} }: Pod): PodEntry | undefined {
  const placement = spec === undefined ? undefined : placementOf(spec)?.placement;
  if (spec === undefined || placement?.port === undefined) return undefined;
  const { port, names, redirect } = placement;
  const addresses = (status.podIPs ?? []).flatMap(({ ip }) => ip ?? []);
  return { port, names, redirect, byName: portsByName(spec), hostPorts: hostPortsIn(spec), addresses };
}

/** In the order in which the endpoint controller looks: the first port of a name counts, native sidecars come last. */
function portsByName(spec: PodSpec): Record<string, number> {
  const named = runningContainers(spec)
    .flatMap(({ ports = [] }) => ports.filter(isTcp))
    .flatMap(({ name, containerPort }) => (name === undefined ? [] : [[name, containerPort] as const]));
  return Object.fromEntries(named.reverse());
}

/** The kubelet maps those of ordinary containers alone. */
function hostPortsIn({ containers }: PodSpec): PodEntry['hostPorts'] {
  return containers
    .flatMap(({ ports = [] }) => ports.filter(isTcp))
    .flatMap(({ hostPort, containerPort: target }) => (hostPort === undefined ? [] : [{ hostPort, target }]));
}

function troubleIn({ status = {} }: Pod): string | undefined {
  const { initContainerStatuses = [], containerStatuses = [] } = status;
  const limiter = [...initContainerStatuses, ...containerStatuses].find(({ name }) => name === LIMITER_CONTAINER);
  return limiter === undefined ? undefined : reasonOf(limiter);
}

function crashText(cause: string | undefined): string {
  return cause === undefined ? 'CrashLoopBackOff' : `CrashLoopBackOff after ${cause}`;
}

/** ErrImagePull and ImagePullBackOff take turns: one word for both. */
function reasonOf({ state, lastState }: ContainerStatus): string | undefined {
  const reason = whyNot(state);
  if (reason === undefined || ON_ITS_WAY.has(reason)) return undefined;
  if (reason === 'ErrImagePull') return 'ImagePullBackOff';
  return reason === 'CrashLoopBackOff' ? crashText(whyNot(lastState)) : reason;
}

function whyNot(state: ContainerStatus['state']): string | undefined {
  return state?.waiting?.reason ?? state?.terminated?.reason;
}
