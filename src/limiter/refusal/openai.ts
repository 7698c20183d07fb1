// Limiter, refuse stage: the OpenAI dialect. In: a refusal or a quota; out: `{"error": {…}}` and `x-ratelimit-*`.
import { MEASURES } from '../../contract/measures.ts';
import type { RefusalDialect } from './dialect.ts';
import { clientDuration, type Quota } from './quota.ts';
import type { Refusal, ReplyHeaders } from './refusal.ts';

const TYPES: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  403: 'permission_error',
};

/** Gemini's own clients read the message of this form too. */
export const OPENAI: RefusalDialect = {
  id: 'openai',
  contentType: 'application/json',
  family: 'OpenAI',
  detects: ({ endpoint }) => endpoint === 'openai' || endpoint === 'google',
  body: (refusal) => ({ status: refusal.status, body: bodyOf(refusal) }),
  headers: () => ({}),
  streamError: (refusal) => `data: ${bodyOf(refusal)}\n\n`,
};

/** `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`; none for a measure without a unit there. */
export function openAiHeaders(quota: Quota): ReplyHeaders {
  const unit = MEASURES[quota.measure].headerUnit.OpenAI;
  if (unit === undefined) return {};
  return {
    [`x-ratelimit-limit-${unit}`]: String(quota.limit),
    [`x-ratelimit-remaining-${unit}`]: String(quota.remaining),
    [`x-ratelimit-reset-${unit}`]: clientDuration(quota.resetMicros),
  };
}

/** `{"error": {message, type, param, code}}` */
function bodyOf(refusal: Refusal): string {
  const type = typeOf(refusal);
  const code = type === 'insufficient_quota' ? type : refusal.code;
  return JSON.stringify({ error: { message: refusal.message, type, param: null, code } });
}

function typeOf({ status, wait, unit }: Refusal): string {
  if (status === 429) return wait?.isRetryable === false ? 'insufficient_quota' : (unit ?? 'requests');
  if (status >= 500) return 'server_error';
  return TYPES[status] ?? 'invalid_request_error';
}
