// Limiter, store: the typed side of lua/decide.lua, whose header is the specification of both. Input: the operations of one
// hash tag; output: keys and the packed program of one call, and its packed reply read back.
import { createHash } from 'node:crypto';
import type { BucketRule, WindowRule } from '../../contract/limiter-config.ts';
import { compileRule } from './bucket-state.ts';
import type { WindowCalendar } from './calendar-window.ts';
import { decisionOf, type Look } from './decision.ts';
import type { Claim, Reservation, StoreDecision } from './store.ts';

export const STATUS = { done: 0, late: 1, stale: 2 } as const;
export const CODE = { reserve: 0, peek: 1, settle: 2, report: 3 } as const;
const KIND = { bucket: 0, window: 1 } as const;
/** In the head of an operation: several claims on one bucket; each claim. */
const TOGETHER = 4;
const CLAIM = 8;
/** In the head of a decision: each claim says how far its bucket is ahead of the clock. */
const AHEAD = 2;
/** Of a bucket, in the script. */
const SLOTS = 10;

/** What is asked of the buckets of one hash tag. `deltas` per claim: what was really used less what was reserved. */
export type Operation =
  | { readonly kind: 'reserve' | 'peek' | 'report'; readonly reservation: Reservation }
  | {
      readonly kind: 'settle';
      readonly reservation: Reservation;
      readonly deltas: readonly number[];
      /** Store time of the reservation, µs; -1 = unknown. */
      readonly reservedAt: number;
    };

/** KEYS and ARGV[1] of one call. */
export interface DecideCall {
  readonly keys: readonly string[];
  readonly program: Buffer;
}

/** `late`, `stale`: nothing was done. `results` in the order of the operations; `broken`: keys without a readable state. */
export type DecideReply =
  | { readonly status: 'late' | 'stale'; readonly nowMicros: number }
  | {
      readonly status: 'done';
      readonly nowMicros: number;
      readonly results: readonly (StoreDecision | boolean)[];
      readonly broken: readonly string[];
    };

/** A text that is safe and short enough to stand in a key as it is. */
const PLAIN_ID = /^[\w-]{1,64}$/;

/** The key that remembers a settlement or report: of the slot of the buckets. */
export function markerKey(tag: string, kind: 'settle' | 'report', id: string): string {
  const name = PLAIN_ID.test(id) ? id : `h:${createHash('sha256').update(id).digest('base64url')}`;
  return `${tag}:${kind === 'settle' ? 'settled' : 'reported'}:${name}`;
}

/** Packs operations whose keys all share `tag`. Times in µs of store time; `nowMicros` is an estimate. */
export function encodeCall(
  tag: string,
  operations: readonly Operation[],
  deadlineMicros: number,
  nowMicros: number,
  calendar: WindowCalendar,
): DecideCall {
  const places: Places = { buckets: new Map(), rules: new Map() };
  const program = [deadlineMicros, 0, 0, operations.length];
  for (const { reservation } of operations)
    for (const { bucket } of reservation.claims) {
      if (!places.buckets.has(bucket.key)) places.buckets.set(bucket.key, SLOTS * places.buckets.size);
      if (places.rules.has(bucket.rule)) continue;
      places.rules.set(bucket.rule, program.length + 1);
      pushRule(program, bucket.rule, nowMicros, calendar);
    }
  program[1] = places.buckets.size;
  program[2] = places.rules.size;
  const keys = [...places.buckets.keys()];
  for (const operation of operations) {
    let marker = 0;
    if (operation.kind === 'settle' || operation.kind === 'report')
      marker = keys.push(markerKey(tag, operation.kind, operation.reservation.id));
    pushOperation(program, operation, marker, places);
  }
  return { keys, program: Buffer.from(Float64Array.from(program).buffer) };
}

/** Where buckets and rules are, as claims name them. */
interface Places {
  readonly buckets: Map<string, number>;
  readonly rules: Map<BucketRule | WindowRule, number>;
}

function pushRule(
  program: number[],
  source: BucketRule | WindowRule,
  nowMicros: number,
  calendar: WindowCalendar,
): void {
  const rule = compileRule(source);
  program.push(KIND[rule.kind], rule.capacity);
  if (rule.kind === 'bucket') {
    program.push(rule.units, rule.period);
    return;
  }
  const edges = calendar.edges(rule.rule, nowMicros);
  program.push(edges.length, ...edges);
}

function pushOperation(program: number[], operation: Operation, marker: number, places: Places): void {
  const { kind, reservation } = operation;
  const { claims } = reservation;
  program.push(CODE[kind] + CLAIM * claims.length + (marker === 0 && sharesBucket(claims) ? TOGETHER : 0));
  if (marker > 0) program.push(marker, kind === 'settle' ? operation.reservedAt : 0);
  claims.forEach(({ bucket, amount }, index) => {
    const rule = places.rules.get(bucket.rule) ?? 0;
    const units = kind === 'settle' ? (operation.deltas[index] ?? 0) : amount;
    program.push(places.buckets.get(bucket.key) ?? 0, bucket.shadow ? -rule : rule, units);
  });
}

function sharesBucket(claims: readonly Claim[]): boolean {
  if (claims.length === 2) return claims[0]?.bucket.key === claims[1]?.bucket.key;
  return claims.length > 2 && new Set(claims.map(({ bucket }) => bucket.key)).size < claims.length;
}

/**
 * Reads the reply to a call of `operations`.
 * @throws RangeError when it is not as long as its operations make it, or contradicts itself.
 */
export function decodeReply(
  reply: Buffer,
  operations: readonly Operation[],
  keys: readonly string[],
  calendar: WindowCalendar,
): DecideReply {
  const reader = new Reader(reply);
  const status = reader.next();
  const nowMicros = reader.next();
  if (status !== STATUS.done) return { status: status === STATUS.late ? 'late' : 'stale', nowMicros };
  const results = operations.map((operation) =>
    operation.kind === 'settle' || operation.kind === 'report'
      ? reader.next() === 1
      : readDecision(reader, operation.reservation.claims, nowMicros, calendar),
  );
  const broken = Array.from({ length: reader.next() }, () => keys[reader.next() - 1] ?? '');
  return { status: 'done', nowMicros, results, broken };
}

/** The script says what was used and whether all of it fitted; what follows from that is counted here, as the memory store does. */
function readDecision(
  reader: Reader,
  claims: readonly Claim[],
  nowMicros: number,
  calendar: WindowCalendar,
): StoreDecision {
  const head = reader.next();
  const isAhead = head >= AHEAD;
  const looks = claims.map((claim): Look => {
    const rule = compileRule(claim.bucket.rule);
    const used = reader.next();
    const carry = reader.next();
    const skew = isAhead ? reader.next() : 0;
    const at = nowMicros + skew;
    if (rule.kind === 'bucket')
      return { claim, rule, view: { used, carry, period: rule.period, at, skew, window: undefined } };
    return { claim, rule, view: { used, carry, period: 1, at, skew, window: calendar.find(rule.rule, at) } };
  });
  const decision = decisionOf(looks);
  if ((decision.outcome === 'refused') !== (head % AHEAD === 1))
    throw new RangeError('the script decided against the states that it told');
  return decision;
}

class Reader {
  readonly #bytes: Buffer;
  #offset = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  next(): number {
    const value = this.#bytes.readDoubleLE(this.#offset);
    this.#offset += 8;
    return value;
  }
}
