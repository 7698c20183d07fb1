// Shares of the event loop: one slice of long work in a turn, first come first served.
import { expect, test } from '@jest/globals';
import { Slots } from '../../src/lib/slots.ts';
import { nextTurn } from '../../src/lib/turns.ts';

test('of all who wait, one goes on in a turn, in their order', async () => {
  let turn = 0;
  let isOver = false;
  const count = (): void => {
    turn += 1;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  const seen: [number, number][] = [];
  await Promise.all(
    Array.from({ length: 20 }, async (_task, task) => {
      for (let slice = 0; slice < 3; slice += 1) {
        await nextTurn();
        seen.push([turn, task]);
      }
    }),
  );
  isOver = true;
  expect(new Set(seen.map(([at]) => at)).size).toBe(seen.length);
  expect(seen.map(([, task]) => task)).toEqual([...Array(60).keys()].map((index) => index % 20));
});

test('no more than its slots work at once, and a task that fails gives its slot back', async () => {
  const slots = new Slots(2);
  let [running, most] = [0, 0];
  const work = async (fails: boolean): Promise<void> => {
    running += 1;
    most = Math.max(most, running);
    await nextTurn();
    running -= 1;
    if (fails) throw new Error('it failed');
  };
  const results = await Promise.allSettled(
    Array.from({ length: 9 }, (_task, task) => slots.run(() => work(task % 3 === 0))),
  );
  expect(most).toBe(2);
  expect(results.filter(({ status }) => status === 'rejected')).toHaveLength(3);
});
