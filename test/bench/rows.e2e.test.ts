// Benchmarks: every row's program still works. In: each row for a second, small; out: figures that can be figures.
// None of them is judged: a benchmark is no test.
import { describe, expect, test } from '@jest/globals';
import { benchApply } from '../../bench/apply.ts';
import { benchMemory } from '../../bench/memory.ts';
import { benchPush } from '../../bench/push.ts';
import { benchScale } from '../../bench/scale.ts';
import { CannotStart, findPrograms } from '../rig/dev/dev-stack.ts';
import { leaveOut } from '../../tools/node-cluster/leave-out.ts';

const missing = await findPrograms((line) => void process.stderr.write(`${line}\n`)).then(
  () => undefined,
  (error: unknown) => {
    if (error instanceof CannotStart) return error.message;
    throw error;
  },
);

const title = 'the rows of make bench';

function rows(): void {
  test('apply: every edit is acknowledged by every limiter', async () => {
    const result = await benchApply({ objects: 5, limiters: 2, seconds: 1 });
    expect(result.request.count).toBeGreaterThan(0);
    const { firstLimiterInForce, lastLimiterInForce, lastAckAtOperator, statusSaysAll } = result.fromAnswer;
    const order = [firstLimiterInForce, lastLimiterInForce, lastAckAtOperator, statusSaysAll].map(
      ({ worstMs }) => worstMs,
    );
    expect(order).toEqual(order.toSorted((a, b) => a - b));
  });

  test('memory: a limiter starts, and each caller has a bucket', async () => {
    const { starts, idle, withLiveKeys } = await benchMemory({ seconds: 0.1, keys: 100 });
    expect(starts).toBeGreaterThan(0);
    for (const { rssMiB, fileMiB } of [idle, withLiveKeys]) {
      expect(fileMiB).toBeGreaterThan(0);
      expect(rssMiB).toBeGreaterThan(fileMiB);
    }
  });

  test('scale: every limiter of every namespace acknowledges what is its own, the shared one all', async () => {
    const { tenth, whole, restart } = await benchScale({ namespaces: 3, objects: 10, limiters: 2, seconds: 1 });
    expect([tenth.objects, whole.objects, restart.objects]).toEqual([3, 30, 30]);
    for (const { connections, memoryMiB, fromSending } of [tenth, whole]) {
      expect(connections).toBe(3 * 2 + 1);
      expect(memoryMiB.peak).toBeGreaterThanOrEqual(memoryMiB.atRest);
      expect(fromSending.count).toBeGreaterThan(0);
    }
  }, 180_000);

  test('push: an edit is sent to each limiter once', async () => {
    const { count, sentPerEdit } = await benchPush({ objects: 5, limiters: 2, seconds: 0.2, mode: 'shared' });
    expect(count).toBeGreaterThan(0);
    expect(sentPerEdit).toBe(2);
  });
}

if (missing === undefined) describe(title, rows);
else leaveOut(title, missing, rows);
