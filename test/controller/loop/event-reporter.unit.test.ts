// Which changes of a status become Events: what rollouts and scale-ups pass through only when it persists, what has
// to be fixed at once.
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import type { Condition } from '../../../src/crd/types.ts';
import { REASONS } from '../../../src/crd/kinds/conditions.ts';
import type { StoredObject } from '../../../src/controller/kube/kube-types.ts';
import { EventReporter } from '../../../src/controller/loop/event-reporter.ts';

const NAME = 'ModelRoute/a/chat';
const PERSISTS_MS = 1000;

let reported: string[];
let conditions: readonly Condition[];
let isThere: boolean;
let reporter: EventReporter;

beforeEach(() => {
  jest.useFakeTimers();
  reported = [];
  conditions = [];
  isThere = true;
  reporter = new EventReporter({
    report: (_object, { status, reason }) => reported.push(`${status} ${reason}`),
    find: () => (isThere ? object() : undefined),
    persistsMs: PERSISTS_MS,
  });
});
afterEach(() => {
  reporter.stop();
  jest.useRealTimers();
});

function object(): StoredObject {
  return { kind: 'ModelRoute', metadata: { name: 'chat', namespace: 'a' }, status: { conditions } };
}

function condition(type: Condition['type'], status: Condition['status'], reason: string): Condition {
  return { type, status, reason, message: '', lastTransitionTime: '2026-01-01T00:00:00Z' };
}

/** The status changes to this; what it was before is what the object has. */
function change(type: Condition['type'], status: Condition['status'], reason: string): void {
  const next = condition(type, status, reason);
  reporter.note(NAME, object(), [next]);
  conditions = [...conditions.filter((each) => each.type !== type), next];
}

const programmed = (): void => {
  change('Programmed', 'True', 'Programmed');
};
const passing = ['Pending', 'NoLimiters', 'NoMatchingPods', 'PartiallyProgrammed', 'UnlimitedPods', 'LimiterBypassed'];

test('a new object that is programmed in a moment is reported once, as good', () => {
  change('Programmed', 'False', 'Pending');
  programmed();
  jest.advanceTimersByTime(2 * PERSISTS_MS);
  expect([reported, reporter.depth]).toEqual([['True Programmed'], 0]);
});

test.each(passing)('%s that passes is reported by nothing: each pod of a rollout makes it', (reason) => {
  programmed();
  for (let pod = 0; pod < 20; pod++) {
    change('Programmed', 'False', reason);
    jest.advanceTimersByTime(PERSISTS_MS - 1);
    programmed();
  }
  jest.advanceTimersByTime(2 * PERSISTS_MS);
  expect([reported, reporter.depth]).toEqual([['True Programmed'], 0]);
});

test.each(passing)('%s that persists is reported once, and its end too', (reason) => {
  programmed();
  change('Programmed', 'False', reason);
  jest.advanceTimersByTime(10 * PERSISTS_MS);
  programmed();
  expect(reported).toEqual(['True Programmed', `False ${reason}`, 'True Programmed']);
});

test('what goes from one reason to another persists as a whole, and is reported as it is then', () => {
  programmed();
  change('Programmed', 'False', 'NoMatchingPods');
  jest.advanceTimersByTime(PERSISTS_MS / 2);
  change('Programmed', 'False', 'PartiallyProgrammed');
  jest.advanceTimersByTime(PERSISTS_MS / 2);
  expect(reported).toEqual(['True Programmed', 'False PartiallyProgrammed']);
});

test('a refusal of a limiter is reported at once, also in the middle of a rollout, and then its end', () => {
  programmed();
  change('Programmed', 'False', 'PartiallyProgrammed');
  change('Programmed', 'False', 'Rejected');
  programmed();
  expect([reported, reporter.depth]).toEqual([['True Programmed', 'False Rejected', 'True Programmed'], 0]);
});

test('every other reason is reported at once', () => {
  const { Accepted, ResolvedRefs, Degraded } = REASONS;
  for (const [type, { others }] of Object.entries({ Accepted, ResolvedRefs }))
    for (const reason of others) change(type as Condition['type'], 'False', reason);
  for (const reason of Degraded.others) change('Degraded', 'True', reason);
  expect(reported).toHaveLength(Accepted.others.length + ResolvedRefs.others.length + Degraded.others.length);
});

test('of an object that is gone meanwhile, or after the end, nothing is reported', () => {
  change('Programmed', 'False', 'NoLimiters');
  isThere = false;
  jest.advanceTimersByTime(PERSISTS_MS);
  isThere = true;
  change('Programmed', 'False', 'NoLimiters');
  reporter.forget(NAME);
  change('Programmed', 'False', 'NoLimiters');
  reporter.stop();
  jest.advanceTimersByTime(PERSISTS_MS);
  expect([reported, reporter.depth]).toEqual([[], 0]);
});
