// Operator, push: what every limiter is told of the fleet. In: limiters that come and go (ack table), settings; out: the resource
// `Fleet/-/-` in the snapshot store.
import { FLEET_RESOURCE_NAME } from '../../contract/limiter-config.ts';
import { toVersioned } from '../../contract/snapshot.ts';
import type { AckTable } from './ack-table.ts';
import type { SnapshotStore } from './snapshot-store.ts';

export interface FleetSettings {
  /** CIDRs, host names and `*.example.com` that shared limiters may dial. */
  readonly egressAllow: readonly string[];
  /** `cluster.local` when absent. */
  readonly clusterDomain?: string;
  /**
   * Limiters that there were before this operator started. Until they have had `settleMs` to come back no smaller number is
   * told: each limiter would admit too much while the store is gone.
   */
  readonly knownBefore?: number;
  readonly settleMs?: number;
  /** Limiters come and go in groups: one resource per this many ms. */
  readonly debounceMs?: number;
}

/** While a thousand limiters connect, each new number goes to all that are there already: no more than 200 messages a second. */
const PER_LIMITER_MS = 5;

/**
 * Keeps `Fleet/-/-` true: at once at the start, then at most once per `debounceMs`, less often in a large fleet.
 * @returns a function that ends it.
 */
export function publishFleet(store: SnapshotStore, acks: AckTable, settings: FleetSettings): () => void {
  const { egressAllow, clusterDomain, knownBefore = 1, settleMs = 60_000, debounceMs = 1_000 } = settings;
  const domain = clusterDomain === undefined ? {} : { clusterDomain };
  const constant = { kind: 'Fleet', egressAllow, takesReports: true, ...domain } as const;
  let least = Math.max(1, knownBefore);
  let timer: NodeJS.Timeout | undefined;
  const publish = (): void => {
    timer = undefined;
    const knownLimiters = Math.max(least, acks.count().known);
    store.set(toVersioned(FLEET_RESOURCE_NAME, { ...constant, knownLimiters }), 'everyone');
  };
  publish();
  const settled = setTimeout(() => {
    least = 1;
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

/** The size of the fleet as far as the statuses of the objects tell: an operator that has just started knows no better. */
export function knownLimitersIn(statuses: Iterable<unknown>): number {
  let most = 1;
  for (const status of statuses) most = Math.max(most, desiredIn(status));
  return most;
}

function desiredIn(status: unknown): number {
  const { limiters } = (status ?? {}) as { readonly limiters?: { readonly desired?: unknown } };
  return typeof limiters?.desired === 'number' ? limiters.desired : 0;
}
