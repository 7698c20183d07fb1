// Limiter, refuse stage: the Anthropic dialect. In: a refusal or a quota; out: `{"type": "error", …}` and
// `anthropic-ratelimit-*`.
import { MEASURES } from '../../contract/measures.ts';
import type { RefusalDialect } from './dialect.ts';
import { headerSafe, type Quota } from './quota.ts';
import type { Refusal, ReplyHeaders } from './refusal.ts';

const TYPES: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
};

export const ANTHROPIC: RefusalDialect = {
  id: 'anthropic',
  contentType: 'application/json',
  family: 'Anthropic',
  detects: ({ headers, endpoint }) => headers['anthropic-version'] !== undefined || endpoint === 'anthropic',
  body: (refusal, { requestId }) => ({ status: refusal.status, body: bodyOf(refusal, requestId) }),
  headers: (requestId) => ({ 'request-id': requestId }),
  streamError: (refusal, { requestId }) => `event: error\ndata: ${bodyOf(refusal, requestId)}\n\n`,
};

/** `anthropic-ratelimit-<unit>-{limit,remaining,reset}`; none for a measure without a unit there. */
export function anthropicHeaders(quota: Quota, nowMicros: number): ReplyHeaders {
  const unit = MEASURES[quota.measure].headerUnit.Anthropic;
  if (unit === undefined) return {};
  const stem = `anthropic-ratelimit-${unit}`;
  return {
    [`${stem}-limit`]: String(quota.limit),
    [`${stem}-remaining`]: String(quota.remaining),
    [`${stem}-reset`]: rfc3339(nowMicros + quota.resetMicros),
  };
}

/** `{"type": "error", "error": {type, message}, "request_id"}` */
function bodyOf({ status, message }: Refusal, requestId: string): string {
  const type = TYPES[status] ?? (status >= 500 ? 'api_error' : 'invalid_request_error');
  return JSON.stringify({ type: 'error', error: { type, message }, request_id: headerSafe(requestId) });
}

/** Whole seconds, rounded up: `2026-01-31T12:00:00Z`. Years beyond 9999 do not exist in RFC 3339 and are capped. */
function rfc3339(micros: number): string {
  const ms = Math.min(Math.ceil(micros / 1_000_000) * 1000, Date.UTC(9999, 11, 31, 23, 59, 59));
  return new Date(ms).toISOString().replace(/\.\d{3}Z$/, 'Z');
}
