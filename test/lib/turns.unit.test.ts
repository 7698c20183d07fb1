// Shares of the event loop: one slice of long work in a turn, first come first served.
import { describe, expect, test } from '@jest/globals';
import { Slots } from '../../src/lib/slots.ts';
import { nextTurn, Starts } from '../../src/lib/turns.ts';

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

describe('tasks that come many at once', () => {
  /** Runs `begin` for each group as often as it says. @returns the groups in the order in which they began, by turns */
  async function turnsOf(
    perTurn: number,
    groups: readonly (readonly [name: string, tasks: number])[],
  ): Promise<string[]> {
    const starts = new Starts(perTurn);
    const turns: string[][] = [[]];
    let left = 0;
    for (const [name, tasks] of groups) {
      const group = { name };
      left += tasks;
      for (let task = 0; task < tasks; task += 1) {
        starts.begin(group, () => {
          turns.at(-1)?.push(name);
          left -= 1;
        });
      }
    }
    while (left > 0) {
      turns.push([]);
      await new Promise(setImmediate);
    }
    return turns.map((names) => names.join(''));
  }

  test('begin at once as long as they are few', async () => {
    expect(await turnsOf(8, [['a', 8]])).toEqual(['aaaaaaaa']);
  });

  test('begin over several turns, in order, one of each group after the other', async () => {
    expect(
      await turnsOf(3, [
        ['a', 7],
        ['b', 2],
        ['c', 1],
      ]),
    ).toEqual(['aaa', 'abc', 'aba', 'a']);
  });

  test('of a group that is forgotten never begin, and others do not wait for them', async () => {
    const starts = new Starts(1);
    const [gone, other] = [{}, {}];
    const seen: string[] = [];
    for (let task = 0; task < 1000; task += 1) starts.begin(gone, () => seen.push('gone'));
    starts.begin(other, () => seen.push('other'));
    starts.forget(gone);
    await new Promise(setImmediate);
    expect(seen).toEqual(['gone', 'other']);
    starts.begin(gone, () => seen.push('again'));
    await new Promise(setImmediate);
    expect(seen).toEqual(['gone', 'other', 'again']);
  });

  test('that begin more of them go on in a later turn', async () => {
    const starts = new Starts(2);
    const seen: number[] = [];
    const begin = (task: number): void => {
      starts.begin(starts, () => {
        seen.push(task);
        if (task < 10) begin(task + 1);
      });
    };
    begin(1);
    expect(seen).toEqual([1, 2]);
    await new Promise(setImmediate);
    expect(seen).toEqual([1, 2, 3, 4]);
  });
});
