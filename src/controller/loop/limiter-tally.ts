// Controller: what the limiters of one object say. Input: the ack table, the pods. Output: the tally that the status
// tells.
import { resourceName } from '../../contract/limiter-config.ts';
import { kindOf } from '../../crd/kinds/kinds.ts';
import { whyUnlimited, type InjectionScope } from '../../reconcile/injection/unlimited.ts';
import { given } from '../../reconcile/optional.ts';
import type { Bypass, LimiterQuery, LimiterTally, LimiterTrouble, UnlimitedPod } from '../../reconcile/types.ts';
import type { AckState, AckTable, LimiterState } from '../push/ack-table.ts';
import type { Pod, PodEntry } from '../kube/kube-types.ts';
import { isInjected, lifeOf, type PodIndex } from '../world/pod-index.ts';
import { bypassesOf, waysTo, type Way } from '../world/pod-ways.ts';
import type { CreationFailure, CreationFailures } from '../world/creation-failures.ts';
import type { EndpointIndex } from '../world/endpoint-index.ts';
import type { ServiceIndex } from '../world/service-index.ts';

/** What is known around the limiters. */
export interface TallyWorld {
  readonly pods: PodIndex;
  readonly services: ServiceIndex;
  readonly endpoints: EndpointIndex;
  readonly injection: InjectionScope;
  readonly failures: Pick<CreationFailures, 'of'>;
}

/**
 * Desired are the selected pods that carry a limiter (the injector said so, or a limiter of the pod was seen within
 * the last minute) and the shared limiters seen within the last minute. Only a connected one counts as synced. A pod
 * that is ending is not desired; without a limiter it stays unlimited until it is gone, for until then it may answer.
 */
export function tallyLimiters(query: LimiterQuery, acks: AckTable, world: TallyWorld): LimiterTally {
  const { pods } = world;
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
    finishedPods: workloadSelector === undefined ? [] : finishedPods(ref.namespace, workloadSelector.matchLabels, pods),
    unlimited: unlimited.map((pod) => unlimitedPod(pod, world.injection)).sort((a, b) => (a.pod < b.pod ? -1 : 1)),
    notRunning,
    silent: silentOf(
      [
        ...shared.filter((state) => !isSynced(state, version)).map(({ limiter }) => shownName(limiter)),
        ...limited.filter((pod) => !isSynced(stateOf(pod), version)).map((pod) => pod.metadata.name),
      ],
      notRunning,
    ),
    troubles: meant.flatMap(({ limiter }) => troublesOf(limiter, name, store)),
    unclaimed: kindOf(ref.kind).namesModels ? unclaimedBy(meant) : [],
    ...bypassesTo(selected.filter(isLimited), world),
    ...given('creationFailure', creationFailureOf(query, world)),
    connected: meant.filter(({ limiter }) => limiter.connected).length,
  };
}

function finishedPods(namespace: string, labels: Readonly<Record<string, string>>, pods: PodIndex): string[] {
  return pods
    .selectFinished(namespace, labels)
    .map(({ metadata }) => metadata.name)
    .sort();
}

function unlimitedPod(pod: Pod, injection: InjectionScope): UnlimitedPod {
  const { name, namespace = '', labels = {} } = pod.metadata;
  const { notInjected, unfit } = pod.facts ?? {};
  const facts = { namespace, labels, ...given('notInjected', notInjected), ...given('unfit', unfit) };
  return { pod: name, isEnding: lifeOf(pod) === 'ending', ...whyUnlimited(facts, injection) };
}

function creationFailureOf(
  { ref, workloadSelector }: LimiterQuery,
  { failures, pods }: TallyWorld,
): CreationFailure | undefined {
  if (workloadSelector === undefined) return undefined;
  const { namespace } = ref;
  return failures.of(namespace, workloadSelector.matchLabels, (labels) => pods.select(namespace, labels));
}

/** The ways past the limiters of the pods, and the pods that have no other. One that is ending is still called. */
function bypassesTo(
  limited: readonly Pod[],
  { services, endpoints }: TallyWorld,
): Pick<LimiterTally, 'bypasses' | 'bypassedPods'> {
  const found = new Map<string, Bypass>();
  const bypassedPods: string[] = [];
  for (const pod of limited) {
    const entry = pod.facts?.entry;
    if (entry === undefined) continue;
    const { ways, isAll } = bypassesOf(
      entry,
      waysTo(entry, services.selecting(pod), endpoints.naming(entry.addresses)),
    );
    if (isAll) bypassedPods.push(pod.metadata.name);
    for (const way of ways) note(found, way, entry);
  }
  const bypasses = [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, bypass]) => bypass);
  return { bypasses, bypassedPods: bypassedPods.sort() };
}

function note(found: Map<string, Bypass>, { via, name, port, target }: Way, { port: guarded, names }: PodEntry): void {
  const key = JSON.stringify([via, name, port, target, guarded]);
  const pods = (found.get(key)?.pods ?? 0) + 1;
  const [portName] = names;
  found.set(key, { via, name, port, target, guarded, pods, ...(portName === undefined ? {} : { portName }) });
}

/** A limiter that is connected runs, whatever the kubelet said last. */
function notRunningOf(pod: Pod, state: AckState | undefined): LimiterTally['notRunning'] {
  const reason = state?.limiter.connected === true ? undefined : pod.facts?.limiterTrouble;
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
