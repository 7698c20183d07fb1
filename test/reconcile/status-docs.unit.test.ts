// docs/status.md explains every reason and every state of a limit that the code can write, and no other.
import { expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { REASONS } from '../../src/crd/kinds/conditions.ts';
import { LIMIT_STATES } from '../../src/reconcile/status/limit-states.ts';

const text = readFileSync(new URL('../../docs/status.md', import.meta.url), 'utf8');
/** The first cells of the tables, by the heading they stand under. */
const rows = text.split(/^#+ /m).flatMap((section) => {
  const heading = section.split('\n', 1)[0]!;
  return [...section.matchAll(/^\| `(\w+)` \|/gm)].map(([, word]) => `${heading}: ${word!}`);
});
const written: [string, { holds: string; others: readonly string[] }][] = [
  ...Object.entries(REASONS),
  ['Ready', { holds: 'Ready', others: [] }],
];

test('docs/status.md has a row for every reason', () => {
  const reasons = written.flatMap(([type, { holds, others }]) =>
    [holds, ...others].map((reason) => `${type}: ${reason}`),
  );
  const types = written.map(([type]) => type);
  expect(rows.filter((row) => types.some((type) => row.startsWith(`${type}:`))).sort()).toEqual(reasons.sort());
});

test('docs/status.md has a row for every state of a limit', () => {
  const states = LIMIT_STATES.map((state) => `The other fields: ${state}`);
  expect(rows.filter((row) => /^The other fields: [A-Z]/.test(row)).sort()).toEqual([...states].sort());
});
