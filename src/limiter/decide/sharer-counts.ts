// Limiter, decide stage without a store: how many limiters share the buckets of an object. In: what the operator
// tells (Fleet and Sharers) and which stores serve; out: the number that divides what is left in an outage.
import {
  isSharersName,
  namespaceSharersNameOf,
  sharersNameOf,
  type FleetConfig,
  type LimiterConfig,
} from '../../contract/limiter-config.ts';
import { storeIdOf } from '../../contract/limiter-report.ts';
import type { PersistentMap } from '../../lib/persistent-map.ts';
import type { RuntimeObject } from '../compile/runtime-object.ts';
import { PROOF_LASTS_MS } from '../store/redis-connection.ts';

/** What the operator tells now; never changed in place. */
export interface Told {
  readonly fleet: Pick<FleetConfig, 'knownLimiters' | 'sharedLimiters'>;
  /** By resource name. */
  readonly sharers: PersistentMap<number>;
}

interface Entry {
  /** Where its buckets live, as the health watch names it. */
  readonly storeId: string;
  readonly ownName: string;
  readonly namespaceName: string;
  /** false: its sidecars send to their own pods, and a shared limiter has nowhere to send to. */
  readonly hasTargets: boolean;
  /** The largest number that was told since the store last served. */
  count: number;
}

type Subject = Pick<Entry, 'ownName' | 'namespaceName' | 'hasTargets'>;

/** Of a limiter that has no share. */
const NO_SHARE = Infinity;

/**
 * A number that rises counts at once. One that falls counts only when the store has served since it was told: a
 * limiter that goes in an outage may have used its share, so the shares of those that stay do not grow by it.
 */
export class SharerCounts {
  readonly #mode: 'shared' | 'sidecar';
  readonly #entries = new Map<string, Entry>();
  #told: Told;
  /** What counts once a write is younger than it. */
  #candidate: { readonly told: Told; readonly sinceMs: number } | undefined;
  /** What counts for every object. */
  #settled: Told | undefined;

  constructor(mode: 'shared' | 'sidecar', told: Told) {
    this.#mode = mode;
    this.#told = told;
  }

  /**
   * A change was applied: `compiled` are the objects that are in force in a new form, `updates` the names of what
   * came.
   */
  applied(
    told: Told,
    compiled: readonly RuntimeObject[],
    updates: readonly string[],
    removals: readonly string[],
  ): void {
    const isFleetNew = !isSameFleet(this.#told, told);
    if (isFleetNew || this.#told.sharers !== told.sharers) this.#told = told;
    for (const name of removals) this.#entries.delete(name);
    for (const { resourceName, config } of compiled) this.#note(resourceName, config);
    const sharers = updates.filter(isSharersName);
    const isForMany = isFleetNew || sharers.some((name) => name.endsWith('/-'));
    const risen = isForMany ? this.#entries.values() : sharers.map((name) => this.#entries.get(objectOf(name)));
    for (const entry of risen) if (entry !== undefined) entry.count = this.#effective(entry);
  }

  /** At least 1; Infinity: this limiter has no share. Of an object that is not in force any more: all limiters. */
  of(resourceName: string): number {
    const entry = this.#entries.get(resourceName);
    return entry === undefined ? Math.max(1, this.#told.fleet.knownLimiters) : this.#effective(entry);
  }

  /** By resource name, of the objects whose store can be away; 0: no share. For `/config_dump`. */
  all(): Record<string, number> {
    const all: Record<string, number> = {};
    for (const [name, entry] of this.#entries) {
      const count = this.#effective(entry);
      all[name] = count === NO_SHARE ? 0 : count;
    }
    return all;
  }

  /**
   * `serving`: ids of the stores that a look has just found to serve, by a write that is at most PROOF_LASTS_MS old.
   */
  looked(serving: ReadonlySet<string>, nowMs: number): void {
    if (this.#settled === this.#told) return;
    this.#candidate ??= { told: this.#told, sinceMs: nowMs };
    const { told, sinceMs } = this.#candidate;
    if (nowMs - sinceMs <= PROOF_LASTS_MS) return;
    this.#candidate = undefined;
    let isAll = true;
    for (const entry of this.#entries.values()) {
      if (!serving.has(entry.storeId)) isAll = false;
      else entry.count = Math.max(this.#toldOf(entry, this.#told), Math.min(entry.count, this.#toldOf(entry, told)));
    }
    if (isAll) this.#settled = told;
  }

  #effective(entry: Entry): number {
    return Math.max(entry.count, this.#toldOf(entry, this.#told));
  }

  #note(resourceName: string, config: LimiterConfig): void {
    const storeId = storeIdOf(config);
    if (storeId === undefined) {
      this.#entries.delete(resourceName);
      return;
    }
    const subject = subjectOf(config);
    const count = Math.max(this.#entries.get(resourceName)?.count ?? 0, this.#toldOf(subject, this.#told));
    this.#entries.set(resourceName, { storeId, ...subject, count });
  }

  /**
   * A sidecar is one of those that its object's Sharers count: without that resource it has not heard of it yet.
   * Where sidecars send to their own pods they alone share: a shared limiter, which could only decide, has no share
   * then.
   */
  #toldOf({ ownName, namespaceName, hasTargets }: Subject, { fleet, sharers }: Told): number {
    const own = sharers.get(ownName);
    const isUntold = fleet.sharedLimiters === undefined || (own === undefined && this.#mode === 'sidecar');
    if (isUntold) return Math.max(1, fleet.knownLimiters);
    const shared = (fleet.sharedLimiters ?? 0) + (sharers.get(namespaceName) ?? 0);
    if (own === undefined || own === 0) return Math.max(1, shared);
    if (hasTargets) return shared + own;
    return this.#mode === 'sidecar' ? own : NO_SHARE;
  }
}

function subjectOf(config: LimiterConfig): Subject {
  const { routing, namespace } = config;
  const targets = routing.kind === 'mcp' ? routing.targets : routing.rules.flatMap((rule) => rule.targets);
  return {
    ownName: sharersNameOf(config),
    namespaceName: namespaceSharersNameOf(namespace),
    hasTargets: targets.length > 0,
  };
}

/** Resource name of the object that a name of Sharers speaks of. */
function objectOf(name: string): string {
  const [, namespace = '', kindAndName = ''] = name.split('/');
  return kindAndName.replace('.', `/${namespace}/`);
}

function isSameFleet({ fleet: a }: Told, { fleet: b }: Told): boolean {
  return a.knownLimiters === b.knownLimiters && a.sharedLimiters === b.sharedLimiters;
}
