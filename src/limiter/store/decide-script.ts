// Limiter, store: the typed side of lua/decide.lua, whose header is the specification of both. Input: the operations
// of one hash tag; output: keys and the packed program of one call, and its packed reply read back.
import { createHash } from 'node:crypto';
import type { BucketRule, WindowRule } from '../../contract/limiter-config.ts';
import { compileRule, MAX_USED, type BucketView, type CompiledRule } from './rule/bucket-state.ts';
import type { WindowCalendar } from './rule/calendar-window.ts';
import { decisionOf, statesOf, type Look } from './decision.ts';
import type { Applied, BucketRef, BucketStates, Take, Reservation, StoreDecision } from './store.ts';

export const STATUS = { done: 0, late: 1, stale: 2 } as const;
export const CODE = { reserve: 0, peek: 1, settle: 2, report: 3, probe: 6 } as const;
const KIND = { bucket: 0, window: 1 } as const;
/** In the head of an operation: the reply says what each take saw; each take. */
const TOLD = 4;
const TAKE = 8;
/** Values of a settlement, report or probe before its takes. */
const ADJUSTMENT_HEAD = 4;
/** Where rules begin in the program, counted from 1. */
const FIRST_RULE = 5;

/** What is asked of the buckets of one hash tag. `deltas` per take: what was really used less what was reserved. */
export type Operation =
  | { readonly kind: 'reserve' | 'peek' | 'report'; readonly reservation: Reservation }
  | {
      readonly kind: 'settle';
      readonly reservation: Reservation;
      readonly deltas: readonly number[];
      /** Store time of the reservation, µs; -1 = unknown. */
      readonly reservedAt: number;
      /** Names the store that settles: serials are its own. */
      readonly owner: string;
    }
  /** Every command that a decision may need, on a key of its own; leaves nothing. */
  | { readonly kind: 'probe' };

/** Of a reserve or peek: a decision; of a settlement, report or probe: whether it was done, and how buckets are now. */
export type Result = StoreDecision | Applied;

/** KEYS and ARGV[1] of one call, and what its reply is read with. */
export interface DecideCall {
  readonly keys: readonly string[];
  readonly program: Buffer;
  readonly operations: readonly Operation[];
  /** By place in KEYS, counted from 0: the rule by which each bucket is seen first. */
  readonly rules: readonly CompiledRule[];
  /** The operations of the program. */
  readonly body: readonly number[];
}

/**
 * `late`, `stale`: nothing was done. `results` in the order of the operations; `broken`: keys without a readable
 * state.
 */
export type DecideReply =
  | { readonly status: 'late' | 'stale'; readonly nowMicros: number }
  | {
      readonly status: 'done';
      readonly nowMicros: number;
      readonly results: readonly Result[];
      readonly broken: readonly string[];
    };

/** A text that is safe and short enough to stand in a key as it is. */
const PLAIN_ID = /^[\w-]{1,64}$/;

/** Where it is remembered that a settlement or report was applied. */
export interface Marker {
  /** In the slot of the buckets. */
  readonly key: string;
  /** In the value of the key; -1: the key itself is the mark. */
  readonly bit: number;
}

/** Bits per marker key. A key costs Redis some 150 bytes; a larger value makes each settlement write more. */
const MARKER_BITS = 512;

/** A settlement with a serial is a bit of a key that others share; every other one, and each report, has its own. */
export function markerOf(tag: string, kind: 'settle' | 'report', { id, serial }: Reservation, owner = ''): Marker {
  if (kind === 'settle' && serial !== undefined)
    return { key: `${tag}:settled:${owner}:${Math.floor(serial / MARKER_BITS)}`, bit: serial % MARKER_BITS };
  const name = PLAIN_ID.test(id) ? id : `h:${createHash('sha256').update(id).digest('base64url')}`;
  return { key: `${tag}:${kind === 'settle' ? 'settled' : 'reported'}:${name}`, bit: -1 };
}

/** The key of a probe: below the same prefix as the buckets, so that the same ACL applies. */
export function probeKey(tag: string): string {
  return `${tag}:probe`;
}

/** A bucket of a call that is being packed. */
interface Place {
  /** Counted from 1. */
  readonly place: number;
  /** Where the rule by which it is seen begins in the program; negative: by a shadow take. */
  rule: number;
  /** Whether its use can be counted on from what was told before. */
  isKnown: boolean;
}

/** Packs one call. */
class Packer {
  readonly keys: string[] = [];
  readonly firstRules: CompiledRule[] = [];
  readonly rules: number[] = [];
  /** The rule by which each bucket is seen first. */
  readonly seen: number[] = [];
  readonly body: number[] = [];
  /** Key -> where in the program its place stands. */
  readonly #markers = new Map<string, number[]>();
  /** Of the program: a settlement or report makes two, the second of which looks at its buckets. */
  operationCount = 0;
  readonly #places = new Map<string, Place>();
  readonly #ruleAt = new Map<BucketRule | WindowRule, number>();
  readonly #nowMicros: number;
  readonly #calendar: WindowCalendar;

  constructor(nowMicros: number, calendar: WindowCalendar) {
    this.#nowMicros = nowMicros;
    this.#calendar = calendar;
  }

  get ruleCount(): number {
    return this.#ruleAt.size;
  }

  decision(code: number, takes: readonly Take[]): void {
    const { body } = this;
    const head = body.push(0) - 1;
    this.operationCount++;
    let isTold = sharesBucket(takes);
    for (const { bucket, amount } of takes) {
      const place = this.#placeOf(bucket);
      isTold ||= !place.isKnown || place.rule !== this.#ruleOf(bucket);
      body.push(place.place, amount);
    }
    if (isTold) {
      body.length = head + 1;
      for (const { bucket, amount } of takes) {
        const place = this.#placeOf(bucket);
        place.rule = this.#ruleOf(bucket);
        place.isKnown = true;
        body.push(place.place, amount, place.rule);
      }
    }
    body[head] = code + TAKE * takes.length + (isTold ? TOLD : 0);
  }

  adjustment(code: number, { key, bit }: Marker, reservedAt: number, takes: readonly Take[]): void {
    const { body } = this;
    this.operationCount++;
    const head = body.push(0, 0, bit, reservedAt) - ADJUSTMENT_HEAD;
    const places = this.#markers.get(key);
    if (places === undefined) this.#markers.set(key, [head + 1]);
    else places.push(head + 1);
    let count = 0;
    for (const { bucket, amount } of takes) {
      if (amount === 0) continue;
      count++;
      const place = this.#placeOf(bucket);
      place.rule = this.#ruleOf(bucket);
      place.isKnown = false;
      body.push(place.place, amount, place.rule);
    }
    body[head] = code + TAKE * count;
  }

  /** Markers have their places behind those of the buckets. */
  end(): void {
    for (const [key, places] of this.#markers) {
      const place = this.keys.push(key);
      for (const at of places) this.body[at] = place;
    }
  }

  #placeOf(bucket: BucketRef): Place {
    const known = this.#places.get(bucket.key);
    if (known !== undefined) return known;
    const rule = this.#ruleOf(bucket);
    const fresh = { place: this.keys.push(bucket.key), rule, isKnown: true };
    this.seen.push(rule);
    this.firstRules.push(compileRule(bucket.rule));
    this.#places.set(bucket.key, fresh);
    return fresh;
  }

  #ruleOf({ rule, shadow }: BucketRef): number {
    const at = this.#ruleAt.get(rule) ?? this.#addRule(rule);
    return shadow ? -at : at;
  }

  #addRule(source: BucketRule | WindowRule): number {
    const at = FIRST_RULE + this.rules.length;
    this.#ruleAt.set(source, at);
    const rule = compileRule(source);
    this.rules.push(KIND[rule.kind], rule.capacity);
    if (rule.kind === 'bucket') this.rules.push(rule.units, rule.period);
    else {
      const edges = this.#calendar.edges(rule.rule, this.#nowMicros);
      this.rules.push(edges.length, ...edges);
    }
    return at;
  }
}

/** Packs operations whose keys all share `tag`. Times in µs of store time; `nowMicros` is an estimate. */
export function encodeCall(
  tag: string,
  operations: readonly Operation[],
  deadlineMicros: number,
  nowMicros: number,
  calendar: WindowCalendar,
): DecideCall {
  const packer = new Packer(nowMicros, calendar);
  for (const operation of operations) pack(packer, tag, operation);
  packer.end();
  const { rules, seen, body } = packer;
  const program = new Float64Array(FIRST_RULE - 1 + rules.length + seen.length + body.length);
  program.set([deadlineMicros, seen.length, packer.ruleCount, packer.operationCount]);
  program.set(rules, FIRST_RULE - 1);
  program.set(seen, FIRST_RULE - 1 + rules.length);
  program.set(body, FIRST_RULE - 1 + rules.length + seen.length);
  return { keys: packer.keys, program: Buffer.from(program.buffer), operations, rules: packer.firstRules, body };
}

function pack(packer: Packer, tag: string, operation: Operation): void {
  if (operation.kind === 'probe') {
    packer.adjustment(CODE.probe, { key: probeKey(tag), bit: -1 }, 0, []);
    return;
  }
  const { kind, reservation } = operation;
  if (kind === 'reserve' || kind === 'peek') {
    packer.decision(CODE[kind], reservation.takes);
    return;
  }
  if (kind === 'settle') {
    const marker = markerOf(tag, kind, reservation, operation.owner);
    packer.adjustment(CODE[kind], marker, operation.reservedAt, deltasOf(operation));
  } else packer.adjustment(CODE[kind], markerOf(tag, kind, reservation), 0, reservation.takes);
  packer.decision(CODE.peek, reservation.takes);
}

function deltasOf({ reservation, deltas }: Extract<Operation, { kind: 'settle' }>): Take[] {
  return reservation.takes.map(({ bucket }, index) => ({ bucket, amount: deltas[index] ?? 0 }));
}

function sharesBucket(takes: readonly Take[]): boolean {
  if (takes.length <= 2) return takes.length === 2 && takes[0]?.bucket.key === takes[1]?.bucket.key;
  return new Set(takes.map(({ bucket }) => bucket.key)).size < takes.length;
}

/**
 * Reads the reply to a call.
 * @throws RangeError when it is not as long as its operations make it, or contradicts itself.
 */
export function decodeReply(reply: Buffer, call: DecideCall, calendar: WindowCalendar): DecideReply {
  if (reply.length < 16 || reply.length % 8 !== 0) throw new RangeError('the reply of the script is too short');
  const values = new Float64Array(reply.length / 8);
  reply.copy(Buffer.from(values.buffer));
  const [status, nowMicros = NaN] = values;
  if (status !== STATUS.done) return { status: status === STATUS.late ? 'late' : 'stale', nowMicros };
  const counter = new Counter(values, call.rules, calendar);
  const results = readResults(counter, call);
  const broken = Array.from({ length: counter.next() }, () => call.keys[counter.next() - 1] ?? '');
  return { status: 'done', nowMicros, results, broken };
}

function readResults(counter: Counter, { operations, body }: DecideCall): Result[] {
  let at = 0;
  const next = (): { readonly from: number; readonly isTold: boolean } => {
    const head = body[at] ?? 0;
    const code = head % TAKE;
    const takes = (head - code) / TAKE;
    const isDecision = code % TOLD <= CODE.peek;
    const isTold = code >= TOLD;
    const from = at + (isDecision ? 1 : ADJUSTMENT_HEAD);
    at = from + (isDecision && !isTold ? 2 : 3) * takes;
    return { from, isTold };
  };
  return operations.map((operation) => {
    const { from, isTold } = next();
    if (operation.kind === 'reserve' || operation.kind === 'peek')
      return counter.decision(operation.kind, operation.reservation.takes, body, from, isTold);
    const applied = counter.next() === 1;
    if (operation.kind === 'probe') return { applied };
    const look = next();
    return { applied, ...counter.states(operation.reservation.takes, body, look.from, look.isTold) };
  });
}

/** A bucket as the takes see it, one after the other. */
type Seen = { -readonly [Field in keyof BucketView]: BucketView[Field] };

/**
 * Counts on from what the script says was used when each bucket was seen first: waits and resets too are counted
 * here.
 */
class Counter {
  readonly #values: Float64Array;
  readonly #nowMicros: number;
  readonly #calendar: WindowCalendar;
  readonly #seen: Seen[] = [];
  #at: number;

  constructor(values: Float64Array, rules: readonly CompiledRule[], calendar: WindowCalendar) {
    this.#values = values;
    this.#nowMicros = values[1] ?? NaN;
    this.#calendar = calendar;
    this.#at = 2 + 2 * rules.length;
    const skews = new Map<number, number>();
    for (let left = this.next(); left > 0; left--) skews.set(this.next() - 1, this.next());
    rules.forEach((rule, place) => {
      const [used, carry] = [values[2 + place] ?? NaN, values[2 + rules.length + place] ?? NaN];
      this.#seen.push(this.#see(rule, used, carry, skews.get(place) ?? 0));
    });
  }

  /** @throws RangeError when the reply ends before. */
  next(): number {
    const value = this.#values[this.#at++];
    if (value === undefined) throw new RangeError('the reply of the script is too short');
    return value;
  }

  #see(rule: CompiledRule, used: number, carry: number, skew: number): Seen {
    const at = this.#nowMicros + skew;
    if (rule.kind === 'bucket') return { used, carry, period: rule.period, at, skew, window: undefined };
    return { used, carry, period: 1, at, skew, window: this.#calendar.find(rule.rule, at) };
  }

  /** The values of its takes in the program begin at `from`. */
  decision(
    kind: 'reserve' | 'peek',
    takes: readonly Take[],
    body: readonly number[],
    from: number,
    isTold: boolean,
  ): StoreDecision {
    const isRefused = this.next() === 1;
    const decision = decisionOf(this.#look(takes, body, from, isTold), this.#nowMicros);
    if ((decision.outcome === 'refused') !== isRefused)
      throw new RangeError('the script decided against the states that it told');
    if (kind === 'reserve' && !isRefused) this.#take(takes, body, from, isTold ? 3 : 2);
    return decision;
  }

  /** As {@link decision}, of the look that follows a settlement or report. */
  states(takes: readonly Take[], body: readonly number[], from: number, isTold: boolean): BucketStates {
    this.next();
    return statesOf(this.#look(takes, body, from, isTold), this.#nowMicros);
  }

  #look(takes: readonly Take[], body: readonly number[], from: number, isTold: boolean): Look[] {
    const step = isTold ? 3 : 2;
    const looks: Look[] = [];
    for (let index = 0; index < takes.length; index++) {
      const take = takes[index] as Take;
      const place = (body[from + step * index] ?? 0) - 1;
      const rule = compileRule(take.bucket.rule);
      if (isTold) this.#seen[place] = this.#see(rule, this.next(), this.next(), this.next());
      looks.push({ take, rule, view: this.#seen[place] as Seen });
    }
    return looks;
  }

  #take(takes: readonly Take[], body: readonly number[], from: number, step: number): void {
    for (let index = 0; index < takes.length; index++) {
      const seen = this.#seen[(body[from + step * index] ?? 0) - 1] as Seen;
      seen.used = Math.min(seen.used + (takes[index]?.amount ?? 0), MAX_USED);
    }
  }
}
