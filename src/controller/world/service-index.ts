// Controller: which Services lead to a pod. Input: the Service feed. Output: those that select a pod, found by one of
// its labels.
import { canonicalJson } from '../../contract/snapshot.ts';
import type { Pod, Service } from '../kube/kube-types.ts';
import type { Feed } from '../kube/object-feed.ts';
import { labelPairs, pairOf } from './pod-index.ts';
import { ReverseIndex } from '../kube/reverse-index.ts';

export class ServiceIndex {
  readonly #services: Feed<Service>;
  /** One label of each selector. */
  readonly #byLabel = new ReverseIndex();

  constructor(services: Feed<Service>) {
    this.#services = services;
    services.onChange(({ key, after }) => {
      this.#byLabel.set(key, after === undefined ? [] : onePairOf(after));
    });
  }

  selecting(pod: Pod): Service[] {
    const { labels = {} } = pod.metadata;
    return [...this.#byLabel.namesOfAny(labelPairs(pod))]
      .map((key) => this.#services.get(key))
      .filter((service): service is Service => service !== undefined)
      .filter(({ spec }) => Object.entries(spec?.selector ?? {}).every(([key, value]) => labels[key] === value));
  }
}

function onePairOf({ metadata, spec }: Service): string[] {
  const [first] = Object.entries(spec?.selector ?? {});
  return first === undefined ? [] : [pairOf(metadata.namespace ?? '', ...first)];
}

/** Whether both lead to the same ports of the same pods. */
export function isSameRoute(before: Service | undefined, after: Service | undefined): boolean {
  return canonicalJson(before?.spec ?? {}) === canonicalJson(after?.spec ?? {});
}
