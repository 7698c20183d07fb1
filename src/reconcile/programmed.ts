// Reconcile, status: what the limiters of an object say -> the verdict Programmed.
import type { ProgrammedReason } from '../crd/conditions.ts';
import { cut } from './problems.ts';
import type { InForce, LimiterTally } from './types.ts';

/** A verdict on one aspect: True when `reason` is the good one. */
export interface Verdict<R extends string = string> {
  readonly holds: boolean;
  readonly reason: R;
  readonly message: string;
}

/** How many limiters' own words, and how many pods' names, a message carries. */
const MOST_NAMED = 3;
const LONGEST_WORDS = 500;

/** A limiter counts when it acknowledged exactly the config in force: nothing is programmed because it was sent. */
export function programmedVerdict(inForce: InForce | undefined, tally: LimiterTally): Verdict<ProgrammedReason> {
  if (inForce === undefined)
    return not('Pending', 'nothing of this object is in force: there is nothing to acknowledge');
  if (tally.rejected.length > 0) return not('Rejected', rejectionText(tally));
  if (inForce.workloadSelector !== undefined && tally.matchingPods === 0) {
    return not('NoMatchingPods', 'spec.workloadSelector matches no pod that runs');
  }
  return syncVerdict(inForce, tally);
}

function syncVerdict(inForce: InForce, tally: LimiterTally): Verdict<ProgrammedReason> {
  const { desired, synced } = tally;
  const carriesNone = tally.unlimitedPods.length > 0;
  if (desired === 0) return carriesNone ? unlimited(tally) : not('NoLimiters', noLimiters(inForce));
  const what = inForce.isLastGood ? `generation ${inForce.generation}, which is still in force` : 'this generation';
  const count = `${synced} of ${desired} limiters acknowledged ${what}`;
  if (synced < desired) return not(synced === 0 ? 'Pending' : 'PartiallyProgrammed', count);
  return carriesNone ? unlimited(tally) : { holds: true, reason: 'Programmed', message: count };
}

function not(reason: ProgrammedReason, message: string): Verdict<ProgrammedReason> {
  return { holds: false, reason, message };
}

function noLimiters({ workloadSelector }: InForce): string {
  return workloadSelector === undefined
    ? 'no shared limiter of this namespace is connected, or was in the last minute'
    : 'no limiter of a selected pod is connected';
}

function rejectionText({ rejected }: LimiterTally): string {
  const words = rejected
    .slice(0, MOST_NAMED)
    .map(({ limiter, message }) => `limiter ${limiter}: ${cut(message, LONGEST_WORDS)}`);
  const more = rejected.length > MOST_NAMED ? [`and ${rejected.length - MOST_NAMED} more`] : [];
  return [...words, ...more].join('; ');
}

function unlimited({ unlimitedPods }: LimiterTally): Verdict<ProgrammedReason> {
  const names = unlimitedPods.slice(0, MOST_NAMED).join(', ');
  const more = unlimitedPods.length > MOST_NAMED ? ' and others' : '';
  return not('UnlimitedPods', `selected pods without a limiter: ${unlimitedPods.length} (${names}${more})`);
}
