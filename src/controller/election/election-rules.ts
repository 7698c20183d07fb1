// Controller: the rules of leader election. Input: a Lease as it was read, settings, the time of this process alone.
// Output: what to do next (write the Lease, or wait) and until when it is held. Pure: no clock, no network.
import type { Lease, LeaseSpec } from '../kube/kube-types.ts';

export interface ElectionTiming {
  /** How long the others wait after they last saw the Lease change; whole seconds, in ms. */
  readonly leaseDurationMs: number;
  /**
   * How long after it was last asked for the Lease counts as held here; less than `leaseDurationMs`, which bounds the
   * drift of clocks.
   */
  readonly renewDeadlineMs: number;
  /** From one attempt to the next. */
  readonly retryPeriodMs: number;
}

export interface ElectionState {
  /** The newest Lease that this process has seen; undefined: there is none, as far as it knows. */
  readonly seen?: Lease | undefined;
  /** When what it says last became different, by this process's monotonic clock, ms. */
  readonly changedMs: number;
  /** Until when this process holds it, monotonic ms; -Infinity: it does not. */
  readonly deadlineMs: number;
}

export type Move =
  /** `isNew`: nobody, or somebody else, held it before. */
  | { readonly kind: 'write'; readonly isNew: boolean; readonly spec: LeaseSpec }
  | { readonly kind: 'wait'; readonly forMs: number };

export const FOLLOWING: ElectionState = { changedMs: -Infinity, deadlineMs: -Infinity };

/** Why these times cannot work, for people; undefined: they can. */
export function timingProblem({ leaseDurationMs, renewDeadlineMs, retryPeriodMs }: ElectionTiming): string | undefined {
  if (leaseDurationMs < 1000 || leaseDurationMs % 1000 !== 0)
    return 'the lease duration must be whole seconds, such as 10s';
  if (renewDeadlineMs > leaseDurationMs * 0.9) {
    return 'the renew deadline must be at most nine tenths of the lease duration: the rest allows for clock drift and for writes in progress';
  }
  if (retryPeriodMs * 2 > renewDeadlineMs) return 'the retry period must be at most half of the renew deadline';
  return undefined;
}

/**
 * What was read. Only a change of what the Lease says counts, by our own clock: the clocks of others are not
 * believed.
 */
export function observe(state: ElectionState, lease: Lease | undefined, nowMs: number): ElectionState {
  // Deleted by hand: who held it may not know yet.
  if (lease === undefined)
    return { ...state, seen: undefined, changedMs: state.seen === undefined ? state.changedMs : nowMs };
  const isChanged = state.seen === undefined || fingerprint(state.seen) !== fingerprint(lease);
  return { ...state, seen: lease, changedMs: isChanged ? nowMs : state.changedMs };
}

/**
 * A write of ours was accepted. It counts from before it was sent: that is the earliest that the others can have seen
 * it.
 */
export function accepted(state: ElectionState, lease: Lease, sentMs: number, timing: ElectionTiming): ElectionState {
  return { ...observe(state, lease, sentMs), deadlineMs: sentMs + timing.renewDeadlineMs };
}

/**
 * What `me` should do. The Lease of somebody else is taken when it was released, or when it has not changed for as
 * long as it lasts; every write must carry the resourceVersion of `state.seen`, so that of several that try one
 * succeeds.
 * @param now for the Lease's own fields, which only people read
 */
export function nextMove(state: ElectionState, me: string, timing: ElectionTiming, nowMs: number, now: string): Move {
  const spec = { holderIdentity: me, leaseDurationSeconds: timing.leaseDurationMs / 1000, renewTime: now };
  const held = state.seen?.spec ?? {};
  if (held.holderIdentity === me) {
    const isNew = nowMs >= state.deadlineMs;
    const { acquireTime = now, leaseTransitions = 0 } = held;
    return { kind: 'write', isNew, spec: { ...spec, acquireTime: isNew ? now : acquireTime, leaseTransitions } };
  }
  const leftMs = leftOf(state, timing.leaseDurationMs, nowMs);
  if (leftMs > 0) return { kind: 'wait', forMs: Math.min(leftMs, timing.retryPeriodMs) };
  const leaseTransitions = (held.leaseTransitions ?? -1) + 1;
  return { kind: 'write', isNew: true, spec: { ...spec, acquireTime: now, leaseTransitions } };
}

/**
 * How long whoever holds the Lease may still count on it; a holder with other settings is given as long as it was
 * promised.
 */
function leftOf({ seen, changedMs }: ElectionState, ownDurationMs: number, nowMs: number): number {
  if (seen !== undefined && (seen.spec?.holderIdentity ?? '') === '') return 0;
  const promisedMs = (seen?.spec?.leaseDurationSeconds ?? 0) * 1000;
  return changedMs + Math.max(ownDurationMs, promisedMs) - nowMs;
}

/** The Lease given back: the next one may take it at once. */
export function released({ spec }: Lease, now: string): LeaseSpec {
  return { ...spec, holderIdentity: '', leaseDurationSeconds: 1, renewTime: now };
}

function fingerprint({ metadata, spec = {} }: Lease): string {
  const { holderIdentity, leaseDurationSeconds, acquireTime, renewTime, leaseTransitions } = spec;
  return JSON.stringify([metadata.uid, holderIdentity, leaseDurationSeconds, acquireTime, renewTime, leaseTransitions]);
}
