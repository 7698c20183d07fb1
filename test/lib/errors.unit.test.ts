// The table of error codes and docs/errors.md say the same.
import { expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { ERRORS, WeirError } from '../../src/lib/errors.ts';

test('docs/errors.md has one row for each code, with its status, text and fix', () => {
  const rows = readFileSync('docs/errors.md', 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('| `'));
  const expected = Object.entries(ERRORS).map(
    ([code, { status, message, fix }]) => `| \`${code}\` | ${status} | ${message} | ${fix} |`,
  );
  expect(rows).toEqual(expected);
});

test('an error carries its code and the text of the table unless it has its own', () => {
  expect(new WeirError('not_found')).toMatchObject({ code: 'not_found', message: ERRORS.not_found.message });
  expect(new WeirError('not_found', 'no route for /x').message).toBe('no route for /x');
});
