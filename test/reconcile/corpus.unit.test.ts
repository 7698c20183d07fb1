// The corpus of manifests, after the API server: what it accepts is accepted here or refused for the reason, at the
// place and with the text that the manifest names.
import { describe, expect, test } from '@jest/globals';
import { judgeText } from '../../src/crd/validate.ts';
import { presentForm } from '../../src/reconcile/form.ts';
import { reconcile } from '../../src/reconcile/reconcile.ts';
import { loadCorpus } from '../crd/corpus.ts';
import { NOW, worldOf } from './world.ts';

const SETTINGS = { defaultStore: { type: 'memory' } } as const;
const admitted = loadCorpus().flatMap(({ name, text, expected }) => {
  const object = judgeText(text)[0]?.object;
  return object === undefined ? [] : [{ name, object, expected }];
});

describe('the corpus', () => {
  test('has manifests that only the status can refuse, and accepted ones', () => {
    expect(admitted.filter(({ expected }) => expected.length > 0).length).toBeGreaterThanOrEqual(20);
    expect(admitted.filter(({ expected }) => expected.length === 0).length).toBeGreaterThanOrEqual(20);
  });

  test.each(admitted)('$name', ({ object, expected }) => {
    const { problems } = presentForm(object, SETTINGS);
    const { status, inForce } = reconcile({ object, world: worldOf(SETTINGS), now: NOW });
    const accepted = status.conditions.find(({ type }) => type === 'Accepted')!;
    expect({ problems, status: accepted.status }).toMatchObject(
      expected.length === 0 ? { problems: [], status: 'True' } : { status: 'False' },
    );
    expect(inForce === undefined).toBe(expected.length > 0);
    for (const { type, path, text } of expected) {
      const found = problems.filter((problem) => problem.path === path && problem.message.includes(text));
      expect(found.map(({ reason }) => reason)).toContain(type);
      expect(accepted.message).toContain(text);
    }
    expect(expected.map(({ type }) => type).slice(0, 1)).toEqual(expected.length === 0 ? [] : [accepted.reason]);
  });
});
