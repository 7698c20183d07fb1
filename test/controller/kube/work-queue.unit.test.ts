// The work queue: one worker per key, nothing lost, nothing done twice for nothing.
import { describe, expect, test } from '@jest/globals';
import { silentLogger } from '../../../src/lib/log.ts';
import { DONE, WorkQueue, type WorkOutcome, type WorkResult } from '../../../src/controller/kube/work-queue.ts';

function deferred(): { promise: Promise<void>; resolve: () => void } {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  return {
    promise,
    resolve: () => {
      resolve(undefined);
    },
  };
}

function queueOf(work: (key: string) => Promise<WorkOutcome> | WorkOutcome, workers = 2): WorkQueue {
  return new WorkQueue({ name: 'test', workers, work, log: silentLogger(), baseBackoffMs: 1, random: () => 0 });
}

describe('work queue', () => {
  test('does a key once however often it was added while it waited', async () => {
    const done: string[] = [];
    const queue = queueOf((key) => (done.push(key), DONE));
    for (let i = 0; i < 10; i++) queue.add(i % 2 === 0 ? 'a' : 'b');
    queue.start();
    await queue.whenIdle();
    expect(done).toEqual(['a', 'b']);
  });

  test('a key added during its work is worked on once more, never by two at a time', async () => {
    const gate = deferred();
    const entered = deferred();
    let running = 0;
    let most = 0;
    let times = 0;
    const queue = queueOf(async () => {
      most = Math.max(most, ++running);
      times++;
      entered.resolve();
      await gate.promise;
      running--;
      return DONE;
    }, 4);
    queue.start();
    queue.add('a');
    await entered.promise;
    for (let i = 0; i < 5; i++) queue.add('a');
    expect(queue.depth).toBe(1);
    gate.resolve();
    await queue.whenIdle();
    expect({ most, times }).toEqual({ most: 1, times: 2 });
  });

  test('different keys run side by side, up to the number of workers', async () => {
    const gate = deferred();
    const three = deferred();
    let running = 0;
    let most = 0;
    const queue = queueOf(async () => {
      most = Math.max(most, ++running);
      if (running === 3) three.resolve();
      await gate.promise;
      running--;
      return DONE;
    }, 3);
    queue.start();
    for (const key of ['a', 'b', 'c', 'd', 'e']) queue.add(key);
    await three.promise;
    expect(queue.depth).toBe(2);
    gate.resolve();
    await queue.whenIdle();
    expect(most).toBe(3);
  });

  test('a failed key is tried again until it succeeds, others are not held up', async () => {
    const results: WorkResult[] = [];
    const settled = deferred();
    let failures = 4;
    const queue = new WorkQueue({
      name: 'test',
      workers: 1,
      log: silentLogger(),
      baseBackoffMs: 1,
      work: (key) => {
        if (key === 'bad' && failures-- > 0) throw new Error('not yet');
        return DONE;
      },
      onWorked: (result) => {
        results.push(result);
        if (result.key === 'bad' && result.ok) settled.resolve();
      },
    });
    queue.start();
    queue.add('bad');
    queue.add('good');
    await settled.promise;
    expect(results.filter(({ key }) => key === 'bad').map(({ ok }) => ok)).toEqual([false, false, false, false, true]);
    expect(results[1]).toMatchObject({ key: 'good', ok: true });
    expect(queue.delayed).toBe(0);
  });

  test('of several times asked for, the earliest counts, and an add is now', async () => {
    const done: string[] = [];
    const queue = queueOf((key) => (done.push(key), DONE));
    queue.start();
    queue.addAfter('a', 60_000);
    queue.addAfter('a', 120_000);
    expect(queue.delayed).toBe(1);
    queue.add('a');
    await queue.whenIdle();
    expect(done).toEqual(['a']);
    expect(queue.delayed).toBe(0);
  });

  test('stop waits for running work, drops the rest and leaves no timer', async () => {
    const gate = deferred();
    const entered = deferred();
    const done: string[] = [];
    const queue = queueOf(async (key) => {
      entered.resolve();
      await gate.promise;
      done.push(key);
      return DONE;
    }, 1);
    queue.start();
    queue.add('a');
    queue.add('b');
    queue.addAfter('c', 60_000);
    await entered.promise;
    const stopped = queue.stop();
    queue.add('d');
    gate.resolve();
    await stopped;
    expect(done).toEqual(['a']);
    expect({ depth: queue.depth, delayed: queue.delayed }).toEqual({ depth: 0, delayed: 0 });
  });
});
