// Reconcile, precedence: which of several objects that want the same requests gets them. Input: an object and its
// rivals; output: the form of it that may be in force, and who stands in the way of the others.
import { resourceName } from '../contract/limiter-config.ts';
import { conflicts } from './claim.ts';
import { refOf } from './form.ts';
import type { Problem } from './problems.ts';
import type { Form, Forms, ObjectAsRead, Rival, World } from './types.ts';

/** What an object may have in force. */
export interface Standing {
  /** Absent: nothing. */
  readonly inForce?: Form;
  /** Why the present form is not in force though nothing is wrong with it by itself. */
  readonly conflict?: Problem;
}

/**
 * Decides by age: the older object wins, then the one whose name comes first (standalone manifests have no age). A
 * rival that is itself not in force stands in nobody's way. Each rival is decided once, oldest first.
 */
export function standingOf(object: Rival, world: Pick<World, 'rivalsOf'>): Standing {
  return new Contest(world).decide(object);
}

class Contest {
  readonly #world: Pick<World, 'rivalsOf'>;
  readonly #decided = new Map<string, Standing>();

  constructor(world: Pick<World, 'rivalsOf'>) {
    this.#world = world;
  }

  /** Ends: it only ever asks about objects that come before. */
  decide(rival: Rival): Standing {
    const name = resourceName(refOf(rival.object));
    const known = this.#decided.get(name);
    if (known !== undefined) return known;
    const standing = this.#weigh(rival);
    this.#decided.set(name, standing);
    return standing;
  }

  #weigh({ object, forms }: Rival): Standing {
    let conflict: Problem | undefined;
    for (const [index, form] of forms.entries()) {
      if (form.problems.length > 0) continue;
      const winner = this.#winnerOver(object, form);
      if (winner === undefined) return { inForce: form, ...(conflict === undefined ? {} : { conflict }) };
      if (index === 0) conflict = describe(object, winner);
    }
    return conflict === undefined ? {} : { conflict };
  }

  /** Only rivals of which some form conflicts are decided: most that share a key are told apart by their selectors. */
  #winnerOver(object: ObjectAsRead, form: Form): ObjectAsRead | undefined {
    return this.#world
      .rivalsOf(keysOf(form))
      .filter((rival) => precedes(rival.object, object) && isAffected(rival.forms, undefined, form))
      .sort((a, b) => (precedes(a.object, b.object) ? -1 : 1))
      .find((rival) => meet(this.decide(rival).inForce, form))?.object;
  }
}

/** Whether it makes a difference to some form of an object that another holds `after` in place of `before`. */
export function isAffected(forms: Forms, before: Form | undefined, after: Form | undefined): boolean {
  return forms.some((form) => meet(form, before) !== meet(form, after));
}

/** The keys under which a form is found by its rivals. One that cannot be read has none. */
export function keysOf(form: Form | undefined): string[] {
  return form?.claim === undefined ? [] : [...form.claim.shared, ...form.claim.sidecar];
}

function meet(a: Form | undefined, b: Form | undefined): boolean {
  return a?.claim !== undefined && b?.claim !== undefined && conflicts(a.claim, b.claim);
}

/** Older first, then by name, then by namespace; never both ways. */
export function precedes(a: ObjectAsRead, b: ObjectAsRead): boolean {
  const [left, right] = [orderOf(a), orderOf(b)];
  for (const [index, own] of left.entries()) {
    const other = right[index] ?? own;
    if (own !== other) return own < other;
  }
  return false;
}

function orderOf({ kind, metadata }: ObjectAsRead): (string | number)[] {
  const bornAtMs = Date.parse(metadata.creationTimestamp ?? '');
  return [Number.isNaN(bornAtMs) ? Infinity : bornAtMs, metadata.name, metadata.namespace ?? '', kind];
}

function describe(object: ObjectAsRead, winner: ObjectAsRead): Problem {
  const { kind, namespace, name } = refOf(winner);
  const isOlder = orderOf(winner)[0] !== orderOf(object)[0];
  return {
    reason: 'Conflicted',
    message:
      `conflicts with ${kind} ${namespace}/${name}, which takes the same requests and ` +
      `${isOlder ? 'is older' : 'comes first by name'}; this object takes effect when that one is removed`,
  };
}
