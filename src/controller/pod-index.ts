// Controller: which pods a selector means. Input: the Pod feed. Output: the pods of a namespace that carry given labels,
// found by their rarest label, and the pairs by which a pod's change concerns an object.
import type { Change, Feed } from './object-feed.ts';
import { pickMeta, type Pod } from './kube-types.ts';
import { ReverseIndex } from './reverse-index.ts';
import type { PodView } from './visibility.ts';

/** The version of the injector that gave the pod its limiter. */
export const INJECTED_ANNOTATION = 'weir.dev/injected';

export class PodIndex {
  readonly #pods: Feed<Pod>;
  readonly #byLabel = new ReverseIndex();

  constructor(pods: Feed<Pod>) {
    this.#pods = pods;
    pods.onChange(({ key, after }) => {
      this.#byLabel.set(key, after === undefined ? [] : labelPairs(after));
    });
  }

  /** The pods of the namespace that carry every label and still live; a selector without labels selects none. */
  select(namespace: string, matchLabels: Readonly<Record<string, string>>): Pod[] {
    const pairs = Object.entries(matchLabels).map(([key, value]) => pairOf(namespace, key, value));
    const candidates = pairs.map((pair) => this.#byLabel.namesOf(pair)).sort((a, b) => a.size - b.size);
    const [rarest, ...others] = candidates;
    return [...(rarest ?? [])]
      .filter((key) => others.every((names) => names.has(key)))
      .map((key) => this.#pods.get(key))
      .filter((pod): pod is Pod => pod !== undefined && isAlive(pod));
  }
}

/** Neither terminating nor finished. */
export function isAlive(pod: Pod): boolean {
  const { phase } = pod.status ?? {};
  return pod.metadata.deletionTimestamp === undefined && phase !== 'Succeeded' && phase !== 'Failed';
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
  const face = (pod: Pod): string => JSON.stringify([isAlive(pod), isInjected(pod), pod.metadata.labels]);
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
  const metadata = {
    ...pickMeta(pod.metadata, 'namespace', 'uid', 'resourceVersion', 'labels', 'deletionTimestamp'),
    ...(injected === undefined ? {} : { annotations: { [INJECTED_ANNOTATION]: injected } }),
  };
  const phase = pod.status?.phase;
  return { metadata, ...(phase === undefined ? {} : { status: { phase } }) };
}
