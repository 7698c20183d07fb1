// Benchmarks: the store's row still works. In: a real Redis, a moment per subject and load; out: figures that can be
// figures.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';
import { describeOnRedis } from '../rig/redis/describe-redis.ts';

interface StoreResult {
  readonly loads: readonly {
    readonly against: string;
    readonly decisionsRatio: number;
    readonly results: readonly { readonly name: string; readonly perSecond: number; readonly refused: number }[];
  }[];
}

describeOnRedis('the store row of make bench', () => {
  test('every subject decides at every load and refuses its tenth', async () => {
    const program = join(import.meta.dirname, '..', '..', 'bench', 'store.ts');
    const { stdout } = await promisify(execFile)(process.execPath, [program, '--seconds', '0.1']);
    const { loads } = JSON.parse(stdout) as StoreResult;
    expect(loads).toHaveLength(2);
    for (const { decisionsRatio, results } of loads) {
      expect(decisionsRatio).toBeGreaterThan(0);
      expect(results.map(({ name }) => name)).toContain('weir');
      for (const { perSecond, refused } of results) {
        expect(perSecond).toBeGreaterThan(0);
        expect(refused).toBeGreaterThan(0);
      }
    }
  });
});
