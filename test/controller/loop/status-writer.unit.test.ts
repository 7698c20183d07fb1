// When a status is written. A sink stands in for the API server here: what is asked is the time and number of writes.
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import type { StoredObject } from '../../../src/controller/kube/kube-types.ts';
import type { Leadership } from '../../../src/controller/election/leadership.ts';
import type { StatusSink, WriteResult } from '../../../src/controller/provider/provider.ts';
import {
  StatusWriter,
  type StatusSubmission,
  type StatusWriterSettings,
} from '../../../src/controller/loop/status-writer.ts';
import { silentLogger } from '../../../src/lib/log.ts';
import type { ObjectStatus } from '../../../src/reconcile/types.ts';

const STEP_MS = 5;
const DEADLINE_MS = 5000;
const NAME = 'ModelRoute/default/chat';

interface Write {
  readonly summary: string;
  readonly atMs: number;
}

let writer: StatusWriter | undefined;

beforeEach(() => {
  jest.useFakeTimers();
});
afterEach(async () => {
  await writer?.stop();
  writer = undefined;
  jest.useRealTimers();
});

/** Lets time pass until there is something to see. */
async function until<T>(what: string, look: () => T | undefined): Promise<T> {
  for (let waitedMs = 0; waitedMs < DEADLINE_MS; waitedMs += STEP_MS) {
    const seen = look();
    if (seen !== undefined) return seen;
    await jest.advanceTimersByTimeAsync(STEP_MS);
  }
  throw new Error(`${what}: not within ${DEADLINE_MS} ms`);
}

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
  const sink: Pick<StatusSink, 'write'> = {
    write: (_object, status) => {
      writes.push({ summary: status.limiters.summary, atMs: performance.now() });
      return new Promise((resolve) => {
        resolve(write(status));
      });
    },
  };
  const leadership: Leadership = { isLeader: () => true, deadlineMs: () => Infinity, onChange: jest.fn() };
  const made = new StatusWriter({
    sink,
    leadership,
    log: silentLogger(),
    onOutdated: (name) => outdated.push(name),
    onChanged: (_name, _object, changed) => told.push(...changed.map(({ reason }) => reason)),
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
    await until('the first write', () => writes[0]);
    writer.submit(NAME, submission(statusOf(1, 1, 2), statusOf(1, 1)));
    await until('the second write', () => writes[1]);
    expect(performance.now() - beganMs).toBeLessThan(300);
    expect(told).toHaveLength(2);
  });

  test('an edit waits a moment for the answers, so that one write tells both', async () => {
    const { writer, writes } = make();
    writer.submit(NAME, submission(statusOf(0, 2), undefined));
    writer.submit(NAME, submission(statusOf(1, 2), undefined));
    writer.submit(NAME, submission(statusOf(2, 2), undefined));
    await until('the write', () => writes[0]);
    expect(writes.map(({ summary }) => summary)).toEqual(['2/2']);
  });

  test('an edit whose limiters do not answer is told all the same, when the moment is over', async () => {
    const { writer, writes } = make();
    const beganMs = performance.now();
    writer.submit(NAME, submission(statusOf(0, 2), undefined));
    const { summary, atMs } = await until('the write', () => writes[0]);
    expect(summary).toBe('0/2');
    expect(atMs - beganMs).toBeGreaterThanOrEqual(149);
  });

  test('limiters that come and go cost one write per interval, and the newest is what is told', async () => {
    const { writer, writes } = make();
    writer.submit(NAME, submission(statusOf(1, 1), undefined));
    const first = await until('the first write', () => writes[0]);
    for (let synced = 2; synced <= 20; synced++) writer.submit(NAME, submission(statusOf(synced, 20), statusOf(1, 1)));
    const second = await until('the second write', () => writes[1]);
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
    await until('a question', () => (asked >= 1 ? asked : undefined));
    writer.recheck(NAME);
    await until('another', () => (asked >= 2 ? asked : undefined));
    expect(writes).toEqual([]);
    isKept = true;
    writer.recheck(NAME);
    await until('the write', () => writes[0]);
  });

  test('what became true meanwhile is not written', async () => {
    const { writer, writes } = make();
    writer.submit(NAME, submission(statusOf(0, 2), undefined));
    writer.cancel(NAME);
    writer.submit('ModelRoute/default/other', submission(statusOf(1, 1), undefined));
    await until('the other write', () => writes[0]);
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
    await until('the Event', () => told[0]);
    expect(writes).toHaveLength(3);
    expect(told).toEqual(['Programmed']);
  });

  test('an object that has changed since is looked at again, and nothing is told', async () => {
    const { writer, told, outdated } = make(() => 'outdated');
    writer.submit(NAME, submission(statusOf(1, 1), undefined));
    await until('the call', () => outdated[0]);
    expect({ outdated, told, depth: writer.depth }).toEqual({ outdated: [NAME], told: [], depth: 0 });
  });

  test('who does not hold the lease writes nothing', async () => {
    let isLeader = false;
    const leadership: Leadership = { isLeader: () => isLeader, deadlineMs: () => 0, onChange: jest.fn() };
    const { writer, writes } = make(undefined, { leadership });
    writer.submit(NAME, submission(statusOf(1, 1), undefined));
    await jest.advanceTimersByTimeAsync(1000);
    expect(writes).toEqual([]);
    isLeader = true;
    writer.submit(NAME, submission(statusOf(2, 2), undefined));
    const { summary } = await until('the write', () => writes[0]);
    expect(summary).toBe('2/2');
  });

  test('after a start only edits are written until limiters had time to come back', async () => {
    let quietUntilMs = Infinity;
    const { writer, writes } = make(undefined, { quietUntilMs: () => quietUntilMs });
    writer.submit(NAME, submission(statusOf(0, 0), statusOf(2, 2)));
    writer.submit('ModelRoute/default/edited', submission(statusOf(1, 1, 2), statusOf(1, 1)));
    await until('the edit', () => writes[0]);
    expect(writes.map(({ summary }) => summary)).toEqual(['1/1']);
    quietUntilMs = performance.now();
    await until('the other', () => writes[1]);
    expect(writes[1]?.summary).toBe('0/0');
  });
});
