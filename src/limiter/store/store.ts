// Limiter, innermost stage: the interface of every store of buckets. Input: takes on buckets; output: all taken or
// none, and when the refused amount would fit. One contract suite (test/limiter/store) runs against every
// implementation.
import type { BucketRule, WindowRule } from '../../contract/limiter-config.ts';

/**
 * A bucket as a decision names it. `key` begins with `weir:{<namespace>}:` and is equal exactly when object, limit,
 * what is counted and caller parts are equal. The rule travels with every call: an edit of amounts keeps what was used.
 */
export interface BucketRef {
  readonly key: string;
  readonly rule: BucketRule | WindowRule;
  /** true: counted and reported, never refuses; charged only when the enforced takes of its reservation pass. */
  readonly shadow: boolean;
}

/** `amount` units of one bucket; a whole number, 0 <= amount <= 1e12. */
export interface Take {
  readonly bucket: BucketRef;
  readonly amount: number;
}

/** What one request takes: all of its takes or none of them. All keys share one `weir:{<namespace>}` tag. */
export interface Reservation {
  /** Unique; chosen by the caller. A settlement names it. */
  readonly id: string;
  /** From {@link nextSerial}: its settlement then costs the store a bit to remember, where an id costs it a key. */
  readonly serial?: number;
  readonly takes: readonly Take[];
}

let lastSerial = 0;

/** Counts up: no two reservations of this process have the same one. */
export function nextSerial(): number {
  lastSerial += 1;
  return lastSerial;
}

/** The live state of a bucket after (or, when refused, without) the decision. All times in store time. */
export interface BucketState {
  /** What the bucket can hold: burst, or the window's limit. */
  readonly limit: number;
  /** Whole units that would pass now; never negative. Debt shows in `resetMicros`. */
  readonly remaining: number;
  /** µs until the bucket is full again, or until the window ends. */
  readonly resetMicros: number;
  /** The take would not have passed: the refusal, or a shadow bucket's would-be refusal. */
  readonly over: boolean;
  /** µs until the claimed amount fits; 0 when it fitted; Infinity when it never can. */
  readonly waitMicros: number;
}

/** A decision of the store. States are in the order of the reservation's takes. */
export type StoreDecision = BucketStates &
  (
    | { readonly outcome: 'admitted' }
    /** `refusedBy`: index of the take with the longest wait. Nothing was taken or written. */
    | { readonly outcome: 'refused'; readonly refusedBy: number }
  );

/** How buckets are, in the order of the takes. */
export interface BucketStates {
  /** Store time of the answer, µs. */
  readonly atMicros: number;
  readonly states: readonly BucketState[];
}

/** The truth about a reservation: per take (same order) what was really used. */
export interface Settlement {
  readonly reservation: Reservation;
  readonly actual: readonly number[];
  /**
   * Store time at which the reservation was taken (µs), as its decision told it. A window's refund counts only while
   * that window lasts.
   */
  readonly takenAtMicros: number;
}

/** The answer to a settlement or a report. */
export interface Applied extends Partial<BucketStates> {
  /** false: this id was settled (reported) before. */
  readonly applied: boolean;
}

/** Thrown (rejected) when the store did not answer in time or not at all; the decision is then up to failurePolicy. */
export class StoreUnavailable extends Error {
  readonly reason: 'timeout' | 'connection' | 'circuit-open' | 'reply' | 'credentials';

  constructor(reason: StoreUnavailable['reason'], message: string) {
    super(message);
    this.name = 'StoreUnavailable';
    this.reason = reason;
  }
}

/** How a store's server does. */
export interface Examination {
  readonly reachable: boolean;
  /**
   * How it shows that it does not serve, in the words of the server or the network; '' when it does. No secret is in
   * it.
   */
  readonly detail: string;
  /** Its `maxmemory-policy`, where it tells; absent: not known, or not asked this time. */
  readonly evictionPolicy?: string;
}

/** Where buckets live. Implementations batch: what is asked in one event-loop tick goes out together. */
export interface Store {
  /** Checks every bucket, then takes from every bucket, or from none. Rejects with StoreUnavailable. */
  reserve(reservation: Reservation): Promise<StoreDecision>;
  /** What `reserve` would answer (states after the taking, too), without taking. */
  peek(reservation: Reservation): Promise<StoreDecision>;
  /**
   * Exactly once per reservation id, whatever is repeated within 10 minutes: refunds what was not used, charges what
   * was used beyond the take (into debt). States are told when the store took it now.
   */
  settle(settlement: Settlement): Promise<Applied>;
  /** Charges without asking, into debt if need be; exactly once per reservation id. */
  report(reservation: Reservation): Promise<Applied>;
  /** Whether the server serves: by a write as decisions make it, now or a moment ago. Never rejects. */
  examine?(): Promise<Examination>;
  /** Whether the server has taken a write, or decided, since this store was made; absent: it cannot be away. */
  wasReached?(): boolean;
  /** Returns connections; pending calls reject with StoreUnavailable. */
  close(): Promise<void>;
}
