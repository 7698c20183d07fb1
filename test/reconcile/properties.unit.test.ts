// What holds for every object whatsoever: reconcile answers, says the same twice, and never says more than is true.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { canonicalJson } from '../../src/contract/snapshot.ts';
import { MAX_CONDITION_MESSAGE } from '../../src/crd/kinds/conditions.ts';
import { reconcile } from '../../src/reconcile/reconcile.ts';
import type { ObjectAsRead, ReconcileOutcome } from '../../src/reconcile/types.ts';
import { SPECIMENS } from './specimens.ts';
import { NOW, worldOf } from './world.ts';

const SETTINGS = { defaultStore: { type: 'memory' } } as const;
const KEYS = [
  'modelName',
  'rateLimiting',
  'limits',
  'name',
  'bucket',
  'maxTokens',
  'targets',
  'service',
  'authentication',
];
const KEYS_BELOW = [
  'when',
  'per',
  'regex',
  'tools',
  'shared',
  'rules',
  'matches',
  'hostnames',
  'workloadSelector',
  '__proto__',
];

const anything = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 6, withCrossShrink: true },
    fc.constantFrom<unknown>(null, true, 0, -1, 1.5, 'x', '', 'llama', [], {}),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.constantFrom(...KEYS, ...KEYS_BELOW), tie('value'), { maxKeys: 6 }),
  ),
})).value;

/** A specimen with some of its values replaced by anything. */
const almostGood = fc
  .tuple(fc.constantFrom(...SPECIMENS), fc.array(fc.tuple(fc.nat(), anything), { maxLength: 3 }))
  .map(([specimen, edits]) => {
    const spec = JSON.parse(JSON.stringify(specimen.spec)) as Record<string, unknown>;
    for (const [pick, value] of edits) replace(spec, pick, value);
    return { kind: specimen.kind, spec };
  });

/** Replaces one of the members below `root`, chosen by `pick`. */
function replace(root: unknown, pick: number, value: unknown): void {
  const members: [Record<string, unknown>, string][] = [];
  const visit = (at: unknown): void => {
    if (typeof at !== 'object' || at === null) return;
    for (const [key, member] of Object.entries(at)) {
      members.push([at as Record<string, unknown>, key]);
      visit(member);
    }
  };
  visit(root);
  const [holder, key] = members[pick % Math.max(1, members.length)] ?? [{}, ''];
  holder[key] = value;
}

function objectOf(kind: ObjectAsRead['kind'], spec: unknown): ObjectAsRead {
  return { kind, metadata: { name: 'a', namespace: 'n', uid: 'u', generation: 2 }, spec };
}

function run(object: ObjectAsRead): ReconcileOutcome {
  const world = worldOf(SETTINGS, { fleet: { limiters: [{ name: 'one', state: 'synced' }] } });
  return reconcile({ object, world, now: NOW });
}

/** The same value with the members of every object in the reverse order. */
function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, member]) => [key, reversed(member)]),
  );
}

function checkTruth({ inForce, status }: ReconcileOutcome): void {
  const condition = (type: string) => status.conditions.find((each) => each.type === type)!;
  expect(condition('Accepted').status === 'True').toBe(inForce !== undefined);
  const all = ['Accepted', 'ResolvedRefs', 'Programmed'].every((type) => condition(type).status === 'True');
  expect(condition('Ready').status === 'True').toBe(all);
  expect(status.configVersion).toBe(inForce?.resource.version);
  expect(status.limitCount).toBe(inForce?.config.limits.length ?? 0);
  expect(new Set(status.limits.map(({ name }) => name)).size).toBe(status.limits.length);
  for (const { message } of status.conditions) expect(message.length).toBeLessThanOrEqual(MAX_CONDITION_MESSAGE);
}

describe('reconcile', () => {
  test('never throws and is true about anything at all', () => {
    fc.assert(
      fc.property(fc.constantFrom('ModelRoute', 'MCPServer'), anything, (kind, spec) => {
        checkTruth(run(objectOf(kind, spec)));
      }),
      { numRuns: 300 },
    );
  }, 60_000);

  test('never throws and is true about objects that are almost good', () => {
    fc.assert(
      fc.property(almostGood, ({ kind, spec }) => {
        checkTruth(run(objectOf(kind, spec)));
      }),
      { numRuns: 200 },
    );
  }, 60_000);

  test('is deterministic, whatever the order of fields', () => {
    fc.assert(
      fc.property(almostGood, ({ kind, spec }) => {
        const [once, again] = [run(objectOf(kind, spec)), run(objectOf(kind, reversed(spec)))];
        expect(again.inForce?.resource.version).toBe(once.inForce?.resource.version);
        expect(canonicalJson(again.inForce?.config ?? {})).toBe(canonicalJson(once.inForce?.config ?? {}));
        expect(again.status.conditions.map(({ reason }) => reason)).toEqual(
          once.status.conditions.map(({ reason }) => reason),
        );
      }),
      { numRuns: 150 },
    );
  }, 60_000);

  test('writes nothing the second time', () => {
    fc.assert(
      fc.property(almostGood, ({ kind, spec }) => {
        const object = objectOf(kind, spec);
        const { status } = run(object);
        const again = run({ ...object, status: JSON.parse(JSON.stringify(status)) as unknown });
        expect(again.statusChanged).toBe(false);
        expect(again.changedReasons).toEqual([]);
      }),
      { numRuns: 100 },
    );
  }, 60_000);
});
