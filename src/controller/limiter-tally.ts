// Controller: what the limiters of one object say. Input: the ack table, the pods. Output: the tally that the status tells.
import { resourceName } from '../contract/limiter-config.ts';
import type { LimiterQuery, LimiterTally } from '../reconcile/types.ts';
import type { AckState, AckTable } from './ack-table.ts';
import type { Pod } from './kube-types.ts';
import { isInjected, type PodIndex } from './pod-index.ts';

/**
 * Desired are the selected pods that carry a limiter (the injector said so, or a limiter of the pod was seen within the last
 * minute) and the shared limiters seen within the last minute. Only a connected one counts as synced.
 */
export function tallyLimiters(query: LimiterQuery, acks: AckTable, pods: PodIndex): LimiterTally {
  const { ref, workloadSelector, version } = query;
  const selected = workloadSelector === undefined ? [] : pods.select(ref.namespace, workloadSelector.matchLabels);
  const states = acks.statesOf(resourceName(ref));
  const shared = states.filter(({ limiter }) => limiter.view.kind === 'shared');
  const byPod = new Map(states.flatMap((state) => (state.limiter.view.kind === 'pod' ? [[podUid(state), state]] : [])));
  const stateOf = (pod: Pod): AckState | undefined => byPod.get(pod.metadata.uid ?? '');
  const limited = selected.filter((pod) => isInjected(pod) || stateOf(pod) !== undefined);
  const meant = [...shared, ...limited.map(stateOf)].filter((state) => state !== undefined);
  return {
    desired: shared.length + limited.length,
    synced: meant.filter((state) => isSynced(state, version)).length,
    rejected: meant.flatMap((state) => rejectionOf(state, version)),
    matchingPods: selected.length,
    unlimitedPods: selected
      .filter((pod) => !limited.includes(pod))
      .map((pod) => pod.metadata.name)
      .sort(),
  };
}

function podUid({ limiter }: AckState): string {
  return limiter.view.pod?.uid ?? '';
}

function isSynced({ limiter, ackedVersion }: AckState, version: string | undefined): boolean {
  return limiter.connected && version !== undefined && ackedVersion === version;
}

function rejectionOf({ limiter, rejected }: AckState, version: string | undefined): LimiterTally['rejected'] {
  if (rejected === undefined || rejected.version !== version) return [];
  return [{ limiter: limiter.id, message: rejected.message }];
}
