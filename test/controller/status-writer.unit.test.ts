// When a status is written. A sink stands in for the API server here: what is asked is the time and number of writes.
import { afterEach, describe, expect, jest, test } from '@jest/globals';
import type { StoredObject } from '../../src/controller/kube-types.ts';
import type { Leadership } from '../../src/controller/leadership.ts';
import type { StatusSink, WriteResult } from '../../src/controller/provider.ts';
import { StatusWriter, type StatusSubmission, type StatusWriterSettings } from '../../src/controller/status-writer.ts';
import { silentLogger } from '../../src/lib/log.ts';
import type { ObjectStatus } from '../../src/reconcile/types.ts';
import { waitFor } from '../cluster/wait.ts';

const SOON = { deadlineMs: 5000, everyMs: 5 };
const NAME = 'ModelRoute/default/chat';

interface Write {
  readonly summary: string;
  readonly atMs: number;
}

let writer: StatusWriter | undefined;

afterEach(async () => {
  await writer?.stop();
  writer = undefined;
});

function statusOf(synced: number, desired: number, observedGeneration = 1): ObjectStatus {
  return {
    observedGeneration,
    configVersion: `v${observedGeneration}`,
    limitCount: 1,
    toolCount: 0,
    limiters: { desired, synced, rejected: 0, summary: `${synced}/${desired}` },
    limits: [],
    unlimitedPods: { count: 0, names: [] },
    conditions: [],
  };
}

function submission(status: ObjectStatus, said: ObjectStatus | undefined, reason = 'Programmed'): StatusSubmission {
  const object: StoredObject = {
    kind: 'ModelRoute',
    metadata: { name: 'chat', namespace: 'default', generation: status.observedGeneration },
    ...(said === undefined ? {} : { status: said }),
  };
  const lastTransitionTime = '2026-01-01T00:00:00Z';
  const { observedGeneration } = status;
  const change = {
    type: 'Programmed',
    status: 'True',
    reason,
    message: '',
    lastTransitionTime,
    observedGeneration,
  } as const;
  return { object, status, changedReasons: [change] };
}

function make(
  write: (status: ObjectStatus) => WriteResult = () => 'written',
  more: Partial<StatusWriterSettings> = {},
): { writer: StatusWriter; writes: Write[]; told: string[]; outdated: string[] } {
  const writes: Write[] = [];
  const told: string[] = [];
  const outdated: string[] = [];
  const sink: StatusSink = {
    write: (_object, status) => {
      writes.push({ summary: status.limiters.summary, atMs: performance.now() });
      return new Promise((resolve) => {
        resolve(write(status));
      });
    },
    tell: (_object, { reason }) => told.push(reason),
  };
  const leadership: Leadership = { isLeader: () => true, deadlineMs: () => Infinity, onChange: jest.fn() };
  const made = new StatusWriter({
    sink,
    leadership,
    log: silentLogger(),
    onOutdated: (name) => outdated.push(name),
    minIntervalMs: 300,
    settleMs: 150,
    ...more,
  });
  made.start();
  writer = made;
  return { writer: made, writes, told, outdated };
}

describe('status writer', () => {
  test('an edit whose limiters have answered is written at once, also right after another write', async () => {
    const { writer, writes, told } = make();
    const beganMs = performance.now();
    writer.submit(NAME, submission(statusOf(1, 1), undefined));
    await waitFor('the first write', () => writes[0], SOON);
    writer.submit(NAME, submission(statusOf(1, 1, 2), statusOf(1, 1)));
    await waitFor('the second write', () => writes[1], SOON);
    expect(performance.now() - beganMs).toBeLessThan(300);
    expect(told).toHaveLength(2);
  });

  test('an edit waits a moment for the answers, so that one write tells both', async () => {
    const { writer, writes } = make();
    writer.submit(NAME, submission(statusOf(0, 2), undefined));
    writer.submit(NAME, submission(statusOf(1, 2), undefined));
    writer.submit(NAME, submission(statusOf(2, 2), undefined));
    await waitFor('the write', () => writes[0], SOON);
    expect(writes.map(({ summary }) => summary)).toEqual(['2/2']);
  });

  test('an edit whose limiters do not answer is told all the same, when the moment is over', async () => {
    const { writer, writes } = make();
    const beganMs = performance.now();
    writer.submit(NAME, submission(statusOf(0, 2), undefined));
    const { summary, atMs } = await waitFor('the write', () => writes[0], SOON);
    expect(summary).toBe('0/2');
    expect(atMs - beganMs).toBeGreaterThanOrEqual(149);
  });

  test('limiters that come and go cost one write per interval, and the newest is what is told', async () => {
    const { writer, writes } = make();
    writer.submit(NAME, submission(statusOf(1, 1), undefined));
    const first = await waitFor('the first write', () => writes[0], SOON);
    for (let synced = 2; synced <= 20; synced++) writer.submit(NAME, submission(statusOf(synced, 20), statusOf(1, 1)));
    const second = await waitFor('the second write', () => writes[1], SOON);
    expect(second.summary).toBe('20/20');
    expect(second.atMs - first.atMs).toBeGreaterThanOrEqual(299);
    expect(writes).toHaveLength(2);
  });

  test('nothing is told before it may be: a crash must not take back what a status says', async () => {
    let isKept = false;
    let asked = 0;
    const mayWrite = (): boolean => {
      asked++;
      return isKept;
    };
    const { writer, writes } = make(undefined, { mayWrite });
    writer.submit(NAME, submission(statusOf(1, 1), undefined));
    await waitFor('a question', () => (asked >= 1 ? asked : undefined), SOON);
    writer.recheck(NAME);
    await waitFor('another', () => (asked >= 2 ? asked : undefined), SOON);
    expect(writes).toEqual([]);
    isKept = true;
    writer.recheck(NAME);
    await waitFor('the write', () => writes[0], SOON);
  });

  test('what became true meanwhile is not written', async () => {
    const { writer, writes } = make();
    writer.submit(NAME, submission(statusOf(0, 2), undefined));
    writer.cancel(NAME);
    writer.submit('ModelRoute/default/other', submission(statusOf(1, 1), undefined));
    await waitFor('the other write', () => writes[0], SOON);
    expect(writer.depth).toBe(0);
    expect(writes.map(({ summary }) => summary)).toEqual(['1/1']);
  });

  test('a write that failed is tried again with the newest status; the Event comes once, after it', async () => {
    let failures = 2;
    const { writer, writes, told } = make(() => {
      if (failures-- > 0) throw new Error('no answer');
      return 'written';
    });
    writer.submit(NAME, submission(statusOf(1, 1), undefined));
    await waitFor('the Event', () => told[0], SOON);
    expect(writes).toHaveLength(3);
    expect(told).toEqual(['Programmed']);
  });

  test('an object that has changed since is looked at again, and nothing is told', async () => {
    const { writer, told, outdated } = make(() => 'outdated');
    writer.submit(NAME, submission(statusOf(1, 1), undefined));
    await waitFor('the call', () => outdated[0], SOON);
    expect({ outdated, told, depth: writer.depth }).toEqual({ outdated: [NAME], told: [], depth: 0 });
  });

  test('who does not hold the lease writes nothing', async () => {
    let isLeader = false;
    const leadership: Leadership = { isLeader: () => isLeader, deadlineMs: () => 0, onChange: jest.fn() };
    const { writer, writes } = make(undefined, { leadership });
    writer.submit(NAME, submission(statusOf(1, 1), undefined));
    await new Promise((resolve) => setImmediate(() => setImmediate(() => setImmediate(resolve))));
    expect(writes).toEqual([]);
    isLeader = true;
    writer.submit(NAME, submission(statusOf(2, 2), undefined));
    const { summary } = await waitFor('the write', () => writes[0], SOON);
    expect(summary).toBe('2/2');
  });

  test('after a start only edits are written until limiters had time to come back', async () => {
    let quietUntilMs = Infinity;
    const { writer, writes } = make(undefined, { quietUntilMs: () => quietUntilMs });
    writer.submit(NAME, submission(statusOf(0, 0), statusOf(2, 2)));
    writer.submit('ModelRoute/default/edited', submission(statusOf(1, 1, 2), statusOf(1, 1)));
    await waitFor('the edit', () => writes[0], SOON);
    expect(writes.map(({ summary }) => summary)).toEqual(['1/1']);
    quietUntilMs = performance.now();
    await waitFor('the other', () => writes[1], SOON);
    expect(writes[1]?.summary).toBe('0/0');
  });
});
