// Tests manifests that nobody wrote on a real API server: the offline verdict is equal to its own, whatever is changed.
import fc from 'fast-check';
import { expect, test } from '@jest/globals';
import { judgeText } from '../../src/crd/validate.ts';
import { describeOnCluster } from '../../tools/node-cluster/describe-cluster.ts';
import { disagreements } from './agreement.ts';
import { apiServerOf, pluralOf, storedSpec } from './installed-kinds.ts';
import { mutate, validManifests } from './mutation.ts';

/** In parts, each with a time of its own: on a busy machine all of them take as long as they take. */
const PARTS = 10;
const RUNS_PER_PART = 150;
const SEED = 20_261_121;

/** Words that YAML readers do not agree about, in a place for texts and in one for numbers. */
const WORDS = (
  'y n Yes NO on OFF TRUE tRue null ~ Null 0 00 010 08 0o10 0O7 0x1F 0X1f 0b11 1_000 _1 1e3 1E+3 1.0 1. .5 1e1000 .inf ' +
  '.NaN 22:00 1:30:00 2001-01-01 2001-01-01T00:00:00Z = 1e 0x 9223372036854775807 9223372036854775808 -0 +5 e4 . .e3 ' +
  '18446744073709551616 1000000000000.0 1.0e12 12e-1 -0o7 +0x10 1e5_0 1,000 "a\\tb" !!str&5 !!int&"5" !foo&x'
).split(' ');

describeOnCluster('generated manifests on an API server', (cluster) => {
  const server = apiServerOf(cluster);

  async function compare(text: string): Promise<void> {
    const answer = await server().dryRun(pluralOf(text), text);
    const [verdict] = judgeText(text);
    expect(disagreements(verdict!, answer)).toEqual([]);
    if (verdict!.object !== undefined) expect(verdict!.object.spec).toEqual(storedSpec(answer));
  }

  test.each(Array.from({ length: PARTS }, (_, part) => part))('agree, part %i', async (part) => {
    const bases = validManifests();
    const step = fc.tuple(fc.nat(4096), fc.nat(64), fc.nat(65_535));
    const manifest = fc.tuple(fc.nat(bases.length - 1), fc.array(step, { minLength: 1, maxLength: 3 }));
    const property = fc.asyncProperty(manifest, async ([base, steps]) => {
      await compare(JSON.stringify(mutate(bases[base], steps)));
    });
    await fc.assert(property, { seed: SEED + part, numRuns: RUNS_PER_PART, endOnFailure: true });
  });

  test.each(WORDS)('the word %s', async (word) => {
    const head = 'apiVersion: weir.dev/v1alpha1\nkind: ModelRoute\nmetadata: {name: a, namespace: default}\nspec:\n';
    const scalar = word.replace('&', ' ');
    await compare(`${head}  modelName: ${scalar}\n`);
    const bucket = `{maxTokens: ${scalar}, refillPeriod: 1m}`;
    await compare(`${head}  modelName: m\n  rateLimiting: {limits: [{name: a, bucket: ${bucket}}]}\n`);
  });
});
