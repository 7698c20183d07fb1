// Controller: which EndpointSlices name a pod. Input: the feed of those that no Service's selector makes. Output: the
// slices of an address.
import type { EndpointSlice } from '../kube/kube-types.ts';
import { pickMeta } from '../kube/kube-types.ts';
import type { Feed } from '../kube/object-feed.ts';
import { ReverseIndex } from '../kube/reverse-index.ts';

/** Names the Service that a slice belongs to. */
export const SERVICE_LABEL = 'kubernetes.io/service-name';
/** Slices of selectors are left out: what they say is known from Services and pods. */
export const WRITTEN_BY_OTHERS = 'endpointslice.kubernetes.io/managed-by!=endpointslice-controller.k8s.io';

export class EndpointIndex {
  readonly #slices: Feed<EndpointSlice>;
  readonly #byAddress = new ReverseIndex();

  constructor(slices: Feed<EndpointSlice>) {
    this.#slices = slices;
    slices.onChange(({ key, after }) => {
      this.#byAddress.set(key, addressesOf(after));
    });
  }

  naming(addresses: readonly string[]): EndpointSlice[] {
    return [...this.#byAddress.namesOfAny(addresses)].flatMap((key) => this.#slices.get(key) ?? []);
  }
}

/** Each once. */
export function addressesOf(slice: EndpointSlice | undefined): string[] {
  return [...new Set((slice?.endpoints ?? []).flatMap(({ addresses = [] }) => addresses))];
}

/** What the operator keeps of one. */
export function trimEndpointSlice({ metadata, endpoints, ports }: EndpointSlice): EndpointSlice {
  const service = metadata.labels?.[SERVICE_LABEL];
  return {
    metadata: {
      ...pickMeta(metadata, 'namespace', 'uid', 'resourceVersion'),
      ...(service === undefined ? {} : { labels: { [SERVICE_LABEL]: service } }),
    },
    endpoints: (endpoints ?? []).map(({ addresses = [] }) => ({ addresses })),
    ports: (ports ?? []).map(({ port, protocol }) => ({
      ...(typeof port === 'number' ? { port } : {}),
      ...(protocol === undefined ? {} : { protocol }),
    })),
  };
}
