// Limiter, decision API: decisions as JSON. In: a Decision and whom it is about; out: the body of an answer.
import { ERRORS } from '../../lib/errors.ts';
import type { Explanation } from '../decide/decide.ts';
import type { Decision, LimitOutcome, RefusalContext } from '../decide/decision.ts';
import { allowedHeaders, renderError, renderRefusal } from '../refusal/render.ts';
import { shapeOf } from '../refusal/dialects.ts';
import type { RuntimeLimit, RuntimeObject } from '../compile/runtime-object.ts';
import type { Subject } from './decision-subject.ts';

/** JSON as it goes out. */
export type Answer = Readonly<Record<string, unknown>>;

/** What a sidecar says of a request that no object claims. */
export const UNCLAIMED: Answer = { decision: 'allowed', object: null, limits: [], headers: {} };

/** The answer of /v1/decide. `requestId` also goes into the refusal that a caller may pass on. */
export function decideAnswer(
  { object, facts }: Subject,
  decision: Decision,
  requestId: string,
  nowMicros: number,
): Answer {
  const context: RefusalContext = {
    response: object.config.response,
    shape: shapeOf(object.config.response.dialect, { ...facts, isJsonRpc: object.routing.kind === 'mcp' }),
    requestId,
  };
  const about = { object: refOf(object), limits: decision.outcomes.map(limitAnswer) };
  if (decision.kind === 'allowed') {
    return {
      decision: 'allowed',
      ...about,
      ...(decision.degraded === undefined ? {} : { degraded: decision.degraded }),
      headers: allowedHeaders(decision, context, nowMicros),
    };
  }
  const { status, headers, body } = renderRefusal(decision, context, nowMicros);
  if (decision.kind === 'unavailable') {
    const { limit, degraded } = decision;
    return { decision: 'unavailable', ...about, limit: limit.name, degraded, status, headers, body };
  }
  const { waitMicros } = decision.by.state;
  return {
    decision: 'denied',
    reason: decision.reason,
    ...about,
    limit: decision.by.limit.name,
    ...(decision.reason === 'exhausted' ? { retryAfterMs: Math.ceil(waitMicros / 1000) } : {}),
    status,
    headers,
    body,
  };
}

/** The answer for a request without the identity that its object asks for. */
export function unauthenticatedAnswer({ object, facts }: Subject, requestId: string): Answer {
  const shape = shapeOf(object.config.response.dialect, { ...facts, isJsonRpc: object.routing.kind === 'mcp' });
  const reply = renderError('unauthenticated', { response: object.config.response, shape, requestId });
  return { decision: 'denied', reason: 'unauthenticated', object: refOf(object), limits: [], ...reply };
}

/** The answer of /v1/explain: every limit of the object, whether it applies, its key and, where known, its state. */
export function explainAnswer({ object }: Subject, explanations: readonly Explanation[], decision: Decision): Answer {
  const outcomes = new Map(decision.outcomes.map((outcome) => [outcome.limit.name, outcome]));
  const limits = object.limitSet.limits.map((limit, index) => {
    const { applies = false, key } = explanations[index] ?? {};
    const outcome = outcomes.get(limit.config.name);
    return {
      ...ruleAnswer(limit),
      applies,
      ...(key === undefined ? {} : { key }),
      ...(outcome === undefined ? {} : limitAnswer(outcome)),
    };
  });
  return { decision: decision.kind, object: refOf(object), limits };
}

function refOf({ config: { kind, namespace, name } }: RuntimeObject): Answer {
  return { kind, namespace, name };
}

function ruleAnswer({ config: { name, measure, enforcement, rule } }: RuntimeLimit): Answer {
  return { name, measure, enforcement, rule };
}

/** One limit; times in ms, `waitMs` null when the amount can never fit. */
function limitAnswer({ limit, amount, state }: LimitOutcome): Answer {
  const { waitMicros, resetMicros, remaining, over } = state;
  return {
    name: limit.name,
    measure: limit.measure,
    enforcement: limit.enforcement,
    amount,
    limit: state.limit,
    remaining,
    resetMs: Math.ceil(resetMicros / 1000),
    over,
    waitMs: Number.isFinite(waitMicros) ? Math.ceil(waitMicros / 1000) : null,
  };
}

/** An error of the table. */
export function errorAnswer(code: keyof typeof ERRORS, message: string): Answer {
  return { error: { code, message, fix: ERRORS[code].fix } };
}
