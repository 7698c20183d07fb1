// Controller, push: what every limiter knows of the fleet. In: limiters that come and go (ack table), settings;
// out: the resources `Fleet/-/-` and `Sharers/<namespace>/-` in the snapshot store.
import { FLEET_RESOURCE_NAME, type ObjectRef } from '../../contract/limiter-config.ts';
import { toVersioned } from '../../contract/snapshot.ts';
import type { AckTable } from './ack-table.ts';
import { countShared, NamespaceSharers } from './sharers.ts';
import type { SnapshotStore } from './snapshot-store.ts';

export interface FleetSettings {
  /** CIDRs, host names and `*.example.com` that shared limiters may dial. */
  readonly egressAllow: readonly string[];
  /** `cluster.local` when absent. */
  readonly clusterDomain?: string;
  /**
   * Limiters that there were before this operator started. Until they have had `settleMs` to come back no smaller
   * number is told: each limiter would admit too much while the store is gone.
   */
  readonly knownBefore?: number;
  /** Likewise of the shared limiters. */
  readonly sharedBefore?: number;
  readonly settleMs?: number;
  /** Limiters come and go in groups: one resource per this many ms. */
  readonly debounceMs?: number;
}

/**
 * While a thousand limiters connect, each new number goes to all that are there already: no more than 200 messages a
 * second.
 */
const PER_LIMITER_MS = 5;

/**
 * Keeps `Fleet/-/-` and `Sharers/<namespace>/-` true: at once at the start, then at most once per `debounceMs`, less
 * often in a large fleet.
 * @returns a function that ends it.
 */
export function publishFleet(store: SnapshotStore, acks: AckTable, settings: FleetSettings): () => void {
  const {
    egressAllow,
    clusterDomain,
    knownBefore = 1,
    sharedBefore = 0,
    settleMs = 60_000,
    debounceMs = 1_000,
  } = settings;
  const domain = clusterDomain === undefined ? {} : { clusterDomain };
  const constant = { kind: 'Fleet', egressAllow, takesReports: true, ...domain } as const;
  const namespaces = new NamespaceSharers(store);
  let least = { known: Math.max(1, knownBefore), shared: sharedBefore };
  let timer: NodeJS.Timeout | undefined;
  const publish = (): void => {
    timer = undefined;
    const shared = countShared(acks.limiters().map(({ view }) => view));
    const knownLimiters = Math.max(least.known, acks.count().known);
    const sharedLimiters = Math.max(least.shared, shared.everywhere);
    namespaces.publish(shared);
    store.set(toVersioned(FLEET_RESOURCE_NAME, { ...constant, knownLimiters, sharedLimiters }), 'everyone');
  };
  publish();
  const settled = setTimeout(() => {
    least = { known: 1, shared: 0 };
    publish();
  }, settleMs).unref();
  const unsubscribe = acks.subscribeFleet(() => {
    timer ??= setTimeout(publish, Math.max(debounceMs, acks.count().known * PER_LIMITER_MS)).unref();
  });
  return () => {
    clearTimeout(timer);
    clearTimeout(settled);
    unsubscribe();
  };
}

/**
 * The size of the fleet as far as the statuses of the objects tell: an operator that has just started knows no
 * better.
 */
export function knownLimitersIn(statuses: Iterable<unknown>): number {
  let most = 1;
  for (const status of statuses) most = Math.max(most, desiredIn(status));
  return most;
}

/**
 * The shared limiters that each object had, as far as its status tells: those that are no sidecars of it now. Too
 * many rather than too few.
 */
export function sharedLimitersIn(
  objects: Iterable<{ readonly ref: ObjectRef; readonly status?: unknown }>,
  sidecarsOf: (ref: ObjectRef) => number,
): number {
  let most = 0;
  for (const { ref, status } of objects) most = Math.max(most, desiredIn(status) - sidecarsOf(ref));
  return most;
}

function desiredIn(status: unknown): number {
  const { limiters } = (status ?? {}) as { readonly limiters?: { readonly desired?: unknown } };
  return typeof limiters?.desired === 'number' ? limiters.desired : 0;
}
