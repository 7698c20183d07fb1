// Limiter, refuse stage: the neutral form of every answer that the limiter gives by itself. In: a decision that is not
// "allowed", or a code of the error table; out: a Refusal in words and numbers, before a dialect writes it. Pure.
import { MEASURES } from '../../contract/measures.ts';
import { ERRORS, type ErrorName } from '../../lib/errors.ts';
import type { Decision, LimitOutcome } from '../decide/decision.ts';
import { allowance, clientDuration, printable, quotaOf, waitOf, type Quota, type Wait } from './quota.ts';

/** Header names are lower case. */
export type ReplyHeaders = Readonly<Record<string, string>>;

/** What went wrong, in no dialect yet. */
export interface Refusal {
  readonly code: ErrorName;
  readonly status: number;
  readonly message: string;
  /** A limit refused, or the outage of its store; otherwise the request is at fault, or cannot be served. */
  readonly isByLimit: boolean;
  /** The limit that refused; printable. */
  readonly limit?: string;
  /** tokens | requests: what ran out. */
  readonly unit?: 'tokens' | 'requests';
  /** Until the same request passes; absent when waiting does not help, or nobody knows. */
  readonly wait?: Wait;
  /** The bucket that ran out: its rate limit headers go onto the answer. */
  readonly quota?: Quota;
  /** Headers that every dialect sends. */
  readonly headers: ReplyHeaders;
}

/** A store is noticed within a second of its return; callers who are refused meanwhile come back at this pace. */
const OUTAGE_RETRY_SECONDS = 5;
const NO_RETRY: ReplyHeaders = { 'x-should-retry': 'false' };
/** Headers that belong to an error. A connection whose body does not come any more serves no further request. */
const ERROR_HEADERS: Readonly<Partial<Record<ErrorName, ReplyHeaders>>> = {
  unauthenticated: { 'www-authenticate': 'Bearer realm="weir"' },
  body_timeout: { connection: 'close' },
  over_capacity: { 'retry-after': '1' },
};

/** An error of the table of codes. `message` must hold nothing that the caller sent in secret. */
export function errorRefusal(code: ErrorName, message: string = ERRORS[code].message): Refusal {
  const { status } = ERRORS[code];
  return { code, status, message, isByLimit: false, headers: ERROR_HEADERS[code] ?? {} };
}

/**
 * The refusal of a request that was not let through: 429 with the true wait; 403 for a limit of 0; 400 for what can
 * never fit; 503 when the store did not answer.
 */
export function refusalOf(decision: Exclude<Decision, { kind: 'allowed' }>): Refusal {
  if (decision.kind === 'unavailable') return unavailable(decision);
  switch (decision.reason) {
    case 'exhausted':
      return exhausted(decision.by);
    case 'blocked':
      return blocked(decision.by);
    case 'too-large':
      return tooLarge(decision.by);
  }
}

function exhausted(by: LimitOutcome): Refusal {
  const { limit, state } = by;
  const wait = waitOf(by);
  const name = printable(limit.name);
  const message =
    `Rate limit "${name}" reached: ${allowance(limit)}, ${state.remaining} left. ` +
    `Please try again in ${clientDuration(wait.micros)}.`;
  return {
    ...byLimit('rate_limit_exceeded', name, message, waitHeaders(wait)),
    unit: MEASURES[limit.measure].errorType,
    wait,
    quota: quotaOf(by),
  };
}

function waitHeaders({ seconds, milliseconds, isRetryable }: Wait): ReplyHeaders {
  return {
    'retry-after': String(seconds),
    'retry-after-ms': String(milliseconds),
    ...(isRetryable ? {} : NO_RETRY),
  };
}

function unavailable({ limit, degraded }: Extract<Decision, { kind: 'unavailable' }>): Refusal {
  const name = printable(limit.name);
  const reason =
    degraded === 'Closed'
      ? `failurePolicy of limit "${name}" is Closed`
      : `this limiter's share of limit "${name}" is used up`;
  const message = `The rate limit store does not answer, and ${reason}. Please try again later.`;
  return byLimit('store_unavailable', name, message, {
    'retry-after': String(OUTAGE_RETRY_SECONDS),
    'retry-after-ms': String(OUTAGE_RETRY_SECONDS * 1000),
  });
}

function blocked({ limit }: LimitOutcome): Refusal {
  const name = printable(limit.name);
  return byLimit('limit_blocked', name, `Blocked: limit "${name}" is 0. Retrying does not help.`, NO_RETRY);
}

function tooLarge({ limit, amount, state }: LimitOutcome): Refusal {
  const name = printable(limit.name);
  const message = `This request takes ${amount} of limit "${name}", which holds at most ${state.limit}: it can never pass.`;
  return byLimit('exceeds_capacity', name, message, NO_RETRY);
}

function byLimit(code: ErrorName, limit: string, message: string, headers: ReplyHeaders): Refusal {
  return { code, status: ERRORS[code].status, message, isByLimit: true, limit, headers };
}
