// Reconcile, form: one form of an object (its present spec, or the last good one) -> its config, or everything that
// is wrong with it.
import { type LimiterConfig, type ObjectRef, resourceName } from '../contract/limiter-config.ts';
import type { WorkloadSelector } from '../crd/types.ts';
import { compile } from './compile/compile.ts';
import { given } from './optional.ts';
import { parse } from './parse.ts';
import type { Problem } from './problems.ts';
import type { LastGood, ObjectAsRead, ReconcileSettings } from './types.ts';
import { validate, validateValues } from './validate.ts';

/** A form that schema and CEL admit has a config, even when it must not be in force. */
export interface Form {
  readonly generation: number;
  /** The spec as it was read. */
  readonly spec: unknown;
  /** Empty: only a conflict can keep it from being in force. */
  readonly problems: readonly Problem[];
  readonly config?: LimiterConfig;
  readonly workloadSelector?: WorkloadSelector;
  /** Present: it was in force before, whatever the present spec is. */
  readonly isKept?: true;
}

/** The identity of an object, whatever else is wrong with it. */
export function refOf(object: ObjectAsRead): ObjectRef {
  const { name, namespace } = object.metadata;
  return { kind: object.kind, namespace: namespace ?? '', name };
}

/** The form that the object has now. */
export function presentForm(object: ObjectAsRead, settings: ReconcileSettings): Form {
  return formOf(object, object.spec, object.metadata.generation ?? 0, settings);
}

/** The forms of an object that may be in force, in order of preference: the present one, then the last good one. */
export function formsOf(object: ObjectAsRead, lastGood: LastGood | undefined, settings: ReconcileSettings): Form[] {
  const present = presentForm(object, settings);
  const isPresentGood = present.problems.length === 0 && present.generation === lastGood?.generation;
  if (lastGood === undefined || isPresentGood) return [present];
  return [present, asKept(formOf(object, lastGood.spec, lastGood.generation, settings))];
}

/**
 * A form that was good stays in force under an operator that refuses such a value by now: an upgrade removes no
 * limit. This does not hold for a field that nothing enforces (NotSupported), or for a missing store.
 */
function asKept(form: Form): Form {
  const isOnlyInvalid = form.config !== undefined && form.problems.every(({ reason }) => reason === 'Invalid');
  return { ...form, isKept: true, ...(isOnlyInvalid ? { problems: [] } : {}) };
}

interface Remembered {
  readonly name: string;
  readonly uid: string | undefined;
  readonly form: Form;
}

/** Forms by spec, as long as the spec is referenced: rivals are compared far more often than they change. */
const remembered = new WeakMap<ReconcileSettings, WeakMap<object, Remembered>>();

function formOf(object: ObjectAsRead, spec: unknown, generation: number, settings: ReconcileSettings): Form {
  if (typeof spec !== 'object' || spec === null) return makeForm(object, spec, generation, settings);
  const forms = remembered.get(settings) ?? new WeakMap<object, Remembered>();
  remembered.set(settings, forms);
  const known = forms.get(spec);
  const [name, { uid }] = [resourceName(refOf(object)), object.metadata];
  if (known?.form.generation === generation && known.name === name && known.uid === uid) return known.form;
  const form = makeForm(object, spec, generation, settings);
  forms.set(spec, { name, uid, form });
  return form;
}

function makeForm(object: ObjectAsRead, spec: unknown, generation: number, settings: ReconcileSettings): Form {
  const { object: shaped, problems } = parse({ ...object, spec });
  if (shaped === undefined) return { generation, spec, problems: [...problems, ...validateValues(spec)] };
  if (problems.length > 0) return { generation, spec, problems: [...problems, ...validate(shaped, settings)] };
  return {
    generation,
    spec,
    problems: validate(shaped, settings),
    config: compile(shaped, settings),
    ...given('workloadSelector', shaped.spec.workloadSelector),
  };
}
