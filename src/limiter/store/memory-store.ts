// Limiter, store: buckets in this process. Input: takes; output: decisions, by the arithmetic of bucket-state.ts, in
// the order in which they were asked. What Redis is to several limiters, this is to one.
import type { Clock } from '../../lib/clock.ts';
import {
  applyCharge,
  compileRule,
  forgottenAt,
  MAX_SKEW_MICROS,
  resetAfter,
  viewBucket,
  type BucketView,
  type CompiledRule,
  type StoredBucket,
} from './rule/bucket-state.ts';
import { WindowCalendar } from './rule/calendar-window.ts';
import { checkReservation, checkSettlement } from './takes.ts';
import { decisionOf, statesOf, taken, type Look } from './decision.ts';
import type { Applied, Take, Reservation, Settlement, Store, StoreDecision } from './store.ts';

/** Ids of settlements and reports are remembered this long. */
export const REMEMBER_MICROS = 600_000_000;
/** Buckets looked at per operation, to forget those that are full again. */
const SWEEP_STEP = 2;

interface Entry extends StoredBucket {
  /** When it is full again or its window is over: from then on it may be forgotten. */
  readonly expiresAt: number;
}

export class MemoryStore implements Store {
  readonly #clock: Clock;
  readonly #buckets = new Map<string, Entry>();
  readonly #remembered = new Map<string, number>();
  readonly #settled = new SettledSerials();
  readonly #calendar = new WindowCalendar();
  #sweep: Iterator<[string, Entry]>;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#sweep = this.#buckets.entries();
  }

  /** Live buckets: those that are not known to be full again. */
  get size(): number {
    return this.#buckets.size;
  }

  reserve(reservation: Reservation): Promise<StoreDecision> {
    return answer(() => this.#decide(reservation, true));
  }

  peek(reservation: Reservation): Promise<StoreDecision> {
    return answer(() => this.#decide(reservation, false));
  }

  settle(settlement: Settlement): Promise<Applied> {
    return answer(() => {
      checkSettlement(settlement);
      const { reservation, actual, takenAtMicros } = settlement;
      return this.#once('settle', reservation, (now) => {
        reservation.takes.forEach((take, index) => {
          this.#adjust(take, (actual[index] ?? 0) - take.amount, takenAtMicros, now);
        });
      });
    });
  }

  report(reservation: Reservation): Promise<Applied> {
    return answer(() => {
      checkReservation(reservation);
      return this.#once('report', reservation, (now) => {
        for (const take of reservation.takes) this.#adjust(take, take.amount, now, now);
      });
    });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #decide(reservation: Reservation, take: boolean): StoreDecision {
    checkReservation(reservation);
    const now = this.#clock.nowMicros();
    const looks = this.#look(reservation, now);
    const decision = decisionOf(looks, now);
    if (take && decision.outcome === 'admitted') this.#take(looks, now);
    this.#forgetFull(now);
    return decision;
  }

  #look({ takes }: Reservation, now: number): Look[] {
    return takes.map((take) => {
      const rule = compileRule(take.bucket.rule);
      return { take, rule, view: this.#view(take, rule, now) };
    });
  }

  /** The bucket now. A state from the future (the clock stepped back) is moved to the present first. */
  #view({ bucket: { key, shadow } }: Take, rule: CompiledRule, now: number): BucketView {
    const stored = this.#load(key, now);
    if (stored !== undefined && stored.at > now + MAX_SKEW_MICROS) {
      const view = viewBucket(stored, rule, true, now, this.#calendar.find);
      this.#put(key, rule, { ...stored, at: now }, now + resetAfter(view, rule, stored.used));
    }
    return viewBucket(stored, rule, shadow, now, this.#calendar.find);
  }

  /** Of several takes of one reservation on one bucket each writes what all of them make together. */
  #take(looks: readonly Look[], now: number): void {
    for (const { take, rule, view } of looks) {
      const amount = taken(looks, take, looks.length);
      if (amount > 0) this.#write(take, rule, view, amount, take.bucket.shadow, now);
    }
  }

  #adjust(take: Take, delta: number, reservedAt: number, now: number): void {
    if (delta === 0) return;
    const rule = compileRule(take.bucket.rule);
    const view = this.#view(take, rule, now);
    if (delta < 0 && view.window !== undefined && reservedAt < view.window.start) return;
    const wasShadow = this.#load(take.bucket.key, now)?.shadow ?? false;
    this.#write(take, rule, view, delta, take.bucket.shadow && (delta > 0 || wasShadow), now);
  }

  #write(take: Take, rule: CompiledRule, view: BucketView, delta: number, shadow: boolean, now: number): void {
    const next = applyCharge(view, delta, shadow);
    if (next === undefined) this.#buckets.delete(take.bucket.key);
    else this.#put(take.bucket.key, rule, next, now + resetAfter(view, rule, next.used));
  }

  #put(key: string, rule: CompiledRule, state: StoredBucket, fullAt: number): void {
    this.#buckets.set(key, { ...state, expiresAt: forgottenAt(rule, fullAt) });
  }

  #load(key: string, now: number): StoredBucket | undefined {
    const entry = this.#buckets.get(key);
    if (entry === undefined || entry.expiresAt > now) return entry;
    this.#buckets.delete(key);
    return undefined;
  }

  #once(kind: 'settle' | 'report', reservation: Reservation, apply: (now: number) => void): Applied {
    const now = this.#clock.nowMicros();
    if (!this.#isNew(kind, reservation, now)) return { applied: false };
    apply(now);
    return { applied: true, ...statesOf(this.#look(reservation, now), now) };
  }

  #isNew(kind: 'settle' | 'report', { id, serial }: Reservation, now: number): boolean {
    if (kind === 'settle' && serial !== undefined) return this.#settled.add(serial, now);
    const name = `${kind} ${id}`;
    for (const [known, until] of this.#remembered) {
      if (until > now) break;
      this.#remembered.delete(known);
    }
    if ((this.#remembered.get(name) ?? 0) > now) return false;
    this.#remembered.set(name, now + REMEMBER_MICROS);
    return true;
  }

  #forgetFull(now: number): void {
    for (let step = 0; step < SWEEP_STEP; step++) {
      const next = this.#sweep.next();
      if (next.done === true) {
        this.#sweep = this.#buckets.entries();
        return;
      }
      const [key, entry] = next.value;
      if (entry.expiresAt <= now) this.#buckets.delete(key);
    }
  }
}

/** Serials per block. */
const BLOCK_SERIALS = 4096;

/** Which serials were settled in the last 10 minutes: a bit each. A block without a settlement since is forgotten. */
class SettledSerials {
  /** In the order of their last settlement. */
  readonly #blocks = new Map<number, { readonly bits: Uint8Array; readonly until: number }>();

  /** false: it was settled before. */
  add(serial: number, now: number): boolean {
    for (const [block, { until }] of this.#blocks) {
      if (until > now) break;
      this.#blocks.delete(block);
    }
    const block = Math.floor(serial / BLOCK_SERIALS);
    const bits = this.#blocks.get(block)?.bits ?? new Uint8Array(BLOCK_SERIALS / 8);
    const [at, mask] = [(serial % BLOCK_SERIALS) >> 3, 1 << (serial & 7)];
    if (((bits[at] ?? 0) & mask) !== 0) return false;
    bits[at] = (bits[at] ?? 0) | mask;
    this.#blocks.delete(block);
    this.#blocks.set(block, { bits, until: now + REMEMBER_MICROS });
    return true;
  }
}

function answer<T>(work: () => T): Promise<T> {
  try {
    return Promise.resolve(work());
  } catch (error) {
    return Promise.reject(error instanceof Error ? error : new Error(String(error)));
  }
}
