// Limiter, refuse stage: Decision or error code -> status, headers and body in the caller's dialect. Pure functions;
// all of one answer speaks of the one bucket that refused.
import { MEASURES } from '../../contract/measures.ts';
import { ERRORS, type ErrorName } from '../../lib/errors.ts';
import type { Decision, LimitOutcome, LocalReply, RefusalContext } from '../decide/decision.ts';
import { anthropicBody, openAiBody, problemBody, type Fault } from './bodies.ts';
import { mcpError, mcpRefusal } from './mcp-body.ts';
import { allowance, clientDuration, printable, quotaOf, tightestQuota, waitOf, type Wait } from './quota.ts';
import { quotaHeaders } from './quota-headers.ts';

/** A store is noticed within a second of its return; callers who are refused meanwhile come back at this pace. */
const OUTAGE_RETRY_SECONDS = 5;

type Denied = Extract<Decision, { kind: 'denied' }>;
type Headers = Record<string, string>;

/**
 * The answer to a request that was not let through: 429 with the true wait; 403 for a limit of 0; 400 for what can
 * never fit; 503 when the store did not answer. `nowMicros` is wall-clock time, for resets that are told as moments.
 */
export function renderRefusal(
  decision: Exclude<Decision, { kind: 'allowed' }>,
  context: RefusalContext,
  nowMicros: number,
): LocalReply {
  if (decision.kind === 'unavailable') {
    const wait = { 'retry-after': String(OUTAGE_RETRY_SECONDS), 'retry-after-ms': String(OUTAGE_RETRY_SECONDS * 1000) };
    return reply(unavailableFault(decision), context, wait, mcpRefusal);
  }
  switch (decision.reason) {
    case 'exhausted':
      return renderExhausted(decision, context, nowMicros);
    case 'blocked':
      return reply(blockedFault(decision.by), context, { 'x-should-retry': 'false' }, mcpRefusal);
    case 'too-large':
      return reply(tooLargeFault(decision.by), context, { 'x-should-retry': 'false' }, mcpRefusal);
  }
}

/** The rate limit headers of an answer that passed: of the enforced limit with the smallest remaining fraction. */
export function allowedHeaders(
  decision: Extract<Decision, { kind: 'allowed' }>,
  context: Pick<RefusalContext, 'response' | 'shape'>,
  nowMicros: number,
): Headers {
  const quota = tightestQuota(decision);
  return quota === undefined ? {} : quotaHeaders(quota, context, nowMicros);
}

/**
 * An error of the table of codes in the caller's dialect. `message` must hold nothing that the caller sent in secret.
 */
export function renderError(code: ErrorName, context: RefusalContext, message?: string): LocalReply {
  return reply(faultOf(code, message), context, ERROR_HEADERS[code] ?? {}, mcpError);
}

/** Headers that belong to an error. A connection whose body does not come any more is of no use for a next request. */
const ERROR_HEADERS: Readonly<Partial<Record<ErrorName, Headers>>> = {
  unauthenticated: { 'www-authenticate': 'Bearer realm="weir"' },
  body_timeout: { connection: 'close' },
  over_capacity: { 'retry-after': '1' },
};

function renderExhausted(decision: Denied, context: RefusalContext, nowMicros: number): LocalReply {
  const wait = waitOf(decision.by);
  const headers = {
    ...quotaHeaders(quotaOf(decision.by), context, nowMicros, wait.seconds),
    'retry-after': String(wait.seconds),
    'retry-after-ms': String(wait.milliseconds),
    ...(wait.isRetryable ? {} : { 'x-should-retry': 'false' }),
  };
  return reply(exhaustedFault(decision.by, wait), context, headers, mcpRefusal);
}

function exhaustedFault(by: LimitOutcome, wait: Wait): Fault {
  const { limit, state } = by;
  const name = printable(limit.name);
  return {
    ...faultOf(
      'rate_limit_exceeded',
      `Rate limit "${name}" reached: ${allowance(limit)}, ${state.remaining} left. ` +
        `Please try again in ${clientDuration(wait.micros)}.`,
    ),
    limit: name,
    unit: MEASURES[limit.measure].errorType,
    retryAfterSeconds: wait.seconds,
    isQuota: !wait.isRetryable,
  };
}

function unavailableFault({ limit, degraded }: Extract<Decision, { kind: 'unavailable' }>): Fault {
  const name = printable(limit.name);
  const reason =
    degraded === 'Closed'
      ? `failurePolicy of limit "${name}" is Closed`
      : `this limiter's share of limit "${name}" is used up`;
  return {
    ...faultOf('store_unavailable', `The rate limit store does not answer, and ${reason}. Please try again later.`),
    limit: name,
  };
}

function blockedFault({ limit }: LimitOutcome): Fault {
  const name = printable(limit.name);
  return { ...faultOf('limit_blocked', `Blocked: limit "${name}" is 0. Retrying does not help.`), limit: name };
}

function tooLargeFault({ limit, amount, state }: LimitOutcome): Fault {
  const name = printable(limit.name);
  const message = `This request takes ${amount} of limit "${name}", which holds at most ${state.limit}: it can never pass.`;
  return { ...faultOf('exceeds_capacity', message), limit: name };
}

function faultOf(code: ErrorName, message: string = ERRORS[code].message): Fault {
  return { code, status: ERRORS[code].status, message };
}

function reply(
  fault: Fault,
  context: RefusalContext,
  headers: Headers,
  asMcp: (fault: Fault, context: RefusalContext) => { status: number; body: string },
): LocalReply {
  const requestId = headerSafe(context.requestId);
  const all: Headers = { ...headers, 'x-request-id': requestId };
  switch (context.shape) {
    case 'openai':
      return jsonReply(fault.status, all, openAiBody(fault));
    case 'anthropic':
      return jsonReply(fault.status, { ...all, 'request-id': requestId }, anthropicBody(fault, requestId));
    case 'problem':
      return jsonReply(fault.status, all, problemBody(fault, { requestId }), 'application/problem+json');
    case 'mcp': {
      const { status, body } = asMcp(fault, context);
      return jsonReply(status, all, body);
    }
  }
}

function jsonReply(status: number, headers: Headers, body: string, type = 'application/json'): LocalReply {
  return { status, headers: body === '' ? headers : { ...headers, 'content-type': type }, body };
}

/** An id may come from the caller: nothing in it ends a header. */
function headerSafe(text: string): string {
  return text.replace(/[^\x21-\x7e]/g, '').slice(0, 128);
}
