// Tests the corpus on a real API server: it says what the headers expect, and the offline verdict is equal to its own.
import { expect, test } from '@jest/globals';
import { describeOnCluster } from '../../tools/node-cluster/describe-cluster.ts';
import { judgeText } from '../../src/crd/validate.ts';
import { disagreements } from './agreement.ts';
import type { ServerVerdict } from './api-server.ts';
import { loadCorpus } from './corpus.ts';
import type { Expectation } from './corpus.ts';
import { apiServerOf, pluralOf, storedSpec } from './installed-kinds.ts';

describeOnCluster('the corpus on an API server', (cluster) => {
  const server = apiServerOf(cluster);

  test.each(loadCorpus())('$name', async ({ text, expected }) => {
    const answer = await server().dryRun(pluralOf(text), text);
    const refusals = expected.filter(({ stage }) => stage !== 'status');
    expect(answer.code < 300).toBe(refusals.length === 0);
    for (const refusal of refusals) expect(said(answer, refusal).join('\n')).toContain(words(refusal));

    const [verdict] = judgeText(text);
    expect(disagreements(verdict!, answer)).toEqual([]);
    if (verdict!.object !== undefined) expect(verdict!.object.spec).toEqual(storedSpec(answer));
  });
});

/** What the API server says at the place that a header names. */
function said(answer: ServerVerdict, { stage, path }: Expectation): string[] {
  if (stage === 'decode') return answer.code === 400 ? [answer.message] : [];
  return answer.causes.filter(({ field }) => field === path).map(({ message }) => message);
}

/** The words in which it says so. */
function words({ type, path, text }: Expectation): string {
  return type === 'UnknownField' ? `unknown field "${path}"` : text;
}
