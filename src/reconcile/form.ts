// Reconcile, form: one form of an object (its present spec, or the last good one) -> its config, or everything that
// is wrong with it.
import { isDeepStrictEqual } from 'node:util';
import { type ObjectRef, resourceName } from '../contract/limiter-config.ts';
import { toVersioned } from '../contract/snapshot.ts';
import { claimOf } from './claim.ts';
import { compile } from './compile/compile.ts';
import { given } from './optional.ts';
import { parse } from './parse.ts';
import type { Form, Forms, LastGood, ObjectAsRead, ReconcileSettings } from './types.ts';
import { validate, validateValues } from './validate.ts';

/** The identity of an object, whatever else is wrong with it. */
export function refOf(object: ObjectAsRead): ObjectRef {
  const { name, namespace } = object.metadata;
  return { kind: object.kind, namespace: namespace ?? '', name };
}

/** The form that the object has now. */
export function presentForm(object: ObjectAsRead, settings: ReconcileSettings): Form {
  return formOf(object, object.spec, object.metadata.generation ?? 0, settings);
}

/** @param known - forms of the same object made before, under the same settings: one that is still so is taken over. */
export function formsOf(
  object: ObjectAsRead,
  lastGood: LastGood | undefined,
  settings: ReconcileSettings,
  known: readonly Form[] = [],
): Forms {
  const made = (spec: unknown, generation: number, from: readonly Form[]): Form =>
    from.find((form) => isOf(form, spec, generation)) ?? formOf(object, spec, generation, settings);
  const asWritten = known.filter((form) => form.isKept !== true);
  const present = made(object.spec, object.metadata.generation ?? 0, asWritten);
  const isPresentGood = present.problems.length === 0 && present.generation === lastGood?.generation;
  if (lastGood === undefined || isPresentGood) return [present];
  return [present, asKept(made(lastGood.spec, lastGood.generation, known))];
}

function isOf(form: Form, spec: unknown, generation: number): boolean {
  return form.generation === generation && isDeepStrictEqual(form.spec, spec);
}

/**
 * A form that was good stays in force under an operator that refuses such a value by now: an upgrade removes no
 * limit. This does not hold for a field that nothing enforces (NotSupported), or for a missing store.
 */
function asKept(form: Form): Form {
  if (form.isKept === true) return form;
  const isOnlyInvalid = form.config !== undefined && form.problems.every(({ reason }) => reason === 'Invalid');
  return { ...form, isKept: true, ...(isOnlyInvalid ? { problems: [] } : {}) };
}

function formOf(object: ObjectAsRead, spec: unknown, generation: number, settings: ReconcileSettings): Form {
  const { object: shaped, problems } = parse({ ...object, spec });
  if (shaped === undefined) return { generation, spec, problems: [...problems, ...validateValues(spec)] };
  if (problems.length > 0) return { generation, spec, problems: [...problems, ...validate(shaped, settings)] };
  const { workloadSelector } = shaped.spec;
  const config = compile(shaped, settings);
  return {
    generation,
    spec,
    problems: validate(shaped, settings),
    config,
    resource: toVersioned(resourceName(config), config),
    claim: claimOf(config, workloadSelector),
    ...given('workloadSelector', workloadSelector),
  };
}
