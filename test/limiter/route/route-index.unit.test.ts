// Routing: which object takes a request, which target serves it, and what is nobody's.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { LimiterConfig, RouteRule } from '../../../src/contract/limiter-config.ts';
import type { WireRequest } from '../../../src/limiter/decide/decision.ts';
import { chooseTarget, type Resolution, type RouteOptions } from '../../../src/limiter/route/route-index.ts';
import { RuntimeSet } from '../../../src/limiter/compile/runtime-set.ts';
import { compiled, mcpRouting, modelRouting, request, rule, setOf, UPSTREAM } from '../fixtures.ts';

const SHARED: RouteOptions = { mode: 'shared' };
const SIDECAR: RouteOptions = { mode: 'sidecar', defaultTarget: { url: 'http://127.0.0.1:8000', weight: 1 } };
const NO_CHANCE = (): number => 0;

function resolve(set: RuntimeSet, change: Partial<WireRequest>): Resolution {
  return set.index.resolve(request(change), NO_CHANCE);
}

/** `name rule path-below` of what took it, or the kind and code of what did not. */
function outcome(set: RuntimeSet, change: Partial<WireRequest>): string {
  const found = resolve(set, change);
  if (found.kind === 'matched')
    return `${found.object.config.name} ${found.match.ruleName} ${found.match.upstreamPath}`;
  return found.kind === 'notFound' ? found.code : found.kind;
}

const route = (name: string, routing: Partial<LimiterConfig['routing']> = {}, namespace = 'serving') => ({
  name,
  namespace,
  routing: modelRouting({ pathPrefix: `/${namespace}/${name}`, ...(routing as object) }),
});

describe('a shared limiter', () => {
  const set = setOf(SHARED, route('a'), route('a', {}, 'other'), route('b', { models: ['x', 'lora-1'] }));

  test.each<[string, string | undefined, string]>([
    ['/serving/a/v1/chat/completions', 'm', 'a default /v1/chat/completions'],
    ['/serving/a', 'm', 'a default /'],
    ['/serving/a/', 'm', 'a default /'],
    ['/serving/ab/v1', 'm', 'not_found'],
    ['/serving/a/v1', undefined, 'a default /v1'],
    ['/serving/a/v1', 'x', 'model_not_found'],
    ['/serving/b/v1', 'lora-1', 'b default /v1'],
    ['/serving/b/v1', 'serving/a', 'model_not_found'],
    ['/serving/b/v1', 'X', 'model_not_found'],
    ['/v1/chat/completions', 'm', 'not_found'],
    ['/', undefined, 'not_found'],
  ])('%s with model %s: %s', (path, model, expected) => {
    expect(outcome(set, model === undefined ? { path } : { path, model })).toBe(expected);
  });

  test('trap 11: one model name in two namespaces is two routes', () => {
    const [mine, other] = ['serving', 'other'].map((namespace) =>
      resolve(set, { path: `/${namespace}/a/v1`, model: 'm' }),
    );
    if (mine?.kind !== 'matched' || other?.kind !== 'matched') throw new Error('both are routes');
    expect([mine.object.config.namespace, other.object.config.namespace]).toEqual(['serving', 'other']);
  });

  test('a model that is not there names the object whose place it was', () => {
    const missing = resolve(set, { path: '/serving/b/v1', model: 'm' });
    expect(missing).toMatchObject({ kind: 'notFound', code: 'model_not_found', object: { config: { name: 'b' } } });
  });
});

describe('prefixes in another letter case', () => {
  const objects = [
    route('lower', { pathPrefix: '/api' }),
    route('upper', { pathPrefix: '/API' }),
    { name: 'mixed', routing: mcpRouting({ pathPrefix: '/Tools/a' }) },
  ];

  test.each<[path: string, sidecar: string, shared: string]>([
    ['/api/v1', 'lower default /v1', 'lower default /v1'],
    ['/API/v1', 'upper default /v1', 'upper default /v1'],
    ['/Api/V1', 'lower default /V1', 'not_found'],
    ['/tools/A/Messages', 'mixed  /Messages', 'not_found'],
    ['/TOOLS/a', 'mixed  /', 'not_found'],
    ['/toolsx/a', 'unclaimed', 'not_found'],
  ])('%s: on a sidecar %s, else %s', (path, sidecar, shared) => {
    expect(outcome(setOf(SIDECAR, ...objects), { path, model: 'm' })).toBe(sidecar);
    expect(outcome(setOf(SHARED, ...objects), { path, model: 'm' })).toBe(shared);
  });
});

describe('a sidecar', () => {
  const set = setOf(SIDECAR, { name: 'a', routing: modelRouting({ pathPrefix: '/serving/a', isDefaultPrefix: true }) });

  test('trap: traffic that belongs to no route is not its affair', () => {
    expect(outcome(set, { path: '/metrics', method: 'GET' })).toBe('unclaimed');
    expect(outcome(set, { path: '/v1/chat/completions', model: 'other' })).toBe('unclaimed');
  });

  test('takes its models on every path', () => {
    expect(outcome(set, { model: 'm' })).toBe('a default /v1/chat/completions');
  });

  test('a model that is claimed and has no matching rule is 404', () => {
    const only = setOf(SIDECAR, { name: 'a', routing: modelRouting({ rules: [rule({ methods: ['GET'] })] }) });
    expect(outcome(only, { model: 'm' })).toBe('not_found');
    expect(outcome(only, { model: 'm', method: 'GET' })).toBe('a default /v1/chat/completions');
  });

  test('a prefix or a host of its own claims requests without a model', () => {
    const placed = setOf(
      SIDECAR,
      { name: 'p', routing: modelRouting({ pathPrefix: '/p' }) },
      { name: 'h', routing: modelRouting({ hostnames: ['h.example'] }) },
    );
    expect(outcome(placed, { path: '/p/v1' })).toBe('p default /v1');
    expect(outcome(placed, { path: '/v1', host: 'h.example' })).toBe('h default /v1');
    expect(outcome(placed, { path: '/v1' })).toBe('unclaimed');
  });

  test('rules without targets lead to the server of its own pod', () => {
    const own = setOf(SIDECAR, { name: 'a', routing: modelRouting({ rules: [rule({ targets: [] })] }) });
    expect(resolve(own, { model: 'm' })).toMatchObject({ kind: 'matched', match: { target: SIDECAR.defaultTarget } });
    const nowhere = setOf({ mode: 'shared' }, { name: 'a', routing: modelRouting({ rules: [rule({ targets: [] })] }) });
    expect(resolve(nowhere, { model: 'm' })).toMatchObject({ kind: 'notFound', code: 'not_found' });
  });
});

describe('the more specific match wins', () => {
  test('by host: exact, then the longer wildcard, then any', () => {
    const on = (name: string, ...hostnames: string[]) => ({ name, routing: modelRouting({ hostnames }) });
    const set = setOf(
      SHARED,
      on('any'),
      on('wide', '*.example.com'),
      on('narrow', '*.eu.example.com'),
      on('exact', 'a.eu.example.com', 'B.example.com'),
    );
    const at = (host: string): string => outcome(set, { host, path: '/', model: 'm' }).split(' ')[0] ?? '';
    expect(
      ['a.eu.example.com', 'c.eu.example.com', 'x.y.eu.example.com', 'c.example.com', 'b.example.com'].map(at),
    ).toEqual(['exact', 'narrow', 'narrow', 'wide', 'exact']);
    expect(['example.com', 'other.org', '', 'a.eu.example.com.'].map(at)).toEqual(['any', 'any', 'any', 'exact']);
  });

  test('by prefix, then by model: a less specific object takes what the others do not claim', () => {
    const set = setOf(
      SHARED,
      { name: 'root', routing: modelRouting({ models: ['m', 'n'] }) },
      { name: 'deep', routing: modelRouting({ pathPrefix: '/a/b' }) },
      { name: 'mid', routing: modelRouting({ pathPrefix: '/a' }) },
    );
    const at = (path: string, model: string): string => outcome(set, { path, model });
    expect(at('/a/b/c', 'm')).toBe('deep default /c');
    expect(at('/a/bc', 'm')).toBe('mid default /bc');
    expect(at('/x', 'm')).toBe('root default /x');
    expect(at('/a/b/c', 'n')).toBe('root default /a/b/c');
    expect(at('/a/b/c', 'o')).toBe('model_not_found');
  });

  test('by rule between objects: exact path, longer prefix, regex, headers, methods', () => {
    const withRule = (name: string, change: Partial<RouteRule>) => ({
      name,
      routing: modelRouting({ rules: [rule({ name: `r-${name}`, ...change })] }),
    });
    const set = setOf(
      SHARED,
      withRule('all', {}),
      withRule('regex', { path: { regex: '/v1/.*' } }),
      withRule('prefix', { path: { prefix: '/v1/chat' } }),
      withRule('exact', { path: { exact: '/v1/chat/completions' } }),
      withRule('gold', { headers: [{ name: 'x-tier', exact: 'gold' }] }),
    );
    const at = (path: string, headers = {}): string => outcome(set, { path, headers, model: 'm' }).split(' ')[0] ?? '';
    expect(at('/v1/chat/completions')).toBe('exact');
    expect(at('/v1/chat/completions/')).toBe('exact');
    expect(at('/v1/chat/other')).toBe('prefix');
    expect(at('/v1/embeddings')).toBe('regex');
    expect(at('/x')).toBe('all');
    expect(at('/x', { 'x-tier': 'gold' })).toBe('gold');
  });

  test('ties go to the older object, then to the name', () => {
    const old = { name: 'z', createdAt: '2026-01-01T00:00:00Z', routing: modelRouting() };
    const young = { name: 'a', createdAt: '2026-02-01T00:00:00Z', routing: modelRouting() };
    expect(outcome(setOf(SHARED, old, young), { model: 'm' })).toContain('z ');
    expect(outcome(setOf(SHARED, young, old), { model: 'm' })).toContain('z ');
    expect(
      outcome(setOf(SHARED, route('y', { pathPrefix: '/' }), route('x', { pathPrefix: '/' })), { model: 'm' }),
    ).toContain('x ');
  });
});

describe('rules of one object', () => {
  const routing = modelRouting({
    pathPrefix: '/p',
    rules: [
      rule({ name: 'gold', headers: [{ name: 'X-Tier', exact: 'gold' }] }),
      rule({ name: 'chat', path: { prefix: '/v1/chat' }, methods: ['post'] }),
      rule({ name: 'predict', path: { regex: '/v1/models/[^/]+:predict' } }),
    ],
  });
  const set = setOf(SHARED, { name: 'a', routing });
  const at = (path: string, change: Partial<WireRequest> = {}): string => outcome(set, { path, model: 'm', ...change });

  test('go in list order, on the path below the prefix', () => {
    expect(at('/p/v1/chat/completions')).toBe('a chat /v1/chat/completions');
    expect(at('/p/v1/chat/completions', { headers: { 'x-tier': 'gold' } })).toBe('a gold /v1/chat/completions');
    expect(at('/p/v1/models/iris:predict')).toBe('a predict /v1/models/iris:predict');
    expect(at('/p/v1/chat', { method: 'GET' })).toBe('not_found');
    expect(at('/p/p/v1/chat')).toBe('not_found');
  });

  test('do not see headers that only a trusted peer may set', () => {
    const trusting = setOf(SHARED, {
      name: 'a',
      routing,
      identity: {
        required: false,
        trustedHops: 0,
        trustedHeaders: { attributes: { tier: 'x-tier' }, trustedPeers: ['10.0.0.1/32'] },
      },
    });
    const spoofed = { path: '/p/x', model: 'm', headers: { 'x-tier': 'gold' } };
    expect(outcome(trusting, { ...spoofed, peerAddress: '10.0.0.2' })).toBe('not_found');
    expect(outcome(trusting, { ...spoofed, peerAddress: '::ffff:10.0.0.1' })).toBe('a gold /x');
  });
});

describe('MCP servers', () => {
  const set = setOf(
    SHARED,
    { name: 'search', routing: mcpRouting({ pathPrefix: '/tools/search' }) },
    { name: 'root', routing: mcpRouting({ hostnames: ['mcp.example'] }) },
    { name: 'chat', routing: modelRouting({ hostnames: ['mcp.example'] }) },
  );

  test('take everything below their place', () => {
    expect(outcome(set, { path: '/tools/search/mcp', tool: 'x' })).toBe('search  /mcp');
    expect(outcome(set, { path: '/tools/search/mcp', model: 'm' })).toBe('search  /mcp');
    expect(outcome(set, { path: '/tools/search', method: 'GET' })).toBe('search  /');
  });

  test('at one place with a route: a tool call is theirs, a model of the route is the route’s', () => {
    const at = (change: Partial<WireRequest>): string => outcome(set, { host: 'mcp.example', path: '/mcp', ...change });
    expect(at({ tool: 'x', model: 'm' })).toBe('root  /mcp');
    expect(at({ model: 'm' })).toBe('chat default /mcp');
    expect(at({ model: 'other' })).toBe('root  /mcp');
    expect(at({})).toBe('root  /mcp');
  });
});

describe('targets', () => {
  const targets = [
    { url: 'http://a', weight: 1 },
    { url: 'http://b', weight: 0 },
    { url: 'http://c', weight: 3 },
  ];

  test.each([
    [0, 'http://a'],
    [0.2499, 'http://a'],
    [0.25, 'http://c'],
    [0.9999999, 'http://c'],
  ])('at %d it is %s', (chance, url) => {
    expect(chooseTarget(targets, () => chance)?.url).toBe(url);
  });

  test('a weight of 0 is never chosen, and nothing is when all are 0', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (chance) => {
        expect(chooseTarget(targets, () => chance)?.weight).toBeGreaterThan(0);
      }),
    );
    const zero = setOf(SHARED, {
      name: 'a',
      routing: modelRouting({ rules: [rule({ targets: [{ ...UPSTREAM, weight: 0 }] })] }),
    });
    expect(outcome(zero, { model: 'm' })).toBe('not_found');
  });

  test('one resolution draws once: the target that is named is the one that serves', () => {
    let draws = 0;
    const set = setOf(SHARED, { name: 'a' });
    set.index.resolve(request({ model: 'm' }), () => {
      draws += 1;
      return 0;
    });
    expect(draws).toBe(1);
  });
});

describe('changes', () => {
  test('a new set leaves the old one as it was', () => {
    const before = setOf(SHARED, route('a'));
    const after = before.withChanges([compiled(route('b'))], ['ModelRoute/serving/a']);
    expect(outcome(before, { path: '/serving/a/v1', model: 'm' })).toBe('a default /v1');
    expect(outcome(before, { path: '/serving/b/v1', model: 'm' })).toBe('not_found');
    expect(outcome(after, { path: '/serving/a/v1', model: 'm' })).toBe('not_found');
    expect(outcome(after, { path: '/serving/b/v1', model: 'm' })).toBe('b default /v1');
    expect([before.size, after.size]).toEqual([1, 1]);
    expect(after.get('ModelRoute/serving/b')?.config.name).toBe('b');
    expect([...after.objects()].map(({ resourceName }) => resourceName)).toEqual(['ModelRoute/serving/b']);
  });

  test('an update moves an object: nothing of its old place is left', () => {
    const before = setOf(SHARED, route('a', { models: ['m', 'n'], hostnames: ['h.example'] }));
    const after = before.withChanges([compiled(route('a', { models: ['n'], pathPrefix: '/moved' }))], []);
    expect(outcome(after, { host: 'h.example', path: '/serving/a/v1', model: 'm' })).toBe('not_found');
    expect(outcome(after, { path: '/moved/v1', model: 'n' })).toBe('a default /v1');
    expect(outcome(after, { path: '/moved/v1', model: 'm' })).toBe('model_not_found');
    expect(after.size).toBe(1);
  });

  test('any sequence of changes ends as the same set built at once', () => {
    const change = fc.record({
      name: fc.constantFrom('a', 'b', 'c', 'd'),
      place: fc.constantFrom('/', '/x', '/x/y'),
      remove: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 20 }), (changes) => {
        const last = new Map<string, ReturnType<typeof route>>();
        let set = RuntimeSet.empty(SHARED);
        for (const { name, place, remove } of changes) {
          const config = route(name, { pathPrefix: place, models: [name, 'common'] });
          if (remove) last.delete(name);
          else last.set(name, config);
          set = remove ? set.withChanges([], [`ModelRoute/serving/${name}`]) : set.withChanges([compiled(config)], []);
        }
        const atOnce = setOf(SHARED, ...last.values());
        for (const path of ['/', '/x/q', '/x/y/z']) {
          for (const model of ['a', 'b', 'c', 'd', 'common', 'none']) {
            expect(outcome(set, { path, model })).toBe(outcome(atOnce, { path, model }));
          }
        }
        expect(set.size).toBe(last.size);
      }),
    );
  });

  test('ten thousand objects: each is found', () => {
    const routes = Array.from({ length: 10_000 }, (_unused, index) => compiled(route(`r${index}`)));
    const set = RuntimeSet.empty(SHARED).withChanges(routes, []);
    expect(set.size).toBe(10_000);
    expect(outcome(set, { path: '/serving/r9999/v1', model: 'm' })).toBe('r9999 default /v1');
    expect(outcome(set, { path: '/serving/r10000/v1', model: 'm' })).toBe('not_found');
  });

  test('a path of thousands of segments costs no more than the deepest prefix', () => {
    const set = setOf(SHARED, route('a'));
    expect(outcome(set, { path: `/serving/a${'/x'.repeat(8000)}`, model: 'm' })).toContain('a default /x/x');
  });
});
