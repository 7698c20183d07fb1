// The table of what is in force: which limiters count for a resource, and for how long one that was lost does.
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { AckTable } from '../../../src/controller/push/ack-table.ts';
import type { LimiterView } from '../../../src/controller/push/visibility.ts';

const NAME = 'ModelRoute/a/r';
const OTHER = 'ModelRoute/b/r';
const shared = (namespaces: 'all' | string[] = 'all'): LimiterView => ({ kind: 'shared', namespaces });
const sidecar = (uid: string): LimiterView => ({
  kind: 'pod',
  pod: { namespace: 'a', name: uid, uid, labels: {} },
});
const none = new Map<string, string>();

let table: AckTable;
let announced: string[][];

beforeEach(() => {
  jest.useFakeTimers();
  announced = [];
  table = new AckTable((view) => (view.kind === 'shared' && view.namespaces === 'all' ? [NAME, OTHER] : [NAME]));
  table.subscribe((names) => announced.push([...names].sort()));
});
afterEach(() => {
  jest.useRealTimers();
});

function heard(): string[][] {
  jest.advanceTimersByTime(0);
  return announced.splice(0);
}

describe('a resource has the states', () => {
  test('of the shared limiters of its namespace, also of those that said nothing yet', () => {
    table.connect('all', shared(), none);
    table.connect('a', shared(['a']), none);
    table.connect('b', shared(['b']), none);
    expect(table.statesOf(NAME).map(({ limiter }) => limiter.id)).toEqual(['all', 'a']);
    expect(table.statesOf('Fleet/-/-')).toHaveLength(3);
  });

  test('of the sidecars that were sent it or brought it along, and of no others', () => {
    table.connect('p1', sidecar('p1'), new Map([[NAME, 'v1']]));
    table.connect('p2', sidecar('p2'), none).sent(NAME, 'v2');
    table.connect('p3', sidecar('p3'), none);
    const states = table.statesOf(NAME).map(({ limiter, ackedVersion, sentVersion }) => ({
      id: limiter.id,
      ackedVersion,
      sentVersion,
    }));
    expect(states).toEqual([
      { id: 'p1', ackedVersion: 'v1', sentVersion: undefined },
      { id: 'p2', ackedVersion: undefined, sentVersion: 'v2' },
    ]);
  });
});

describe('changes are announced', () => {
  test('once for many answers', () => {
    const stream = table.connect('l', shared(), none);
    heard();
    stream.sent(NAME, 'v');
    stream.acked(NAME, 'v');
    stream.rejected(OTHER, 'v', 'no');
    expect(heard()).toEqual([[NAME, OTHER]]);
    expect(heard()).toEqual([]);
  });

  test('for all that a limiter sees when it comes or goes', () => {
    const stream = table.connect('l', shared(), none);
    expect(heard()).toEqual([[NAME, OTHER]]);
    stream.end('goodbye');
    expect(heard()).toEqual([[NAME, OTHER]]);
    expect(table.statesOf(NAME)).toEqual([]);
  });

  test('not for a limiter that reconnects at once with what it had', () => {
    table.connect('l', shared(), new Map([[NAME, 'v1']])).end('lost');
    heard();
    jest.advanceTimersByTime(500);
    table.connect('l', shared(), new Map([[NAME, 'v1']]));
    jest.advanceTimersByTime(5_000);
    expect(heard()).toEqual([]);
    table.connect('l', shared(), new Map([[NAME, 'v2']]));
    expect(heard()).toEqual([[NAME]]);
  });
});

describe('a lost limiter', () => {
  test('stays connected for a second, seen for a minute, and is then forgotten', () => {
    const stream = table.connect('l', shared(), new Map([[NAME, 'v1']]));
    stream.end('lost');
    expect(table.count()).toEqual({ connected: 1, known: 1 });
    jest.advanceTimersByTime(1_000);
    expect(table.count()).toEqual({ connected: 0, known: 1 });
    expect(table.statesOf(NAME)).toMatchObject([{ limiter: { connected: false }, ackedVersion: 'v1' }]);
    heard();
    jest.advanceTimersByTime(58_999);
    expect(table.limiters()).toHaveLength(1);
    jest.advanceTimersByTime(1);
    expect(table.limiters()).toEqual([]);
    expect(heard()).toEqual([[NAME, OTHER]]);
  });

  test('that comes back under its id replaces itself, and its former stream is not listened to', () => {
    const old = table.connect('l', shared(), none);
    old.end('lost');
    jest.advanceTimersByTime(30_000);
    table.connect('l', shared(), none);
    old.acked(NAME, 'v1');
    old.end('goodbye');
    jest.advanceTimersByTime(60_000);
    expect(table.limiters()).toMatchObject([{ id: 'l', connected: true }]);
    expect(table.statesOf(NAME)[0]?.ackedVersion).toBeUndefined();
  });

  test('is told to those who count the fleet: when it comes, is lost, is forgotten', () => {
    let calls = 0;
    table.subscribeFleet(() => (calls += 1));
    const stream = table.connect('l', shared(), none);
    stream.end('lost');
    expect(calls).toBe(1);
    jest.advanceTimersByTime(60_000);
    expect(calls).toBe(3);
  });
});

test('a sidecar that dropped a resource has no state of it', () => {
  const stream = table.connect('p', sidecar('p'), new Map([[NAME, 'v']]));
  stream.removed(NAME);
  expect(table.statesOf(NAME)).toEqual([]);
});
