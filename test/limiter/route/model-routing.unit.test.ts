// Routing by model: routes of every model, spellings of a claimed name, and requests that name no model or two.
import { describe, expect, test } from '@jest/globals';
import type { LimiterConfig } from '../../../src/contract/limiter-config.ts';
import type { WireRequest } from '../../../src/limiter/decide/decision.ts';
import type { RuntimeSet } from '../../../src/limiter/compile/runtime-set.ts';
import type { Resolution, RouteOptions } from '../../../src/limiter/route/route-index.ts';
import { mcpRouting, modelRouting, request, rule, setOf } from '../fixtures.ts';

const SHARED: RouteOptions = { mode: 'shared' };
const SIDECAR: RouteOptions = { mode: 'sidecar', defaultTarget: { url: 'http://127.0.0.1:8000', weight: 1 } };

function resolve(set: RuntimeSet, change: Partial<WireRequest>): Resolution {
  return set.index.resolve(request(change), () => 0);
}

/** `name rule path-below` of what took it, or the kind and code of what did not. */
function outcome(set: RuntimeSet, change: Partial<WireRequest>): string {
  const found = resolve(set, change);
  if (found.kind === 'matched')
    return `${found.object.config.name} ${found.match.ruleName} ${found.match.upstreamPath}`;
  return found.kind === 'notFound' ? found.code : found.kind;
}

describe('a route of every model', () => {
  const star = (name: string, routing: Partial<LimiterConfig['routing']> = {}) => ({
    name,
    routing: modelRouting({ models: ['*'], pathPrefix: '/', ...(routing as object) }),
  });
  const named = { name: 'named', routing: modelRouting() };

  test.each([SIDECAR, SHARED])('takes what no other names, whatever its age: %j', (options) => {
    const set = setOf(options, { ...star('star'), createdAt: '2020-01-01T00:00:00Z' }, named);
    expect(outcome(set, { model: 'm' })).toBe('named default /v1/chat/completions');
    expect(outcome(set, { model: 'other' })).toBe('star default /v1/chat/completions');
    expect(outcome(set, { model: '*' })).toBe('star default /v1/chat/completions');
    expect(outcome(set, { model: 'n', path: '/anything' })).toBe('star default /anything');
  });

  test.each([SIDECAR, SHARED])('does not take another spelling of a name that is claimed: %j', (options) => {
    const set = setOf(options, star('star'), named);
    for (const model of ['M', 'm:latest', 'M:LATEST', 'm:Latest']) {
      expect([model, outcome(set, { model })]).toEqual([model, 'named default /v1/chat/completions']);
    }
    for (const model of ['m:7b', 'm2', 'latest', ':latest', 'org/m']) {
      expect([model, outcome(set, { model })]).toEqual([model, 'star default /v1/chat/completions']);
    }
  });

  test('takes what no rule of a named route matches', () => {
    const only = { name: 'named', routing: modelRouting({ rules: [rule({ path: { exact: '/a' } })] }) };
    const set = setOf(SIDECAR, star('star'), only);
    expect(outcome(set, { model: 'm', path: '/a' })).toBe('named default /a');
    expect(outcome(set, { model: 'm', path: '/b' })).toBe('star default /b');
  });

  test('takes the models of its place on a shared limiter, and of no other', () => {
    const set = setOf(SHARED, star('a', { pathPrefix: '/a' }), star('b', { hostnames: ['b.example'] }));
    expect(outcome(set, { path: '/a/v1', model: 'x' })).toBe('a default /v1');
    expect(outcome(set, { path: '/b/v1', model: 'x', host: 'b.example' })).toBe('b default /b/v1');
    expect(outcome(set, { path: '/c/v1', model: 'x' })).toBe('not_found');
  });

  test('leaves to a sidecar what names no model and runs none', () => {
    const set = setOf(SIDECAR, star('star'));
    expect(outcome(set, { method: 'GET', path: '/v1/models' })).toBe('unclaimed');
    expect(outcome(set, { path: '/metrics' })).toBe('unclaimed');
  });

  test('takes the default model where an endpoint means it', () => {
    for (const options of [SIDECAR, SHARED]) {
      const set = setOf(options, named, star('star'));
      for (const path of ['/generate', '/v1/score', '/invocations', '/']) {
        expect([path, outcome(set, { path })]).toEqual([path, `star default ${path}`]);
      }
      expect(outcome(set, { path: '/v1/chat/completions' })).toBe('unclear');
    }
  });

  test('has the model in one spelling, a named route in its own', () => {
    const set = setOf(SIDECAR, star('star'), { name: 'named', routing: modelRouting({ models: ['Llama', 'lora'] }) });
    const modelOf = (model: string): string | undefined => {
      const found = resolve(set, { model });
      return found.kind === 'matched' ? found.match.model : undefined;
    };
    expect(['Llama', 'llama:latest', 'LORA', 'Other:latest', 'OTHER'].map(modelOf)).toEqual([
      'Llama',
      'Llama',
      'lora',
      'other',
      'other',
    ]);
  });

  test('goes with its object', () => {
    const set = setOf(SIDECAR, star('star'));
    expect(outcome(set.withChanges([], ['ModelRoute/serving/star']), { model: 'x' })).toBe('unclaimed');
  });
});

describe('a request that names no model where one runs', () => {
  const PATHS = [
    '/v1/chat/completions',
    '/v1/embeddings',
    '/v1/messages',
    '/generate',
    '/v1/score',
    '/v1/models/:predict',
  ];

  test('is unclear on a sidecar with routes, whatever places they have', () => {
    const placed = [
      { name: 'h', routing: modelRouting({ hostnames: ['gateway.example.com'] }) },
      { name: 'p', routing: modelRouting({ pathPrefix: '/v1' }) },
    ];
    for (const objects of [[{ name: 'a' }], placed]) {
      const set = setOf(SIDECAR, ...objects);
      expect(PATHS.map((path) => outcome(set, { path }))).toEqual(PATHS.map(() => 'unclear'));
      expect(outcome(set, { method: 'GET', path: '/v1/realtime' })).toBe('unclear');
    }
  });

  test('passes a sidecar that limits no models', () => {
    const set = setOf(SIDECAR, { name: 'mcp', routing: mcpRouting({ pathPrefix: '/mcp' }) });
    expect(PATHS.map((path) => outcome(set, { path }))).toEqual(PATHS.map(() => 'unclaimed'));
    const gone = setOf(SIDECAR, { name: 'a' }).withChanges([], ['ModelRoute/serving/a']);
    expect(PATHS.map((path) => outcome(gone, { path }))).toEqual(PATHS.map(() => 'unclaimed'));
  });

  test('is taken by its place on a shared limiter, unless two routes share that', () => {
    const one = setOf(SHARED, { name: 'a' });
    expect(outcome(one, { path: '/v1/chat/completions' })).toBe('a default /v1/chat/completions');
    const two = setOf(SHARED, { name: 'a' }, { name: 'b', routing: modelRouting({ models: ['n'] }) });
    expect(PATHS.map((path) => outcome(two, { path }))).toEqual(PATHS.map(() => 'unclear'));
    expect(outcome(two, { method: 'GET', path: '/v1/models' })).toBe('a default /v1/models');
  });

  test('means the first model of its route on a shared limiter, unless the API asks for a name and there are several', () => {
    const means = (models: string[], path: string): string | undefined => {
      const found = setOf(SHARED, { name: 'a', routing: modelRouting({ models }) }).index.claim(request({ path }));
      return found.kind === 'claimed' ? found.model : found.kind;
    };
    expect(means(['m'], '/v1/chat/completions')).toBe('m');
    expect(means(['m', 'lora'], '/v1/chat/completions')).toBe('unclear');
    expect(means(['*'], '/v1/chat/completions')).toBe('unclear');
    expect(means(['m', 'lora'], '/v1/rerank')).toBe('m');
    expect(means(['*'], '/v1/rerank')).toBeUndefined();
    expect(means(['m', 'lora'], '/tokenize')).toBeUndefined();
  });
});

describe('two names of a model in one request', () => {
  const set = setOf(SIDECAR, { name: 'a' });
  const path = '/openai/deployments/x/chat/completions';

  test('are unclear on a sidecar when the one that does not count is limited', () => {
    expect(outcome(set, { path, model: 'x', bodyModel: 'm' })).toBe('unclear');
    expect(outcome(set, { path, model: 'x', bodyModel: 'y' })).toBe('unclaimed');
    expect(outcome(set, { path, model: 'm', bodyModel: 'x' })).toBe(`a default ${path}`);
  });
});
