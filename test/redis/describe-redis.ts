// Test part: suites on real Redis. Input: a title and tests. Output: the tests run, or are skipped by name with what
// would enable them; with CI=true or STRICT=1 a missing Redis is a failure. Every server of the file ends with it.
import { afterAll, describe, test } from '@jest/globals';
import { redisMissing, stopAllRedis } from './redis-server.ts';

/** `body` starts its own servers (beforeAll); they are ended here. */
export function describeOnRedis(title: string, body: () => void): void {
  const reason = redisMissing();
  if (reason === undefined) {
    describe(title, () => {
      body();
      afterAll(stopAllRedis, 20_000);
    });
    return;
  }
  if (process.env['CI'] === 'true' || process.env['STRICT'] === '1') {
    describe(title, () => {
      test('has redis-server', () => {
        throw new Error(reason);
      });
    });
    return;
  }
  process.stderr.write(`skipped: ${title}: ${reason}\n`);
  describe.skip(`${title} [${reason}]`, body);
}
