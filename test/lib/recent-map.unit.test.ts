// The bounded map: what it holds for sure, and what it never exceeds.
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { RecentMap } from '../../src/lib/recent-map.ts';

test('holds what was set last, never more than its bound, and nothing that was deleted', () => {
  const step = fc.record({ key: fc.integer({ min: 0, max: 20 }), remove: fc.boolean() });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 6 }), fc.array(step), (half, steps) => {
      const map = new RecentMap<number>(half * 2);
      let sets: { key: string; value: number | undefined }[] = [];
      steps.forEach(({ key, remove }, value) => {
        const name = String(key);
        if (remove) {
          map.delete(name);
          sets = sets.map((entry) => (entry.key === name ? { key: name, value: undefined } : entry));
          expect(map.get(name)).toBeUndefined();
        } else {
          map.set(name, value);
          sets = [...sets.filter((entry) => entry.key !== name), { key: name, value }];
        }
        for (const entry of sets.slice(-half)) expect(map.get(entry.key)).toBe(entry.value);
        expect(map.size).toBeLessThanOrEqual(half * 2);
      });
    }),
  );
});
