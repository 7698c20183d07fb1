// Controller: which pods a selector means. Input: the Pod feed. Output: the pods of a namespace that carry given labels,
// found by their rarest label, and the pairs by which a pod's change concerns an object.
import { INJECTED_ANNOTATION, LIMITER_CONTAINER } from '../../reconcile/injection/names.ts';
import { placementOf } from '../../reconcile/injection/sidecar.ts';
import type { Change, Feed } from '../kube/object-feed.ts';
import { pickMeta, type ContainerStatus, type Pod } from '../kube/kube-types.ts';
import { ReverseIndex } from '../kube/reverse-index.ts';
import type { PodView } from '../push/visibility.ts';

/** Where the operator keeps why a pod's limiter does not run: a pod has nothing of this name, whatever it says is trimmed off. */
const LIMITER_TROUBLE = 'weir.dev/limiter-trouble';
/** Where the operator keeps the number that leads past a pod's limiter; taken from its containers, never from its annotations. */
const UNGUARDED_PORT = 'weir.dev/unguarded-port';
/** Reasons to wait that are the way of things. */
const ON_ITS_WAY: ReadonlySet<string> = new Set(['PodInitializing', 'ContainerCreating']);

export class PodIndex {
  readonly #pods: Feed<Pod>;
  readonly #byLabel = new ReverseIndex();

  constructor(pods: Feed<Pod>) {
    this.#pods = pods;
    pods.onChange(({ key, after }) => {
      this.#byLabel.set(key, after === undefined ? [] : labelPairs(after));
    });
  }

  /** The pods of the namespace that carry every label and are not finished; a selector without labels selects none. */
  select(namespace: string, matchLabels: Readonly<Record<string, string>>): Pod[] {
    const pairs = Object.entries(matchLabels).map(([key, value]) => pairOf(namespace, key, value));
    const candidates = pairs.map((pair) => this.#byLabel.namesOf(pair)).sort((a, b) => a.size - b.size);
    const [rarest, ...others] = candidates;
    return [...(rarest ?? [])]
      .filter((key) => others.every((names) => names.has(key)))
      .map((key) => this.#pods.get(key))
      .filter((pod): pod is Pod => pod !== undefined && lifeOf(pod) !== 'finished');
  }
}

/** An ending pod was deleted and may answer until its grace period is over; no container of a finished one runs any more. */
export type PodLife = 'living' | 'ending' | 'finished';

export function lifeOf({ metadata, status = {} }: Pod): PodLife {
  if (status.phase === 'Succeeded' || status.phase === 'Failed') return 'finished';
  return metadata.deletionTimestamp === undefined ? 'living' : 'ending';
}

/** Why the limiter of a pod does not run, in the kubelet's word; undefined when it runs or is on its way. */
export function limiterTroubleOf(pod: Pod): string | undefined {
  return pod.metadata.annotations?.[LIMITER_TROUBLE];
}

/** The number of the workload's port, when what comes in for it goes past the limiter; undefined: the traffic is redirected. */
export function unguardedPortOf(pod: Pod): number | undefined {
  const text = pod.metadata.annotations?.[UNGUARDED_PORT];
  return text === undefined ? undefined : Number(text);
}

function unguardedPortIn({ spec }: Pod): number | undefined {
  const placement = spec === undefined ? undefined : placementOf(spec)?.placement;
  return placement === undefined || placement.redirect ? undefined : placement.port;
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

export function isInjected(pod: Pod): boolean {
  return pod.metadata.annotations?.[INJECTED_ANNOTATION] !== undefined;
}

/** The key of one label in one namespace. */
export function pairOf(namespace: string, key: string, value: string): string {
  return `${namespace}\0${key}\0${value}`;
}

export function labelPairs(pod: Pod): string[] {
  const namespace = pod.metadata.namespace ?? '';
  return Object.entries(pod.metadata.labels ?? {}).map(([key, value]) => pairOf(namespace, key, value));
}

/** Whether a change of a pod can change any object's status: its labels, its life, its limiter. */
export function isRelevant({ before, after }: Change<Pod>): boolean {
  if (before === undefined || after === undefined) return true;
  const face = (pod: Pod): string =>
    JSON.stringify([lifeOf(pod), isInjected(pod), limiterTroubleOf(pod), pod.metadata.labels]);
  return face(before) !== face(after);
}

/** The pod as the push port sees it. */
export function podView(pod: Pod): PodView {
  const { namespace = '', name, uid = '', labels = {} } = pod.metadata;
  return { namespace, name, uid, labels };
}

/** What the operator keeps of a pod. */
export function trimPod(pod: Pod): Pod {
  const injected = pod.metadata.annotations?.[INJECTED_ANNOTATION];
  const trouble = injected === undefined ? undefined : troubleIn(pod);
  const unguarded = injected === undefined ? undefined : unguardedPortIn(pod);
  const annotations = {
    ...(injected === undefined ? {} : { [INJECTED_ANNOTATION]: injected }),
    ...(unguarded === undefined ? {} : { [UNGUARDED_PORT]: String(unguarded) }),
    ...(trouble === undefined ? {} : { [LIMITER_TROUBLE]: trouble }),
  };
  const metadata = {
    ...pickMeta(pod.metadata, 'namespace', 'uid', 'resourceVersion', 'labels', 'deletionTimestamp'),
    ...(injected === undefined ? {} : { annotations }),
  };
  const phase = pod.status?.phase;
  return { metadata, ...(phase === undefined ? {} : { status: { phase } }) };
}
