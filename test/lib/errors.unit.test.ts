// Errors of the table of error codes.
import { expect, test } from '@jest/globals';
import { ERRORS, WeirError } from '../../src/lib/errors.ts';

test('an error carries its code and the text of the table unless it has its own', () => {
  expect(new WeirError('not_found')).toMatchObject({ code: 'not_found', message: ERRORS.not_found.message });
  expect(new WeirError('not_found', 'no route for /x').message).toBe('no route for /x');
});
