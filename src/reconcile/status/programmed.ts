// Reconcile, status: what the limiters of an object say -> the verdict Programmed.
import type { ProgrammedReason } from '../../crd/kinds/conditions.ts';
import { MOST_NAMED, namesOf } from '../names.ts';
import { cut } from '../problems.ts';
import type { InForce, LimiterTally } from '../types.ts';

/** A verdict on one aspect: True when `reason` is the good one. */
export interface Verdict<R extends string = string> {
  readonly holds: boolean;
  readonly reason: R;
  readonly message: string;
}

const LONGEST_WORDS = 500;

/** A limiter counts when it acknowledged exactly the config in force: nothing is programmed because it was sent. */
export function programmedVerdict(inForce: InForce | undefined, tally: LimiterTally): Verdict<ProgrammedReason> {
  if (inForce === undefined)
    return not('Pending', 'nothing of this object is in force: there is nothing to acknowledge');
  if (tally.rejected.length > 0) return not('Rejected', rejectionText(tally));
  if (inForce.workloadSelector !== undefined && tally.matchingPods === 0) {
    return not('NoMatchingPods', noPods(inForce));
  }
  return syncVerdict(inForce, tally);
}

function syncVerdict(inForce: InForce, tally: LimiterTally): Verdict<ProgrammedReason> {
  const { desired, synced } = tally;
  const carriesNone = tally.unlimited.length > 0;
  if (desired === 0) return carriesNone ? unlimited(tally) : not('NoLimiters', noLimiters(inForce));
  const what = inForce.isLastGood ? `generation ${inForce.generation}, which is still in force` : 'this generation';
  const count = `${synced} of ${desired} limiters acknowledged ${what}`;
  if (synced < desired) {
    const more = [...silentTexts(tally), ...stoppedTexts(tally), ...(carriesNone ? [unlimitedText(tally)] : [])];
    return not(synced === 0 ? 'Pending' : 'PartiallyProgrammed', [count, ...more].join('; '));
  }
  return carriesNone ? unlimited(tally) : { holds: true, reason: 'Programmed', message: count };
}

function not(reason: ProgrammedReason, message: string): Verdict<ProgrammedReason> {
  return { holds: false, reason, message };
}

function noPods({ workloadSelector, config: { namespace } }: InForce): string {
  const labels = Object.entries(workloadSelector?.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`);
  const text = cut(labels.join(','), LONGEST_WORDS);
  return `spec.workloadSelector ${text} matches no pod that runs in namespace ${namespace}: compare it with the labels that "kubectl get pods -n ${namespace} --show-labels" shows`;
}

function noLimiters({ workloadSelector }: InForce): string {
  return workloadSelector === undefined
    ? 'no shared limiter of this namespace is connected, or was in the last minute: start one, or name pods with spec.workloadSelector and label their namespace weir.dev/inject=true'
    : 'no limiter of a selected pod is connected';
}

function silentTexts({ silent }: LimiterTally): string[] {
  return silent.length === 0 ? [] : [`not yet: ${namesOf(silent)}`];
}

/** One sentence per reason: a rollout with a wrong image has a hundred pods and one cause. */
function stoppedTexts({ notRunning }: LimiterTally): string[] {
  return [...new Set(notRunning.map(({ reason }) => reason))].sort().map((reason) => {
    const pods = notRunning.filter((each) => each.reason === reason).map(({ pod }) => pod);
    return `pod ${namesOf(pods.sort())}: limiter is not running: ${reason}${mendOf(reason)}`;
  });
}

function mendOf(reason: string): string {
  if (/Image/.test(reason))
    return " (correct the limiter's image in the operator's injection settings, then restart the pods)";
  if (/OOM/.test(reason)) return " (raise the limiter's memory limit in the operator's injection settings)";
  return ' (see "kubectl describe pod" and the log of its container weir-limiter)';
}

function rejectionText({ rejected }: LimiterTally): string {
  const words = rejected
    .slice(0, MOST_NAMED)
    .map(({ limiter, message }) => `limiter ${limiter}: ${cut(message, LONGEST_WORDS)}`);
  const more = rejected.length > MOST_NAMED ? [`and ${rejected.length - MOST_NAMED} more`] : [];
  return [...words, ...more].join('; ');
}

function unlimited(tally: LimiterTally): Verdict<ProgrammedReason> {
  return not('UnlimitedPods', unlimitedText(tally));
}

function unlimitedText({ unlimited: pods }: LimiterTally): string {
  const namesWhere = (ending: boolean): string[] =>
    pods.filter(({ isEnding }) => isEnding === ending).map(({ pod }) => pod);
  return [...stayingTexts(namesWhere(false)), ...endingTexts(namesWhere(true))].join('; ');
}

/** Which it is of the three the operator does not know: it sees no node's past. */
function stayingTexts(pods: readonly string[]): string[] {
  if (pods.length === 0) return [];
  const which = `selected pods without a limiter, so without limits: ${pods.length} (${namesOf(pods)})`;
  return [
    `${which}; restart them (kubectl rollout restart) if they are older than the label weir.dev/inject=true or were made while the webhook was away; pods with hostNetwork get no limiter`,
  ];
}

/** Of these nothing is to be mended. */
function endingTexts(pods: readonly string[]): string[] {
  if (pods.length === 0) return [];
  return [
    `pods without a limiter that are ending, and may answer without limits until they are gone: ${pods.length} (${namesOf(pods)})`,
  ];
}
