// Test part: suites whose parts cannot be had. In: a title and the reason; out: the suite skipped by name with what
// would enable it, or failed in CI.
import { describe, test } from '@jest/globals';

/**
 * In CI (`CI=true` or `STRICT=1`) a part that is missing is a failure; elsewhere it is a skipped suite whose name says
 * what to do about it. `body` declares the tests and runs none of them.
 */
export function leaveOut(title: string, reason: string, body: () => void): void {
  if (process.env['CI'] !== 'true' && process.env['STRICT'] !== '1') {
    process.stderr.write(`skipped: ${title}: ${reason}\n`); // jest is silent about a file that is skipped whole
    describe.skip(`${title} [${reason}]`, body);
    return;
  }
  describe(title, () => {
    test('has what it needs', () => {
      throw new Error(reason);
    });
  });
}
