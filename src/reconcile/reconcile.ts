// Reconcile: the path on one screen. Input: an object as read and the world around it; output: what must be in force
// for it, and its status. Pure: equal inputs give equal outcomes, and no input makes it throw.
//
//   forms (parse, validate, compile) -> precedence -> in force -> references, limiters -> verdicts -> status
import { valuesAt } from '../contract/capabilities.ts';
import { resourceName, type LimiterConfig } from '../contract/limiter-config.ts';
import { storeIdOf } from '../contract/limiter-report.ts';
import { toVersioned, type VersionedResource } from '../contract/snapshot.ts';
import { notesOn, type SpecFacts } from './status/notes.ts';
import { degradedVerdict } from './status/degraded.ts';
import { type Form, presentForm, refOf } from './form.ts';
import { given } from './optional.ts';
import { type Standing, standingOf } from './precedence.ts';
import { type Problem, summarise } from './problems.ts';
import { type Verdict, programmedVerdict } from './status/programmed.ts';
import { secretRefsOf, unresolved } from './references.ts';
import { changedReasons, differs, statusOf } from './status/status.ts';
import { withSecrets } from './secrets.ts';
import type { InForce, LastGood, ReconcileInput, ReconcileOutcome, World } from './types.ts';

const SERVICES_THERE = 'every referenced Service exists and has the port';

/**
 * Decides what of an object is in force. The present form is, unless something is wrong with it or an older object
 * takes the same requests; then the last good form goes on; else nothing is.
 */
export function reconcile(input: ReconcileInput): ReconcileOutcome {
  const { object, lastGood, world } = input;
  const ref = refOf(object);
  const present = presentForm(object, world.settings);
  const standing = standingOf(object, lastGood, world);
  const inForce = toInForce(standing.inForce, world);
  const problems = problemsOf(present, standing);
  const workloadSelector = inForce === undefined ? present.workloadSelector : inForce.workloadSelector;
  const tally = world.limitersOf({
    ref,
    ...given('workloadSelector', workloadSelector),
    ...given('version', inForce?.resource.version),
    ...given('store', inForce === undefined ? undefined : storeIdOf(inForce.config)),
  });
  const status = statusOf(input, {
    ...given('inForce', inForce),
    tally,
    problems,
    accepted: acceptedVerdict(problems, present, inForce),
    resolvedRefs: resolvedVerdict(input),
    programmed: programmedVerdict(inForce, tally),
    degraded: degradedVerdict(inForce, tally),
  });
  return {
    ...given('inForce', inForce),
    status,
    tally,
    statusChanged: differs(status, object.status),
    ...given('lastGood', toKeep(inForce, present, lastGood)),
    changedReasons: changedReasons(status, object.status),
  };
}

/** Without secrets, as long as somebody holds the config: most looks at an object are for its limiters' answers. */
const plainResources = new WeakMap<LimiterConfig, VersionedResource>();

function plainResource(config: LimiterConfig): VersionedResource {
  const known = plainResources.get(config);
  if (known !== undefined) return known;
  const resource = toVersioned(resourceName(config), config);
  plainResources.set(config, resource);
  return resource;
}

function toInForce(form: Form | undefined, world: World): InForce | undefined {
  if (form?.config === undefined) return undefined;
  const { config, secrets } = withSecrets(form.config, world);
  return {
    config,
    resource: secrets.size === 0 ? plainResource(config) : toVersioned(resourceName(config), config, secrets),
    generation: form.generation,
    ...given('workloadSelector', form.workloadSelector),
    isLastGood: form.isKept === true,
  };
}

function problemsOf(present: Form, { conflict }: Standing): readonly Problem[] {
  return present.problems.length === 0 && conflict !== undefined ? [conflict] : present.problems;
}

function toKeep(inForce: InForce | undefined, present: Form, before: LastGood | undefined): LastGood | undefined {
  if (inForce === undefined || inForce.isLastGood) return before;
  return { generation: present.generation, spec: present.spec };
}

function acceptedVerdict(problems: readonly Problem[], present: Form, inForce: InForce | undefined): Verdict {
  const [first, ...rest] = problems;
  if (first === undefined) {
    const notes = present.config === undefined ? [] : notesOn(present.config, factsOf(present));
    return {
      holds: true,
      reason: 'Accepted',
      message: ['the spec is valid and all of it is enforced', ...notes].join('; '),
    };
  }
  const { reason, message } = summarise([first, ...rest]);
  if (inForce === undefined) return { holds: false, reason, message };
  const instead =
    inForce.generation === present.generation
      ? 'it was accepted before, and stays in effect until it is edited'
      : `generation ${present.generation} is not in effect; generation ${inForce.generation} still is`;
  return { holds: false, reason, message: `${message} (${instead})` };
}

function factsOf({ spec, workloadSelector }: Form): SpecFacts {
  return {
    hasPods: workloadSelector !== undefined,
    hasFailurePolicy: valuesAt({ spec }, 'spec.rateLimiting.failurePolicy').length > 0,
  };
}

function resolvedVerdict({ object, world }: ReconcileInput): Verdict {
  const [first, ...rest] = unresolved(object.spec, object.metadata.namespace ?? '', world);
  if (first === undefined) {
    const message =
      secretRefsOf(object.spec).length === 0 ? SERVICES_THERE : 'every referenced Service and Secret exists';
    return { holds: true, reason: 'ResolvedRefs', message };
  }
  return { holds: false, reason: first.reason, message: [first, ...rest].map(({ message }) => message).join('; ') };
}
