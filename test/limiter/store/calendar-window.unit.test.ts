// Calendar windows: aligned to local time, without gaps, whatever the zone's clocks do.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { WindowPeriod } from '../../../src/contract/limiter-config.ts';
import { WindowCalendar } from '../../../src/limiter/store/rule/calendar-window.ts';
import { window } from './fixtures.ts';

const ZONES = ['UTC', 'Europe/Berlin', 'America/New_York', 'Asia/Kolkata', 'Australia/Lord_Howe', 'Pacific/Apia'];
const PERIODS: readonly WindowPeriod[] = ['Second', 'Minute', 'Hour', 'Day', 'Week', 'Month', 'Year'];
const micros = (text: string): number => Date.parse(text) * 1000;
const iso = (at: number): string => new Date(at / 1000).toISOString().slice(0, 16);

function spanOf(period: WindowPeriod, zone: string, at: string): string[] {
  const { start, end } = new WindowCalendar().find(window(1, period, zone), micros(at));
  return [iso(start), iso(end)];
}

describe('calendar windows', () => {
  test.each([
    ['Hour', 'Australia/Lord_Howe', '2035-03-31T14:40:00Z', '2035-03-31T14:00', '2035-03-31T15:00'],
    ['Hour', 'Australia/Lord_Howe', '2035-03-31T15:10:00Z', '2035-03-31T15:00', '2035-03-31T15:30'],
    ['Hour', 'America/New_York', '2035-11-04T05:30:00Z', '2035-11-04T05:00', '2035-11-04T06:00'],
    ['Hour', 'America/New_York', '2035-11-04T06:30:00Z', '2035-11-04T06:00', '2035-11-04T07:00'],
    ['Day', 'Europe/Berlin', '2035-03-25T12:00:00Z', '2035-03-24T23:00', '2035-03-25T22:00'],
    ['Day', 'Pacific/Apia', '2011-12-30T09:00:00Z', '2011-12-29T10:00', '2011-12-30T10:00'],
    ['Day', 'Pacific/Apia', '2011-12-30T10:00:00Z', '2011-12-30T10:00', '2011-12-31T10:00'],
    ['Week', 'Europe/Berlin', '2034-12-31T22:59:59Z', '2034-12-24T23:00', '2034-12-31T23:00'],
    ['Year', 'UTC', '2036-12-31T23:59:59Z', '2036-01-01T00:00', '2037-01-01T00:00'],
  ] as const)('trap 30: a %s in %s at %s', (period, zone, at, start, end) => {
    expect(spanOf(period, zone, at)).toEqual([start, end]);
  });

  test('follow each other without gap or overlap, and hold the time that was asked for', () => {
    const times = fc.integer({ min: micros('2010-01-01T00:00:00Z'), max: micros('2040-01-01T00:00:00Z') });
    fc.assert(
      fc.property(fc.constantFrom(...ZONES), fc.constantFrom(...PERIODS), times, (zone, period, at) => {
        const calendar = new WindowCalendar();
        const rule = window(1, period, zone);
        const { start, end } = calendar.find(rule, at);
        expect(start <= at && at < end).toBe(true);
        expect(calendar.find(rule, start).start).toBe(start);
        expect(calendar.find(rule, end).start).toBe(end);
        expect(calendar.find(rule, start - 1).end).toBe(start);
        const edges = calendar.edges(rule, at);
        expect(edges[0]! <= at - 2_000_000 && at + 2_000_000 < edges.at(-1)!).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  test('an unknown zone is an error', () => {
    expect(() => new WindowCalendar().edges(window(1, 'Day', 'Mars/Olympus'), 0)).toThrow(RangeError);
  });
});
