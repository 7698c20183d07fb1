// Test part: suites on real Redis. Input: a title and tests. Output: the tests run, or are skipped by name with what
// would enable them; with CI=true or STRICT=1 a missing Redis is a failure. Every server of the file ends with it.
import { afterAll, describe } from '@jest/globals';
import { leaveOut } from '../../../tools/node-cluster/leave-out.ts';
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
  leaveOut(title, reason, body);
}
