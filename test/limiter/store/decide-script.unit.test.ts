// The Lua script and its typed side agree: the header of decide.lua is the specification of both, and its hash is
// pinned.
import { describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { WindowCalendar } from '../../../src/limiter/store/rule/calendar-window.ts';
import {
  CODE,
  decodeReply,
  encodeCall,
  markerOf,
  STATUS,
  type Operation,
} from '../../../src/limiter/store/decide-script.ts';
import { loadScript } from '../../../src/limiter/store/lua-script.ts';
import type { BucketRef, StoreDecision } from '../../../src/limiter/store/store.ts';
import { START } from './contract.ts';
import { bucket, HOUR, newKey, take, tokens, window } from './fixtures.ts';

const { source, sha } = loadScript('decide');
const header = readFileSync('src/limiter/store/lua/decide.lua', 'utf8').split('\n\n-- include')[0]!;

/** `0 reserve, 1 peek` in the header. */
function numbered(line: string): Record<string, number> {
  const words = [
    ...header
      .split(line)[1]!
      .split('\n')
      .slice(0, 2)
      .join(' ')
      .matchAll(/(\d) ([a-z]+)/g),
  ];
  return Object.fromEntries(words.map(([, number, word]) => [word!, Number(number)]));
}

const doubles = (bytes: Buffer): number[] =>
  Array.from({ length: bytes.length / 8 }, (_, index) => bytes.readDoubleLE(index * 8));

describe('decide.lua', () => {
  test('is the text that was reviewed: a change of the script changes this line too', () => {
    expect(sha).toBe('591a465abb51b901b042d88c9cc86cebb8b60880');
  });

  test('has all its includes, and numbers codes and states as the typed side does', () => {
    expect(source).not.toMatch(/^-- include/m);
    expect(numbered('each operation:')).toMatchObject(CODE);
    expect(numbered('  status ')).toMatchObject(STATUS);
  });

  test('calls the commands that its header names, and no other', () => {
    const named = /Commands: ([A-Z ]+?),/.exec(header)![1]!.split(' ').sort();
    const called = new Set([...source.matchAll(/\bcall\('([A-Z]+)'/g)].map(([, command]) => command));
    expect([...called].sort()).toEqual(named);
  });

  test('packs a call as the header says', () => {
    const one = bucket(tokens(120, HOUR, 7), 'weir:{team}:one');
    const day = bucket(window(5, 'Day'), 'weir:{team}:day', true);
    const reservation = take([one, 2], [day, 3]);
    const operations: Operation[] = [
      { kind: 'reserve', reservation },
      { kind: 'settle', reservation, deltas: [-1, 4], reservedAt: START, owner: 'o' },
    ];
    const { keys, program } = encodeCall('weir:{team}', operations, 123, START, new WindowCalendar());
    expect(keys).toEqual([one.key, day.key, `weir:{team}:settled:${reservation.id}`]);
    const edges = new WindowCalendar().edges({ kind: 'window', limit: 5, period: 'Day', timeZone: 'UTC' }, START);
    expect(doubles(program)).toEqual([
      ...[123, 2, 2, 3],
      ...[0, 7, 1, HOUR / 120],
      ...[1, 5, edges.length, ...edges],
      ...[5, -9],
      ...[CODE.reserve + 8 * 2, 1, 2, 2, 3],
      ...[CODE.settle + 8 * 2, 3, -1, START, 1, -1, 5, 2, 4, -9],
      // What the buckets are after it.
      ...[CODE.peek + 4 + 8 * 2, 1, 2, 5, 2, 3, -9],
    ]);
  });

  test('asks to be told where it cannot count on: another rule, twice in one reservation, after an adjustment', () => {
    const one = bucket(tokens(9, HOUR), 'weir:{team}:one');
    const edited = bucket(tokens(8, HOUR), one.key);
    const other = bucket(one.rule, 'weir:{team}:other');
    const reserve = (...takes: (readonly [BucketRef, number])[]): Operation => ({
      kind: 'reserve',
      reservation: take(...takes),
    });
    const report: Operation = { kind: 'report', reservation: take([one, 1], [other, 0]) };
    const heads = (...operations: Operation[]): boolean[] => {
      const { body } = encodeCall('weir:{team}', operations, 0, START, new WindowCalendar());
      const told: boolean[] = [];
      for (let at = 0; at < body.length;) {
        const [code, takes] = [body[at]! % 8, Math.floor(body[at]! / 8)];
        if (code < 2) told.push(false);
        if (code >= 4) told.push(true);
        at += code < 2 ? 1 + 2 * takes : (code >= 4 ? 1 : 4) + 3 * takes;
      }
      return told;
    };
    expect(heads(reserve([one, 1]), reserve([one, 1], [other, 1]))).toEqual([false, false]);
    expect(heads(reserve([one, 1]), reserve([edited, 1]), reserve([edited, 1]))).toEqual([false, true, false]);
    expect(heads(reserve([one, 1], [one, 1]), reserve([one, 1]))).toEqual([true, false]);
    // A report is followed by a look at its buckets, which is told; what comes then counts on from there.
    expect(heads(report, reserve([one, 1]), reserve([one, 1]))).toEqual([true, false, false]);
    expect(heads(report, reserve([other, 1]))).toEqual([true, false]);
  });

  test('reads replies as the header says; a reply that is cut short is an error, not a decision', () => {
    const one = bucket(tokens(5, HOUR));
    const operations: Operation[] = [{ kind: 'peek', reservation: take([one, 9]) }];
    const packed = (...values: number[]): Buffer => Buffer.from(Float64Array.from(values).buffer);
    const call = encodeCall('weir:{team}', operations, 0, START, new WindowCalendar());
    const read = (reply: Buffer): unknown => decodeReply(reply, call, new WindowCalendar());
    const reply = packed(STATUS.done, START, 0, 0, 0, 1, 1, 1);
    expect(read(reply)).toEqual({
      status: 'done',
      nowMicros: START,
      results: [
        {
          outcome: 'refused',
          atMicros: START,
          refusedBy: 0,
          states: [{ limit: 5, remaining: 5, resetMicros: 0, over: true, waitMicros: Infinity }],
        },
      ],
      broken: [one.key],
    });
    for (let length = 0; length < reply.length; length += 4)
      expect(() => read(reply.subarray(0, length))).toThrow('too short');
    expect(() => read(packed(STATUS.done, START, 0, 0, 0, 0, 0))).toThrow('decided against the states');
    expect(read(packed(STATUS.late, START))).toEqual({ status: 'late', nowMicros: START });
  });

  test('what is ahead of the clock, and several takes on one bucket, are counted on as the header says', () => {
    const one = bucket(tokens(5, HOUR));
    const shadow = bucket(one.rule, one.key, true);
    const operations: Operation[] = [{ kind: 'reserve', reservation: take([one, 2], [shadow, 3]) }];
    const call = encodeCall('weir:{team}', operations, 0, START, new WindowCalendar());
    expect(call.body).toEqual([CODE.reserve + 4 + 8 * 2, 1, 2, 5, 1, 3, -5]);
    const seenFirst = [1, 7, 1, 1, 500];
    const reply = Buffer.from(Float64Array.from([STATUS.done, START, ...seenFirst, 0, 1, 7, 500, 1, 7, 500, 0]).buffer);
    const decision = {
      outcome: 'admitted',
      states: [
        { limit: 5, remaining: 0, resetMicros: 6 * 720_000_000 - 7 + 500, over: false, waitMicros: 0 },
        {
          limit: 5,
          remaining: 0,
          resetMicros: 6 * 720_000_000 - 7 + 500,
          over: true,
          waitMicros: 720_000_000 - 7 + 500,
        },
      ],
    };
    expect(decodeReply(reply, call, new WindowCalendar())).toMatchObject({ results: [decision] });
  });

  test('counts on from what was used when a bucket was seen first', () => {
    const one = bucket(tokens(5, HOUR));
    const operations = [1, 2, 3, 2].map((amount): Operation => ({ kind: 'reserve', reservation: take([one, amount]) }));
    const call = encodeCall('weir:{team}', operations, 0, START, new WindowCalendar());
    // Used 0, carry 0, none ahead; the third does not fit; none broken.
    const reply = Buffer.from(Float64Array.from([STATUS.done, START, 0, 0, 0, 0, 0, 1, 0, 0]).buffer);
    const { results } = decodeReply(reply, call, new WindowCalendar()) as { results: readonly StoreDecision[] };
    expect(results.map(({ states }) => states[0]?.remaining)).toEqual([4, 2, 2, 0]);
  });

  test('the marker of an unsafe id is a hash, and no two ids share one', () => {
    const plain = markerOf('weir:{a}', 'report', { id: 'plain-1_A', takes: [] });
    expect(plain).toEqual({ key: 'weir:{a}:reported:plain-1_A', bit: -1 });
    const ids = ['h:x', 'a b', 'a}b', '', 'ü', 'x'.repeat(65)];
    const keys = ids.map((id) => markerOf('weir:{a}', 'settle', { id, takes: [] }).key);
    expect(new Set(keys).size).toBe(ids.length);
    for (const key of keys) expect(key).toMatch(/^weir:\{a\}:settled:h:[\w-]{43}$/);
  });

  test('trap 54: settlements with serials share keys; each has a bit of its own', () => {
    const one = bucket(tokens(5, HOUR));
    const operations = [511, 512, 513].map((serial): Operation => ({
      kind: 'settle',
      reservation: { ...take([one, 1]), serial },
      deltas: [-1],
      reservedAt: START,
      owner: 'o',
    }));
    const { keys, body } = encodeCall('weir:{team}', operations, 0, START, new WindowCalendar());
    expect(keys).toEqual([one.key, 'weir:{team}:settled:o:0', 'weir:{team}:settled:o:1']);
    const length = body.length / 3;
    expect([0, 1, 2].map((index) => body.slice(index * length + 1, index * length + 3))).toEqual([
      [2, 511],
      [3, 0],
      [3, 1],
    ]);
  });

  test('trap 32: keys that differ are different buckets, however they are cut', () => {
    const rule = tokens(1, HOUR);
    const keys = [newKey(), newKey()];
    const call = encodeCall(
      'weir:{team}',
      keys.map((key) => ({ kind: 'peek', reservation: take([bucket(rule, key), 1]) })),
      0,
      START,
      new WindowCalendar(),
    );
    expect(call.keys).toEqual(keys);
  });
});
