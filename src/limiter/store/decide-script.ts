// Limiter, store: the typed side of lua/decide.lua, whose header is the specification of both. Input: the operations of one
// hash tag; output: keys and the packed program of one call, and its packed reply read back.
import { createHash } from 'node:crypto';
import type { BucketRule, WindowRule } from '../../contract/limiter-config.ts';
import { compileRule } from './bucket-state.ts';
import type { WindowCalendar } from './calendar-window.ts';
import type { BucketState, Reservation, StoreDecision } from './store.ts';

export const STATUS = { done: 0, late: 1, stale: 2 } as const;
export const CODE = { reserve: 0, peek: 1, settle: 2, report: 3 } as const;
const KIND = { bucket: 0, window: 1 } as const;

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
  const buckets = new Places<string>();
  const rules = new Places<BucketRule | WindowRule>();
  for (const { reservation } of operations) {
    for (const { bucket } of reservation.claims) {
      buckets.add(bucket.key);
      rules.add(bucket.rule);
    }
  }
  const program = [deadlineMicros, buckets.size, rules.size, operations.length];
  for (const rule of rules.values()) pushRule(program, rule, nowMicros, calendar);
  const markers: string[] = [];
  for (const operation of operations) {
    let marker = 0;
    if (operation.kind === 'settle' || operation.kind === 'report')
      marker = buckets.size + markers.push(markerKey(tag, operation.kind, operation.reservation.id));
    pushOperation(program, operation, marker, buckets, rules);
  }
  return { keys: [...buckets.values(), ...markers], program: Buffer.from(Float64Array.from(program).buffer) };
}

/** Distinct values, numbered from 1 in the order of their first appearance. */
class Places<T> {
  readonly #places = new Map<T, number>();

  get size(): number {
    return this.#places.size;
  }

  add(value: T): void {
    if (!this.#places.has(value)) this.#places.set(value, this.#places.size + 1);
  }

  of(value: T): number {
    return this.#places.get(value) ?? 0;
  }

  values(): Iterable<T> {
    return this.#places.keys();
  }
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

function pushOperation(
  program: number[],
  operation: Operation,
  marker: number,
  buckets: Places<string>,
  rules: Places<BucketRule | WindowRule>,
): void {
  const { kind, reservation } = operation;
  program.push(CODE[kind] + 4 * reservation.claims.length);
  if (marker > 0) program.push(marker, kind === 'settle' ? operation.reservedAt : 0);
  reservation.claims.forEach(({ bucket, amount }, index) => {
    const units = kind === 'settle' ? (operation.deltas[index] ?? 0) : amount;
    const rule = rules.of(bucket.rule);
    program.push(buckets.of(bucket.key), bucket.shadow ? -rule : rule, units);
  });
}

/**
 * Reads the reply to a call of `operations`.
 * @throws RangeError when it is not as long as its operations make it.
 */
export function decodeReply(reply: Buffer, operations: readonly Operation[], keys: readonly string[]): DecideReply {
  const reader = new Reader(reply);
  const status = reader.next();
  const nowMicros = reader.next();
  if (status !== STATUS.done) return { status: status === STATUS.late ? 'late' : 'stale', nowMicros };
  const results = operations.map((operation) =>
    operation.kind === 'settle' || operation.kind === 'report' ? reader.next() === 1 : readDecision(reader, operation),
  );
  const broken = Array.from({ length: reader.next() }, () => keys[reader.next() - 1] ?? '');
  return { status: 'done', nowMicros, results, broken };
}

function readDecision(reader: Reader, { reservation }: Operation): StoreDecision {
  const refusedBy = reader.next() - 1;
  const states = reservation.claims.map(({ bucket: { rule } }): BucketState => {
    const remaining = reader.next();
    const resetMicros = reader.next();
    const waitMicros = reader.next();
    const limit = rule.kind === 'bucket' ? rule.burst : rule.limit;
    return { limit, remaining, resetMicros, over: waitMicros > 0, waitMicros };
  });
  return refusedBy < 0 ? { outcome: 'admitted', states } : { outcome: 'refused', refusedBy, states };
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
