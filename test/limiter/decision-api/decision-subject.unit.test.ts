// The decision API answers as the proxy does: which model a request names, and what has more than one value.
import { describe, expect, test } from '@jest/globals';
import type { FactsBody } from '../../../src/limiter/decision-api/decision-schemas.ts';
import { subjectOf } from '../../../src/limiter/decision-api/decision-subject.ts';
import type { RouteOptions } from '../../../src/limiter/route/route-index.ts';
import { limit, modelRouting, setOf } from '../fixtures.ts';

const SIDECAR: RouteOptions = { mode: 'sidecar', defaultTarget: { url: 'http://127.0.0.1:8000', weight: 1 } };
const LIMITS = [
  limit({
    per: [
      { type: 'header', name: 'x-tenant', whenAbsent: 'Share' },
      { type: 'query', name: 't', whenAbsent: 'Share' },
    ],
  }),
];
const NAMED = { name: 'named', limits: LIMITS };
const EVERY = { name: 'every', routing: modelRouting({ models: ['*'] }) };
const REF = { kind: 'ModelRoute', namespace: 'serving', name: 'named' } as const;

/** `name model` of what takes a request, `unclaimed`, or the message of its refusal. */
function outcome(
  request: FactsBody,
  options: RouteOptions = SIDECAR,
  objects: object[] = [NAMED],
  object?: typeof REF,
) {
  try {
    const body = { request, ...(object === undefined ? {} : { object }) };
    const subject = subjectOf(body, setOf(options, ...objects));
    return subject === undefined ? 'unclaimed' : `${subject.object.config.name} ${subject.facts.model ?? '-'}`;
  } catch (error) {
    return (error as Error).message;
  }
}

const UNNAMED = 'the request names no model: set "model"';
const CHAT = '/v1/chat/completions';

describe('the model', () => {
  test.each<[FactsBody, string]>([
    [{ path: CHAT, model: 'm' }, 'named m'],
    [{ model: 'm' }, 'named m'],
    [{ path: CHAT, model: 'M:latest' }, 'named m'],
    [{ path: CHAT, model: ' m ' }, 'named m'],
    [{ path: CHAT, model: 'other' }, 'unclaimed'],
    [{ path: CHAT, model: '' }, UNNAMED],
    [{ path: CHAT, model: '  ' }, UNNAMED],
    [{ path: CHAT }, UNNAMED],
    [{ path: '/generate' }, UNNAMED],
    [{ path: '/v1/models/m/versions/2:predict' }, 'named m'],
    [{ path: '/v2/models/m/infer', model: 'x' }, 'named m'],
    [{ path: '/v2/models/x/infer', model: 'm' }, 'unclaimed'],
    [
      { path: '/openai/deployments/x/chat/completions', model: 'm' },
      'the path and the body name different models: name one',
    ],
    [{ path: CHAT, method: 'get' }, 'unclaimed'],
    [{}, 'unclaimed'],
    [{ model: '' }, 'unclaimed'],
  ])('of %j on a sidecar: %s', (request, expected) => {
    expect(outcome(request)).toBe(expected);
  });

  test.each<[FactsBody, string]>([
    [{ path: CHAT, model: 'Qwen:latest' }, 'every qwen'],
    [{ path: CHAT, model: '*' }, 'every *'],
    [{ path: CHAT, model: 'M' }, 'named m'],
    [{ path: '/generate' }, 'every -'],
    [{ path: CHAT }, UNNAMED],
  ])('of %j beside a route of every model: %s', (request, expected) => {
    expect(outcome(request, SIDECAR, [NAMED, EVERY])).toBe(expected);
  });

  test('is that of the object where one is named', () => {
    expect(outcome({ model: 'M' }, { mode: 'shared' }, [NAMED], REF)).toBe('named m');
    expect(outcome({ model: '' }, { mode: 'shared' }, [NAMED], REF)).toBe('named -');
  });
});

describe('more than one value', () => {
  test.each<[FactsBody, string]>([
    [{ headers: { 'X-Tenant': 'a', 'x-tenant': 'b' } }, 'header x-tenant must have exactly one value, in UTF-8'],
    [{ query: 't=a&t=b' }, 'query parameter t must have exactly one value, in UTF-8'],
    [{ query: '?t=%FF' }, 'query parameter t must have exactly one value, in UTF-8'],
    [{ headers: { 'X-Tenant': 'a', 'X-Other': 'b', 'x-other': 'c' }, query: 'u=1&u=2' }, 'named m'],
  ])('%j: %s', (request, expected) => {
    expect(outcome({ ...request, model: 'm' })).toBe(expected);
    expect(outcome({ ...request, model: 'm' }, { mode: 'shared' }, [NAMED], REF)).toBe(expected);
  });

  test('texts have the form that they have on the wire', () => {
    const subject = subjectOf(
      { request: { model: 'm', host: 'A.example:80', headers: { 'X-Tenant': ' Zoe\u0308 ' } } },
      setOf(SIDECAR, NAMED),
    );
    expect([subject?.facts.host, subject?.facts.headers['x-tenant']]).toEqual(['a.example', 'Zoë']);
  });
});
