// Reconcile, status: what the limiters of an object say -> the verdict Programmed.
import type { ProgrammedReason } from '../../crd/kinds/conditions.ts';
import { bypassedText } from './bypasses.ts';
import { countOf, MOST_NAMED, namesOf } from '../names.ts';
import { cut } from '../problems.ts';
import type { InForce, LimiterTally } from '../types.ts';

/** A verdict on one aspect: True when `reason` is the good one. */
export interface Verdict<R extends string = string> {
  readonly holds: boolean;
  readonly reason: R;
  readonly message: string;
}

const LONGEST_WORDS = 500;
/** Each may be as long as the injector's text. */
const MOST_REASONS = 5;

/** What of the API server's refusals a limiter may have caused, and how to mend it. */
const CREATION_MENDS = [
  {
    of: /exceeded quota|failed quota|(?:minimum|maximum) \S+ usage|limit to request ratio|must specify|must be less than or equal to/,
    mend: 'if it is for the limiter, give it other resources by annotations of the pod template or the namespace (weir.dev/limiter-memory-limit, -memory-request, -cpu-limit, -cpu-request)',
  },
  {
    of: /violates PodSecurity.*weir-init/s,
    mend: 'remove the annotation weir.dev/redirect, name the port, and let the Service target the name',
  },
] as const;

/** A limiter counts when it acknowledged exactly the config in force: nothing is programmed because it was sent. */
export function programmedVerdict(inForce: InForce | undefined, tally: LimiterTally): Verdict<ProgrammedReason> {
  if (inForce === undefined) return not('Pending', 'no generation of this object is in effect');
  if (tally.rejected.length > 0) return not('Rejected', rejectionText(tally));
  if (inForce.workloadSelector !== undefined && tally.matchingPods === 0) {
    const failed = failureText(tally, '');
    return not('NoMatchingPods', [failed ?? noPods(inForce, tally), ...missedTexts(tally)].join('; '));
  }
  return syncVerdict(inForce, tally);
}

function syncVerdict(inForce: InForce, tally: LimiterTally): Verdict<ProgrammedReason> {
  const { desired, synced } = tally;
  const missed = missedTexts(tally);
  const carriesNone = tally.unlimited.length > 0;
  if (desired === 0 && missed.length === 0) return not('NoLimiters', noLimiters(inForce));
  const what = inForce.isLastGood ? `generation ${inForce.generation}, which is still in effect` : 'this generation';
  const count = `${synced} of ${desired} limiters acknowledged ${what}`;
  if (synced < desired) {
    const more = [...silentTexts(tally), ...stoppedTexts(tally), ...missed];
    return not(synced === 0 ? 'Pending' : 'PartiallyProgrammed', [count, ...more].join('; '));
  }
  if (missed.length > 0) return not(carriesNone ? 'UnlimitedPods' : 'LimiterBypassed', missed.join('; '));
  return { holds: true, reason: 'Programmed', message: count };
}

/** Pods that serve without limits: those that carry no limiter, and those whose limiter nobody meets. */
function missedTexts(tally: LimiterTally): string[] {
  const bypassed = bypassedText(tally);
  const unlimited = unlimitedTexts(tally);
  const failed = unlimited.length === 0 ? undefined : failureText(tally, 'new ');
  return [...unlimited, failed, bypassed].filter((text) => text !== undefined);
}

/** In the API server's words. */
function failureText({ creationFailure, matchingPods }: LimiterTally, which: '' | 'new '): string | undefined {
  if (creationFailure === undefined || (which === 'new ' && matchingPods === 0)) return undefined;
  const { maker, words } = creationFailure;
  const quoted = cut(words, LONGEST_WORDS);
  const mend = CREATION_MENDS.find(({ of }) => of.test(words))?.mend;
  return `${which}pods cannot be created: ${maker}: ${quoted}${mend === undefined ? '' : `: ${mend}`}`;
}

function not(reason: ProgrammedReason, message: string): Verdict<ProgrammedReason> {
  return { holds: false, reason, message };
}

function noPods({ workloadSelector, config: { namespace } }: InForce, { finishedPods }: LimiterTally): string {
  const labels = Object.entries(workloadSelector?.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`);
  const text = cut(labels.join(','), LONGEST_WORDS);
  const none = `spec.workloadSelector ${text} matches no pod that runs in namespace ${namespace}`;
  if (finishedPods.length > 0)
    return `${none}: ${countOf(finishedPods.length, 'pod')} that it matches ended (${namesOf(finishedPods)})`;
  return `${none}: compare it with the labels that "kubectl get pods -n ${namespace} --show-labels" shows`;
}

function noLimiters({ workloadSelector }: InForce): string {
  return workloadSelector === undefined
    ? 'no shared limiter of this namespace is or was connected in the last minute: start one, or select pods with spec.workloadSelector and label their namespace weir.dev/inject=true'
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

/** One sentence for each reason, those of many pods first. */
function unlimitedTexts({ unlimited }: LimiterTally): string[] {
  const staying = unlimited.filter(({ isEnding }) => !isEnding);
  const ending = unlimited.filter(({ isEnding }) => isEnding).map(({ pod }) => pod);
  const byText = new Map<string, string[]>();
  for (const { pod, reason, message } of staying) {
    const text = `${reason}: ${message}`;
    byText.set(text, [...(byText.get(text) ?? []), pod]);
  }
  const groups = [...byText].sort(([, a], [, b]) => b.length - a.length);
  const texts = groups.slice(0, MOST_REASONS).map(([text, pods]) => {
    const are = pods.length === 1 ? 'has no limiter and is not limited' : 'have no limiter and are not limited';
    return `${countOf(pods.length, 'selected pod')} ${are} (${namesOf(pods)}): ${text}`;
  });
  const more = groups.length - MOST_REASONS;
  return [...texts, ...(more > 0 ? [`and ${countOf(more, 'more reason')}`] : []), ...endingTexts(ending)];
}

/** Of these nothing is to be mended. */
function endingTexts(pods: readonly string[]): string[] {
  if (pods.length === 0) return [];
  return [
    `terminating pods without a limiter, which may serve requests without limits until they are gone: ${pods.length} (${namesOf(pods)})`,
  ];
}
