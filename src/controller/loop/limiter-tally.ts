// Controller: what the limiters of one object say. Input: the ack table, the pods. Output: the tally that the status tells.
import { resourceName } from '../../contract/limiter-config.ts';
import type { Bypass, LimiterQuery, LimiterTally, LimiterTrouble, UnlimitedPod } from '../../reconcile/types.ts';
import type { AckState, AckTable, LimiterState } from '../push/ack-table.ts';
import type { Pod } from '../kube/kube-types.ts';
import { isInjected, lifeOf, limiterTroubleOf, unguardedPortOf, type PodIndex } from '../world/pod-index.ts';
import { portsTo, type ServiceIndex } from '../world/service-index.ts';

/**
 * Desired are the selected pods that carry a limiter (the injector said so, or a limiter of the pod was seen within the last
 * minute) and the shared limiters seen within the last minute. Only a connected one counts as synced. A pod that is ending is
 * not desired; without a limiter it stays unlimited until it is gone, for until then it may answer.
 */
export function tallyLimiters(
  query: LimiterQuery,
  acks: AckTable,
  { pods, services }: { readonly pods: PodIndex; readonly services: ServiceIndex },
): LimiterTally {
  const { ref, workloadSelector, version, store } = query;
  const name = resourceName(ref);
  const selected = workloadSelector === undefined ? [] : pods.select(ref.namespace, workloadSelector.matchLabels);
  const states = acks.statesOf(name);
  const shared = states.filter(({ limiter }) => limiter.view.kind === 'shared');
  const byPod = new Map(states.flatMap((state) => (state.limiter.view.kind === 'pod' ? [[podUid(state), state]] : [])));
  const stateOf = (pod: Pod): AckState | undefined => byPod.get(pod.metadata.uid ?? '');
  const isLimited = (pod: Pod): boolean => isInjected(pod) || stateOf(pod) !== undefined;
  const living = selected.filter((pod) => lifeOf(pod) === 'living');
  const limited = living.filter(isLimited);
  const unlimited = selected.filter((pod) => !isLimited(pod));
  const meant = [...shared, ...limited.map(stateOf)].filter((state) => state !== undefined);
  const notRunning = limited.flatMap((pod) => notRunningOf(pod, stateOf(pod)));
  return {
    desired: shared.length + limited.length,
    synced: meant.filter((state) => isSynced(state, version)).length,
    rejected: meant.flatMap((state) => rejectionOf(state, version)),
    matchingPods: living.length,
    unlimited: unlimited.map(unlimitedPod).sort((a, b) => (a.pod < b.pod ? -1 : 1)),
    notRunning,
    silent: silentOf(
      [
        ...shared.filter((state) => !isSynced(state, version)).map(({ limiter }) => shownName(limiter)),
        ...limited.filter((pod) => !isSynced(stateOf(pod), version)).map((pod) => pod.metadata.name),
      ],
      notRunning,
    ),
    troubles: meant.flatMap(({ limiter }) => troublesOf(limiter, name, store)),
    unclaimed: ref.kind === 'ModelRoute' ? unclaimedBy(meant) : [],
    bypasses: bypassesTo(limited, services),
    bypassedPods: [],
    connected: meant.filter(({ limiter }) => limiter.connected).length,
  };
}

function unlimitedPod(pod: Pod): UnlimitedPod {
  return { pod: pod.metadata.name, isEnding: lifeOf(pod) === 'ending', reason: 'NotInjected' };
}

/** Ports of Services that lead to the number of a workload's port, where no limiter stands. */
function bypassesTo(limited: readonly Pod[], services: ServiceIndex): Bypass[] {
  const found = new Map<string, Bypass>();
  for (const pod of limited) {
    const target = unguardedPortOf(pod);
    if (target === undefined) continue;
    for (const service of services.selecting(pod)) {
      for (const { port, isHeadless } of portsTo(service, target)) {
        const { name } = service.metadata;
        const key = `${name}:${port}:${target}`;
        found.set(key, { service: name, port, isHeadless, target, pods: (found.get(key)?.pods ?? 0) + 1 });
      }
    }
  }
  return [...found.values()].sort((a, b) => (a.service < b.service ? -1 : a.service > b.service ? 1 : a.port - b.port));
}

/** A limiter that is connected runs, whatever the kubelet said last. */
function notRunningOf(pod: Pod, state: AckState | undefined): LimiterTally['notRunning'] {
  const reason = state?.limiter.connected === true ? undefined : limiterTroubleOf(pod);
  return reason === undefined ? [] : [{ pod: pod.metadata.name, reason }];
}

/** A limiter that was lost a moment ago counts with what it said last, as it counts as desired. */
function troublesOf(limiter: LimiterState, object: string, storeId: string | undefined): LimiterTrouble[] {
  const { stores = [], upstreams = [] } = limiter.report ?? {};
  const id = shownName(limiter);
  return [
    ...stores.filter(({ store }) => store === storeId).map(({ kind, detail }) => ({ limiter: id, kind, detail })),
    ...upstreams
      .filter((trouble) => trouble.object === object)
      .map(({ upstream, detail }) => ({ limiter: id, kind: 'upstream' as const, upstream, detail })),
  ];
}

/** Models that pass sidecars of the object's pods without a limit; a shared limiter lets none pass. */
function unclaimedBy(states: readonly AckState[]): string[] {
  const names = states.flatMap(({ limiter: { view, report } }) =>
    view.kind === 'pod' ? (report?.unclaimed ?? []) : [],
  );
  return [...new Set(names)].sort();
}

/** What people know a limiter by: the name of its pod. */
function shownName({ id, view }: LimiterState): string {
  return view.pod?.name ?? id;
}

function podUid({ limiter }: AckState): string {
  return limiter.view.pod?.uid ?? '';
}

function isSynced(state: AckState | undefined, version: string | undefined): boolean {
  return state?.limiter.connected === true && version !== undefined && state.ackedVersion === version;
}

/** Those whose container does not run have their own sentence. */
function silentOf(names: readonly string[], notRunning: LimiterTally['notRunning']): string[] {
  const stopped = new Set(notRunning.map(({ pod }) => pod));
  return names.filter((name) => !stopped.has(name)).sort();
}

function rejectionOf({ limiter, rejected }: AckState, version: string | undefined): LimiterTally['rejected'] {
  if (rejected === undefined || rejected.version !== version) return [];
  return [{ limiter: shownName(limiter), message: rejected.message }];
}
