// Lines of statuses at the start of `weir standalone`: that no limiter is connected is printed when it lasts.
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { patientPrint } from '../../src/cli/patient-print.ts';

let lines: string[];
let print: (line: string) => void;

beforeEach(() => {
  jest.useFakeTimers();
  lines = [];
  print = patientPrint((line) => lines.push(line), 5_000);
});
afterEach(() => {
  jest.useRealTimers();
});

const NONE = 'ModelRoute t/a generation 1: NoLimiters: start one (0/0 limiters)';
const READY = 'ModelRoute t/a generation 2: Ready (1/1 limiters)';

test('a limiter that comes in time: nothing was wrong', () => {
  print(NONE);
  jest.advanceTimersByTime(4_999);
  print(READY);
  jest.advanceTimersByTime(60_000);
  expect(lines).toEqual([READY]);
});

test('no limiter: said once, after a while', () => {
  print(NONE);
  print('ModelRoute t/b generation 1: Ready (1/1 limiters)');
  print(NONE);
  jest.advanceTimersByTime(5_000);
  expect(lines).toEqual(['ModelRoute t/b generation 1: Ready (1/1 limiters)', NONE]);
});

test('every other line is printed at once, also one that is about no object', () => {
  print('ModelRoute t/a generation 1: Invalid: spec.x: NoLimiters is no word');
  print('manifests: 3 files');
  expect(lines).toHaveLength(2);
});
