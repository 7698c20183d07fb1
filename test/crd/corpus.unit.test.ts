// Tests the offline verdict on every manifest of the corpus: exactly the errors that its header names.
import { describe, expect, test } from '@jest/globals';
import { judgeText } from '../../src/crd/validate.ts';
import { loadCorpus } from './corpus.ts';

const corpus = loadCorpus();

describe('the corpus', () => {
  test('has at least 120 manifests, of every stage', () => {
    expect(corpus.length).toBeGreaterThanOrEqual(120);
    const stages = corpus.flatMap(({ expected }) =>
      expected.length === 0 ? ['accepted'] : expected.map((e) => e.stage),
    );
    expect([...new Set(stages)].sort()).toEqual(['accepted', 'cel', 'decode', 'schema', 'status']);
  });

  test.each(corpus)('$name', ({ text, expected }) => {
    const [verdict, ...more] = judgeText(text);
    expect(more).toEqual([]);
    const found = verdict!.findings.filter(({ stage }) => !leftOut(stage, expected));
    const offline = expected.filter(({ stage }) => stage !== 'status');
    expect(found.map(({ stage, path }) => `${stage} ${path}`).sort()).toEqual(
      offline.map(({ stage, path }) => `${stage} ${path}`).sort(),
    );
    for (const { stage, type, path, text: message } of offline) {
      const matching = found.filter((one) => one.stage === stage && one.path === path && one.message.includes(message));
      expect(matching.map((one) => one.type)).toContain(type ?? 'Invalid');
    }
    expect(verdict!.object === undefined).toBe(offline.length > 0);
  });
});

/** The header names the errors of the first stage that refuses; offline says those of the later ones too. */
function leftOut(stage: string, expected: readonly { stage: string }[]): boolean {
  const order = ['decode', 'schema', 'cel', 'status'];
  const first = Math.min(...expected.map((one) => order.indexOf(one.stage)));
  return order.indexOf(stage) > first;
}
