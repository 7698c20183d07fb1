// Limiter, refuse stage: problem documents (RFC 9457), for clients of no other dialect. In: a refusal; out: the body.
import { ERRORS } from '../../lib/errors.ts';
import type { RefusalDialect } from './dialect.ts';
import { headerSafe } from './quota.ts';
import type { Refusal } from './refusal.ts';

/** KServe, Ollama and TGI clients show a text `error`, which the document has. */
export const PROBLEM: RefusalDialect = {
  id: 'problem',
  contentType: 'application/problem+json',
  family: 'IETF',
  detects: () => true,
  body: (refusal, { requestId }) => ({ status: refusal.status, body: bodyOf(refusal, requestId) }),
  headers: () => ({}),
  streamError: (refusal, { requestId }) => `event: error\ndata: ${bodyOf(refusal, requestId)}\n\n`,
};

/** `limit`, `retryAfterSeconds` and `error` are extension members; `error` repeats the message. */
function bodyOf({ code, status, message, limit, wait }: Refusal, requestId: string): string {
  return JSON.stringify({
    type: `https://weir.dev/errors#${code}`,
    title: ERRORS[code].message,
    status,
    detail: message,
    error: message,
    code,
    ...(limit === undefined ? {} : { limit }),
    ...(wait === undefined ? {} : { retryAfterSeconds: wait.seconds }),
    requestId: headerSafe(requestId),
  });
}
