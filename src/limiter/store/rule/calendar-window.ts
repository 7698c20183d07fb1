// Limiter, store arithmetic: calendar-aligned windows in a time zone. Input: a window rule and a time; output: the
// edges of the windows around it, in µs since the epoch.
import { Temporal } from 'temporal-polyfill';
import type { WindowPeriod, WindowRule } from '../../../contract/limiter-config.ts';
import type { WindowSpan } from './bucket-state.ts';

const SECOND_MS = 1000;
const UNIT_MS: Partial<Record<WindowPeriod, number>> = {
  Second: SECOND_MS,
  Minute: 60 * SECOND_MS,
  Hour: 3600 * SECOND_MS,
};
/** The edges given for a time hold everything this close to it: more than clocks that may be waited for differ. */
const SLACK_MS = 2000;
/** And they go on this much longer, so that they serve more than one call. */
const AHEAD_MS = 3000;

/** Remembers the edges of each rule while they last. */
export class WindowCalendar {
  readonly #known = new WeakMap<WindowRule, readonly number[]>();

  /**
   * Ascending edges of successive windows, without gaps, that hold [at - 2 s, at + 2 s].
   * @throws RangeError when the time zone is unknown.
   */
  edges(rule: WindowRule, atMicros: number): readonly number[] {
    const known = this.#known.get(rule);
    if (known !== undefined && covers(known, atMicros)) return known;
    const fresh = edgesAround(rule, Math.floor(atMicros / 1000)).map((ms) => ms * 1000);
    this.#known.set(rule, fresh);
    return fresh;
  }

  /** The window that holds `atMicros`. */
  readonly find = (rule: WindowRule, atMicros: number): WindowSpan => {
    const edges = this.edges(rule, atMicros);
    let index = 1;
    while (index < edges.length - 1 && (edges[index] ?? 0) <= atMicros) index++;
    return { start: edges[index - 1] ?? 0, end: edges[index] ?? 0 };
  };
}

function covers(edges: readonly number[], atMicros: number): boolean {
  const slack = SLACK_MS * 1000;
  return (edges[0] ?? Infinity) <= atMicros - slack && atMicros + slack < (edges.at(-1) ?? 0);
}

function edgesAround(rule: WindowRule, atMs: number): number[] {
  let window = windowAt(rule, atMs - SLACK_MS);
  const edges = [window.start, window.end];
  while (window.end <= atMs + SLACK_MS + AHEAD_MS) {
    window = windowAt(rule, window.end);
    edges.push(window.end);
  }
  return edges;
}

function windowAt(rule: WindowRule, ms: number): WindowSpan {
  const local = Temporal.Instant.fromEpochMilliseconds(ms).toZonedDateTimeISO(rule.timeZone);
  const unit = UNIT_MS[rule.period];
  return unit === undefined ? dateWindow(rule.period, local) : clockWindow(unit, local);
}

/**
 * Aligned to the local clock; cut where the zone's offset changes inside it (Lord Howe Island shifts by half an
 * hour).
 */
function clockWindow(unitMs: number, local: Temporal.ZonedDateTime): WindowSpan {
  const ms = local.epochMilliseconds;
  const offset = Math.round(local.offsetNanoseconds / 1e6);
  const start = Math.floor((ms + offset) / unitMs) * unitMs - offset;
  const span = { start, end: start + unitMs };
  // Offsets and their changes are whole minutes: shorter windows are never cut.
  if (unitMs <= 60 * SECOND_MS) return span;
  const before = local.add({ milliseconds: 1 }).getTimeZoneTransition('previous')?.epochMilliseconds ?? -Infinity;
  const after = local.getTimeZoneTransition('next')?.epochMilliseconds ?? Infinity;
  return { start: Math.max(span.start, before), end: Math.min(span.end, after) };
}

/** Windows made of whole local days; days may last 23 or 25 hours, and a date may not exist at all. */
function dateWindow(period: WindowPeriod, local: Temporal.ZonedDateTime): WindowSpan {
  const [first, length] = firstDate(period, local.toPlainDate());
  const startOf = (date: Temporal.PlainDate): number => date.toZonedDateTime(local.timeZoneId).epochMilliseconds;
  return { start: startOf(first), end: startOf(first.add(length)) };
}

function firstDate(period: WindowPeriod, date: Temporal.PlainDate): [Temporal.PlainDate, Temporal.DurationLike] {
  switch (period) {
    case 'Week':
      return [date.subtract({ days: date.dayOfWeek - 1 }), { weeks: 1 }];
    case 'Month':
      return [date.with({ day: 1 }), { months: 1 }];
    case 'Year':
      return [date.with({ month: 1, day: 1 }), { years: 1 }];
    default:
      return [date, { days: 1 }];
  }
}
