// Operator, push: what every limiter is told of the fleet. In: limiters that come and go (ack table), settings; out: the resource
// `Fleet/-/-` in the snapshot store.
import { FLEET_RESOURCE_NAME } from '../contract/limiter-config.ts';
import { toVersioned } from '../contract/snapshot.ts';
import type { AckTable } from './ack-table.ts';
import type { SnapshotStore } from './snapshot-store.ts';

export interface FleetSettings {
  /** CIDRs, host names and `*.example.com` that shared limiters may dial. */
  readonly egressAllow: readonly string[];
  /** `cluster.local` when absent. */
  readonly clusterDomain?: string;
  /** Limiters come and go in groups: one resource per this many ms. */
  readonly debounceMs?: number;
}

/**
 * Keeps `Fleet/-/-` true: at once at the start, then at most once per `debounceMs`.
 * @returns a function that ends it.
 */
export function publishFleet(store: SnapshotStore, acks: AckTable, settings: FleetSettings): () => void {
  const { egressAllow, clusterDomain, debounceMs = 1_000 } = settings;
  const constant = { kind: 'Fleet', egressAllow, ...(clusterDomain === undefined ? {} : { clusterDomain }) } as const;
  let timer: NodeJS.Timeout | undefined;
  const publish = (): void => {
    timer = undefined;
    const knownLimiters = Math.max(1, acks.count().known);
    store.set(toVersioned(FLEET_RESOURCE_NAME, { ...constant, knownLimiters }), 'everyone');
  };
  publish();
  const unsubscribe = acks.subscribeFleet(() => {
    timer ??= setTimeout(publish, debounceMs).unref();
  });
  return () => {
    clearTimeout(timer);
    unsubscribe();
  };
}
