// Limiter, refuse stage: Decision or error code -> status, headers and body in the caller's dialect. Pure functions;
// all of one answer speaks of the one bucket that refused.
import type { ErrorName } from '../../lib/errors.ts';
import type { Decision, LocalReply, RefusalContext } from '../decide/decision.ts';
import { DIALECTS } from './dialects.ts';
import { quotaHeaders } from './header-families.ts';
import { headerSafe, tightestQuota } from './quota.ts';
import { errorRefusal, refusalOf, type Refusal } from './refusal.ts';

/**
 * The answer to a request that was not let through. `nowMicros` is wall-clock time, for resets that are written as
 * moments.
 */
export function renderRefusal(
  decision: Exclude<Decision, { kind: 'allowed' }>,
  context: RefusalContext,
  nowMicros: number,
): LocalReply {
  const refusal = refusalOf(decision);
  const { quota, wait } = refusal;
  const quotas = quota === undefined ? {} : quotaHeaders(quota, context, nowMicros, wait?.seconds);
  return replyOf(refusal, context, quotas);
}

/** The rate limit headers of an answer that passed: of the enforced limit with the smallest remaining fraction. */
export function allowedHeaders(
  decision: Extract<Decision, { kind: 'allowed' }>,
  context: Pick<RefusalContext, 'response' | 'shape'>,
  nowMicros: number,
): Record<string, string> {
  const quota = tightestQuota(decision);
  return quota === undefined ? {} : quotaHeaders(quota, context, nowMicros);
}

/**
 * An error of the table of codes in the caller's dialect. `message` must hold nothing that the caller sent in secret.
 */
export function renderError(code: ErrorName, context: RefusalContext, message?: string): LocalReply {
  return replyOf(errorRefusal(code, message), context, {});
}

function replyOf(refusal: Refusal, context: RefusalContext, quotas: Record<string, string>): LocalReply {
  const dialect = DIALECTS[context.shape];
  const requestId = headerSafe(context.requestId);
  const { status, body } = dialect.body(refusal, context);
  const headers = { ...quotas, ...refusal.headers, 'x-request-id': requestId, ...dialect.headers(requestId) };
  return { status, headers: body === '' ? headers : { ...headers, 'content-type': dialect.contentType }, body };
}
