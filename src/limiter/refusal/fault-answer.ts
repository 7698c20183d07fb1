// Limiter, refuse stage: a fault of a request that no handler saw -> the answer, in the dialect that what is known of
// the request suggests: its path and headers. No object is known yet.
import type { WeirError } from '../../lib/errors.ts';
import type { AnsweredRequest, OwnAnswer } from '../../lib/http/http-faults.ts';
import { DEFAULT_RESPONSE, shapeOf } from './dialects.ts';
import { renderError } from './render.ts';

/** The answer on the traffic port. */
export function faultAnswer({ code, message }: WeirError, request: AnsweredRequest): OwnAnswer {
  const headers = { 'anthropic-version': textOf(request.headers['anthropic-version']) };
  const shape = shapeOf(DEFAULT_RESPONSE.dialect, { path: request.path, headers });
  return renderError(code, { response: DEFAULT_RESPONSE, shape, requestId: request.requestId }, message);
}

function textOf(value: string | readonly string[] | undefined): string | undefined {
  return typeof value === 'string' ? value : value?.[0];
}
