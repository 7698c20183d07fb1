// Controller: how many sidecars share the buckets of one object. Input: the pods, the ack table. Output: a number
// that is never smaller than that of the sidecars that may admit something.
import type { AckTable } from '../push/ack-table.ts';
import { isInjected, type PodIndex } from '../world/pod-index.ts';

/**
 * Selected pods that carry a limiter, from the moment that they are made (before it can ask) until they are gone (an
 * ending one still serves), and pods whose limiter has the object for whatever other reason. A container that
 * restarts changes nothing.
 */
export function countSidecars(
  name: string,
  namespace: string,
  matchLabels: Readonly<Record<string, string>>,
  { acks, pods }: { readonly acks: AckTable; readonly pods: PodIndex },
): number {
  const uids = new Set(acks.podsOf(name));
  for (const pod of pods.select(namespace, matchLabels)) if (isInjected(pod)) uids.add(pod.metadata.uid ?? '');
  return uids.size;
}
