// Controller: which pods a selector means. Input: the Pod feed. Output: the pods of a namespace that carry given
// labels, found by their rarest label, and the pairs by which a pod's change concerns an object.
import { INJECTED_ANNOTATION } from '../../reconcile/injection/names.ts';
import type { Change, Feed } from '../kube/object-feed.ts';
import type { Pod } from '../kube/kube-types.ts';
import { ReverseIndex } from '../kube/reverse-index.ts';
import type { PodView } from '../push/visibility.ts';

export class PodIndex {
  readonly #pods: Feed<Pod>;
  readonly #byLabel = new ReverseIndex();
  readonly #byAddress = new ReverseIndex();

  constructor(pods: Feed<Pod>) {
    this.#pods = pods;
    pods.onChange(({ key, after }) => {
      this.#byLabel.set(key, after === undefined ? [] : labelPairs(after));
      this.#byAddress.set(key, after?.facts?.entry?.addresses ?? []);
    });
  }

  /** The pods with a limiter that have one of the addresses. */
  withAddress(addresses: Iterable<string>): Pod[] {
    return [...this.#byAddress.namesOfAny(addresses)].flatMap((key) => this.#pods.get(key) ?? []);
  }

  /** The pods of the namespace that carry every label and are not finished; a selector without labels selects none. */
  select(namespace: string, matchLabels: Readonly<Record<string, string>>): Pod[] {
    return this.#matching(namespace, matchLabels).filter((pod) => lifeOf(pod) !== 'finished');
  }

  /** The pods of the namespace that carry every label and are finished. */
  selectFinished(namespace: string, matchLabels: Readonly<Record<string, string>>): Pod[] {
    return this.#matching(namespace, matchLabels).filter((pod) => lifeOf(pod) === 'finished');
  }

  #matching(namespace: string, matchLabels: Readonly<Record<string, string>>): Pod[] {
    const pairs = Object.entries(matchLabels).map(([key, value]) => pairOf(namespace, key, value));
    const candidates = pairs.map((pair) => this.#byLabel.namesOf(pair)).sort((a, b) => a.size - b.size);
    const [rarest, ...others] = candidates;
    return [...(rarest ?? [])]
      .filter((key) => others.every((names) => names.has(key)))
      .map((key) => this.#pods.get(key))
      .filter((pod) => pod !== undefined);
  }
}

/**
 * An ending pod was deleted and may answer until its grace period is over; no container of a finished one runs any
 * more.
 */
export type PodLife = 'living' | 'ending' | 'finished';

export function lifeOf({ metadata, status = {} }: Pod): PodLife {
  if (status.phase === 'Succeeded' || status.phase === 'Failed') return 'finished';
  return metadata.deletionTimestamp === undefined ? 'living' : 'ending';
}

export function isInjected(pod: Pod): boolean {
  return pod.metadata.annotations?.[INJECTED_ANNOTATION] !== undefined;
}

/** The key of one label in one namespace. */
export function pairOf(namespace: string, key: string, value: string): string {
  return `${namespace}\0${key}\0${value}`;
}

export function labelPairs({ metadata }: Pod): string[] {
  return pairsOf(metadata.namespace ?? '', metadata.labels ?? {});
}

export function pairsOf(namespace: string, labels: Readonly<Record<string, string>>): string[] {
  return Object.entries(labels).map(([key, value]) => pairOf(namespace, key, value));
}

/** Whether a change of a pod can change any object's status: its labels, its life, its limiter, the ways to it. */
export function isRelevant({ before, after }: Change<Pod>): boolean {
  if (before === undefined || after === undefined) return true;
  const face = (pod: Pod): string => JSON.stringify([lifeOf(pod), isInjected(pod), pod.facts, pod.metadata.labels]);
  return face(before) !== face(after);
}

/** The pod as the push port sees it. */
export function podView(pod: Pod): PodView {
  const { namespace = '', name, uid = '', labels = {} } = pod.metadata;
  return { namespace, name, uid, labels };
}
