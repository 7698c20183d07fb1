// The parsers of what callers send, each with the seeds kept in seeds/ and some thousand changes of them, the same
// ones in every run; `make fuzz SECONDS=n` goes on from there.
import { expect, test } from '@jest/globals';
import { fuzz } from './fuzz.ts';
import { TARGETS } from './targets.ts';

const INPUTS = 4_000;

test.each(TARGETS.map((target) => [target.name, target] as const))('%s', async (_name, target) => {
  const { inputs, outcomes } = await fuzz(target, 1, (count) => count >= INPUTS);
  expect(inputs).toBe(INPUTS);
  // Accepted and refused inputs are both among them, else nothing was tried.
  expect(Object.keys(outcomes).length).toBeGreaterThan(1);
});
