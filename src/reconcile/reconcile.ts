// Reconcile: the path on one screen. Input: an object as read and the world around it; output: what must be in force
// for it, and its status. Pure: equal inputs give equal outcomes, and no input makes it throw.
//
//   edit                      -> forms (parse, validate, compile)
//   forms, rivals, Secrets    -> what is in force
//   in force, limiters' words -> references, verdicts, status
//
// `ObjectTable` remembers what the first two make.
import { valuesAt } from '../contract/capabilities.ts';
import { resourceName } from '../contract/limiter-config.ts';
import { storeIdOf } from '../contract/limiter-report.ts';
import { toVersioned } from '../contract/snapshot.ts';
import { notesOn, type SpecFacts } from './status/notes.ts';
import { degradedVerdict } from './status/degraded.ts';
import { formsOf, refOf } from './form.ts';
import { given } from './optional.ts';
import { standingOf } from './precedence.ts';
import { type Problem, summarise } from './problems.ts';
import { type Verdict, programmedVerdict } from './status/programmed.ts';
import { secretRefsOf, unresolved } from './references.ts';
import { changedReasons, differs, statusOf } from './status/status.ts';
import { withSecrets } from './secrets.ts';
import type { Form, Forms, InForce, LastGood, ReconcileInput, ReconcileOutcome, Rival, World } from './types.ts';

const SERVICES_THERE = 'every referenced Service exists and has the port';

/** What of an object is in force, and why its present form is not. Changes with its forms, its rivals and Secrets. */
export interface Ruling {
  /** The form that is in force, before the Secrets that it names. */
  readonly form?: Form;
  readonly inForce?: InForce;
  readonly conflict?: Problem;
}

/** All of the path, without a memory. */
export function reconcile({ object, lastGood, world, now }: ReconcileInput): ReconcileOutcome {
  const forms = formsOf(object, lastGood, world.settings);
  const ruling = rulingOf({ object, forms }, world);
  return outcomeOf({ object, forms, ruling, world, now, ...given('lastGood', lastGood) });
}

/**
 * The present form is in force, unless something is wrong with it or an older object takes the same requests; then the
 * last good form goes on; else nothing is.
 */
export function rulingOf(object: Rival, world: Pick<World, 'rivalsOf' | 'secretOf'>): Ruling {
  const { inForce: form, conflict } = standingOf(object, world);
  return {
    ...given('form', form),
    ...given('inForce', form === undefined ? undefined : toInForce(form, world)),
    ...given('conflict', conflict),
  };
}

/** The status of an object, by what its limiters say now. */
export function outcomeOf(
  input: ReconcileInput & { readonly forms: Forms; readonly ruling: Ruling },
): ReconcileOutcome {
  const { object, lastGood, world, forms, ruling } = input;
  const [present] = forms;
  const { inForce } = ruling;
  const ref = refOf(object);
  const problems = problemsOf(present, ruling);
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

function toInForce(form: Form, world: Pick<World, 'secretOf'>): InForce | undefined {
  if (form.config === undefined || form.resource === undefined) return undefined;
  const { config, secrets } = withSecrets(form.config, world);
  return {
    config,
    resource: secrets.size === 0 ? form.resource : toVersioned(resourceName(config), config, secrets),
    generation: form.generation,
    ...given('workloadSelector', form.workloadSelector),
    isLastGood: form.isKept === true,
  };
}

function problemsOf(present: Form, { conflict }: Ruling): readonly Problem[] {
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
      message: ['the spec is valid and every field of it is supported', ...notes].join('; '),
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
