// The Lua script and its typed side agree: the header of decide.lua is the specification of both, and its hash is pinned.
import { describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { WindowCalendar } from '../../src/limiter/store/calendar-window.ts';
import {
  CODE,
  decodeReply,
  encodeCall,
  markerKey,
  STATUS,
  type Operation,
} from '../../src/limiter/store/decide-script.ts';
import { loadScript } from '../../src/limiter/store/lua-script.ts';
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
    expect(sha).toBe('48e8aa34ddf7b8323b29c0db4481a16ec1c579c2');
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
      { kind: 'settle', reservation, deltas: [-1, 4], reservedAt: START },
    ];
    const { keys, program } = encodeCall('weir:{team}', operations, 123, START, new WindowCalendar());
    expect(keys).toEqual([one.key, day.key, `weir:{team}:settled:${reservation.id}`]);
    const edges = new WindowCalendar().edges({ kind: 'window', limit: 5, period: 'Day', timeZone: 'UTC' }, START);
    expect(doubles(program)).toEqual([
      ...[123, 2, 2, 2],
      ...[0, 7, 1, HOUR / 120],
      ...[1, 5, edges.length, ...edges],
      ...[CODE.reserve + 8 * 2, 0, 5, 2, 10, -9, 3],
      ...[CODE.settle + 8 * 2, 3, START, 0, 5, -1, 10, -9, 4],
    ]);
  });

  test('reads replies as the header says; a reply that is cut short is an error, not a decision', () => {
    const one = bucket(tokens(5, HOUR));
    const operations: Operation[] = [{ kind: 'peek', reservation: take([one, 9]) }];
    const packed = (...values: number[]): Buffer => Buffer.from(Float64Array.from(values).buffer);
    const read = (reply: Buffer): unknown => decodeReply(reply, operations, [one.key], new WindowCalendar());
    const reply = packed(STATUS.done, START, 1, 0, 0, 1, 1);
    expect(read(reply)).toEqual({
      status: 'done',
      nowMicros: START,
      results: [
        {
          outcome: 'refused',
          refusedBy: 0,
          states: [{ limit: 5, remaining: 5, resetMicros: 0, over: true, waitMicros: Infinity }],
        },
      ],
      broken: [one.key],
    });
    expect(() => read(reply.subarray(0, 24))).toThrow('out of range');
    expect(() => read(packed(STATUS.done, START, 0, 0, 0, 0))).toThrow('decided against the states');
    expect(read(packed(STATUS.late, START))).toEqual({ status: 'late', nowMicros: START });
  });

  test('what is ahead of the clock, and several claims on one bucket, are counted on as the header says', () => {
    const one = bucket(tokens(5, HOUR));
    const shadow = bucket(one.rule, one.key, true);
    const operations: Operation[] = [{ kind: 'reserve', reservation: take([one, 2], [shadow, 3]) }];
    const { program } = encodeCall('weir:{team}', operations, 0, START, new WindowCalendar());
    expect(doubles(program)[8]).toBe(CODE.reserve + 4 + 8 * 2);
    const reply = Buffer.from(Float64Array.from([STATUS.done, START, 2, 1, 7, 500, 1, 7, 500, 0]).buffer);
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
    expect(decodeReply(reply, operations, [one.key], new WindowCalendar())).toMatchObject({ results: [decision] });
  });

  test('the marker of an unsafe id is a hash, and no two ids share one', () => {
    expect(markerKey('weir:{a}', 'report', 'plain-1_A')).toBe('weir:{a}:reported:plain-1_A');
    const ids = ['h:x', 'a b', 'a}b', '', 'ü', 'x'.repeat(65)];
    const keys = ids.map((id) => markerKey('weir:{a}', 'settle', id));
    expect(new Set(keys).size).toBe(ids.length);
    for (const key of keys) expect(key).toMatch(/^weir:\{a\}:settled:h:[\w-]{43}$/);
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
