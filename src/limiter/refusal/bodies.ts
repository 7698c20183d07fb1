// Limiter, refuse stage: what went wrong -> the body that the caller's client understands (OpenAI, Anthropic, Problem).
import { ERRORS, type ErrorName } from '../../lib/errors.ts';
import type { RefusalContext } from '../decide/decision.ts';

/** A refusal or an error in words, before it takes a form. */
export interface Fault {
  readonly code: ErrorName;
  readonly status: number;
  readonly message: string;
  /** The limit that refused. */
  readonly limit?: string;
  /** tokens | requests: the OpenAI type of a 429. */
  readonly unit?: 'tokens' | 'requests';
  /** Whole seconds until the same request passes; absent when waiting does not help. */
  readonly retryAfterSeconds?: number;
  /** The wait is longer than clients should sit out. */
  readonly isQuota?: boolean;
}

const OPENAI_TYPES: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  403: 'permission_error',
};

const ANTHROPIC_TYPES: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
};

/** `{"error": {message, type, param, code}}` */
export function openAiBody(fault: Fault): string {
  const type = openAiType(fault);
  const code = type === 'insufficient_quota' ? type : fault.code;
  return JSON.stringify({ error: { message: fault.message, type, param: null, code } });
}

/** `{"type": "error", "error": {type, message}, "request_id"}` */
export function anthropicBody(fault: Fault, requestId: string): string {
  const type = ANTHROPIC_TYPES[fault.status] ?? (fault.status >= 500 ? 'api_error' : 'invalid_request_error');
  return JSON.stringify({ type: 'error', error: { type, message: fault.message }, request_id: requestId });
}

/**
 * RFC 9457; `limit`, `retryAfterSeconds` and `error` are extension members. `error` repeats the message as the text
 * that clients of KServe, Ollama and TGI show.
 */
export function problemBody(fault: Fault, context: Pick<RefusalContext, 'requestId'>): string {
  return JSON.stringify({
    type: `https://weir.dev/errors#${fault.code}`,
    title: ERRORS[fault.code].message,
    status: fault.status,
    detail: fault.message,
    error: fault.message,
    code: fault.code,
    ...(fault.limit === undefined ? {} : { limit: fault.limit }),
    ...(fault.retryAfterSeconds === undefined ? {} : { retryAfterSeconds: fault.retryAfterSeconds }),
    requestId: context.requestId,
  });
}

function openAiType({ status, isQuota, unit }: Fault): string {
  if (status === 429) return isQuota === true ? 'insufficient_quota' : (unit ?? 'requests');
  if (status >= 500) return 'server_error';
  return OPENAI_TYPES[status] ?? 'invalid_request_error';
}
