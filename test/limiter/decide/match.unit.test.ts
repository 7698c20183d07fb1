// Conditions and groups: which limits apply to a request.
import { describe, expect, test } from '@jest/globals';
import type { LimitConfig, Match } from '../../../src/contract/limiter-config.ts';
import type { Identity, WireRequest } from '../../../src/limiter/decide/decision.ts';
import { applicableLimits } from '../../../src/limiter/decide/match.ts';
import { compiled, facts, limit } from '../fixtures.ts';

function holds(match: Partial<Match>, wire: Partial<WireRequest> = {}, identity: Partial<Identity> = {}): boolean {
  const object = compiled({ limits: [limit({ when: [{ not: false, ...match }] })] });
  return applicableLimits(object.limitSet, facts(wire, identity)).length === 1;
}

describe('a condition', () => {
  const gold = { headers: { 'x-tier': 'gold' } };

  test.each<[string, Partial<Match>, Partial<WireRequest>, boolean]>([
    ['header exact', { header: { name: 'X-Tier', exact: 'gold' } }, gold, true],
    ['header exact, other', { header: { name: 'x-tier', exact: 'goldish' } }, gold, false],
    ['header exact, absent', { header: { name: 'x-none', exact: '' } }, gold, false],
    ['header prefix', { header: { name: 'x-tier', prefix: 'go' } }, gold, true],
    ['header regex matches the whole value', { header: { name: 'x-tier', regex: 'gol' } }, gold, false],
    ['header regex', { header: { name: 'x-tier', regex: 'g.*|silver' } }, gold, true],
    ['header present', { header: { name: 'x-tier', present: true } }, gold, true],
    ['header present, empty value', { header: { name: 'x', present: true } }, { headers: { x: '' } }, true],
    ['header absent', { header: { name: 'x-none', present: false } }, gold, true],
    ['header of a prototype', { header: { name: 'constructor', present: true } }, gold, false],
    ['query', { query: { name: 'a', exact: '1' } }, { query: new URLSearchParams('a=1') }, true],
    [
      'query, one of several values',
      { query: { name: 'a', exact: '2' } },
      { query: new URLSearchParams('a=1&a=2') },
      true,
    ],
    ['query absent', { query: { name: 'a', present: false } }, {}, true],
    ['method', { method: ['get', 'POST'] }, { method: 'GET' }, true],
    ['method, other', { method: ['GET'] }, { method: 'POST' }, false],
    ['model', { model: { exact: 'llama' } }, { model: 'llama' }, true],
    ['model prefix', { model: { prefix: 'lla' } }, { model: 'llama' }, true],
    ['model in another spelling', { model: { exact: 'Llama:latest' } }, { model: 'LLAMA' }, true],
    ['model, another tag', { model: { exact: 'llama' } }, { model: 'llama:7b' }, false],
    ['model prefix in another case', { model: { prefix: 'LLA' } }, { model: 'Llama:latest' }, true],
    ['header decomposed', { header: { name: 'x', exact: 'Zo\u00eb' } }, { headers: { x: 'Zoe\u0308' } }, true],
    [
      'header, condition decomposed',
      { header: { name: 'x', prefix: 'Zoe\u0308' } },
      { headers: { x: 'Zo\u00eb!' } },
      true,
    ],
    ['header regex', { header: { name: 'x', regex: 'Zo.' } }, { headers: { x: 'Zoe\u0308' } }, true],
    ['header in another case', { header: { name: 'x', exact: 'zo\u00eb' } }, { headers: { x: 'Zo\u00eb' } }, false],
    ['model absent', { model: { prefix: '' } }, {}, false],
    ['tool', { tool: { exact: 'search' } }, { tool: 'search' }, true],
    ['tool, other', { tool: { exact: 'search' } }, { tool: 'search2' }, false],
    ['path exact', { path: { exact: '/v1/models/iris:predict' } }, { path: '/v1/models/iris:predict' }, true],
    [
      'path exact in another spelling',
      { path: { exact: '/v1/models/iris%3apredict' } },
      { path: '/v1/models/iris:predict' },
      true,
    ],
    ['path exact with a slash at its end', { path: { exact: '/v1/a' } }, { path: '/v1/a/' }, true],
    ['path exact written with one', { path: { exact: '/v1/a/' } }, { path: '/v1/a' }, true],
    ['path prefix', { path: { prefix: '/v1/' } }, { path: '/v1/a' }, true],
    ['path prefix at its end', { path: { prefix: '/v1/' } }, { path: '/v1' }, true],
    ['path regex', { path: { regex: '/v[12]/[^/]+' } }, { path: '/v2/a' }, true],
    ['path regex with a slash at its end', { path: { regex: '/v[12]/[^/]+' } }, { path: '/v2/a/' }, true],
    ['path regex is whole', { path: { regex: '/v[12]' } }, { path: '/v2/a' }, false],
    ['not', { not: true, model: { exact: 'llama' } }, { model: 'other' }, true],
    ['not, absent', { not: true, model: { exact: 'llama' } }, {}, true],
  ])('%s', (_name, match, wire, expected) => {
    expect(holds(match, wire)).toBe(expected);
  });

  test.each<[string, Partial<Match>, Partial<Identity>, boolean]>([
    ['claim exact', { claim: { name: 'tier', exact: 'gold' } }, { attributes: { tier: 'gold' } }, true],
    [
      'claim of a list holds if an element matches',
      { claim: { name: 'groups', exact: 'b' } },
      { attributes: { groups: ['a', 'b'] } },
      true,
    ],
    [
      'claim of a list, none',
      { claim: { name: 'groups', regex: 'c|d' } },
      { attributes: { groups: ['a', 'b'] } },
      false,
    ],
    ['claim at a path', { claim: { name: 'org.team', exact: 'x' } }, { attributes: { org: { team: 'x' } } }, true],
    ['claim whose name has a dot', { claim: { name: 'a.b', exact: 'x' } }, { attributes: { 'a.b': 'x' } }, true],
    ['claim of a number', { claim: { name: 'level', exact: '3' } }, { attributes: { level: 3 } }, true],
    ['claim of an object', { claim: { name: 'org', regex: '.*' } }, { attributes: { org: {} } }, false],
    ['claim of a prototype', { claim: { name: '__proto__.x', present: true } }, { attributes: {} }, false],
    ['clientIP', { clientIP: ['192.168.1.0/24', '10.0.0.0/8'] }, { clientAddress: '10.9.9.9' }, true],
    ['clientIP, mapped', { clientIP: ['10.0.0.0/8'] }, { clientAddress: '::ffff:10.9.9.9' }, true],
    ['clientIP, outside', { clientIP: ['10.0.0.0/8'] }, { clientAddress: '11.9.9.9' }, false],
    ['clientIP of nobody', { clientIP: ['0.0.0.0/0'] }, { clientAddress: '' }, false],
    ['application', { application: ['a', 'b'] }, { application: 'b' }, true],
    ['application absent', { application: [''] }, {}, false],
    ['user', { user: ['ann'] }, { user: 'ann' }, true],
    ['user, other', { user: ['ann'] }, { user: 'bob' }, false],
  ])('%s', (_name, match, identity, expected) => {
    expect(holds(match, {}, identity)).toBe(expected);
  });

  test('all conditions of a limit must hold', () => {
    const when: Match[] = [
      { not: false, method: ['POST'] },
      { not: false, model: { exact: 'a' } },
    ];
    const object = compiled({ limits: [limit({ when })] });
    expect(applicableLimits(object.limitSet, facts({ model: 'a' }))).toHaveLength(1);
    expect(applicableLimits(object.limitSet, facts({ model: 'b' }))).toHaveLength(0);
  });
});

describe('a group', () => {
  const tier = (name: string, change: Partial<LimitConfig> = {}): LimitConfig =>
    limit({ name, group: 'tier', when: [{ not: false, claim: { name: 'tier', exact: name } }], ...change });
  const names = (limits: readonly LimitConfig[], identity: Partial<Identity> = {}): string[] =>
    applicableLimits(compiled({ limits }).limitSet, facts({}, identity)).map(({ config }) => config.name);

  const tiers = [tier('default', { when: [] }), tier('premium', { priority: 10 }), tier('admin', { priority: 20 })];

  test('gives the first whose conditions hold, by priority', () => {
    expect(names(tiers, { attributes: { tier: 'premium' } })).toEqual(['premium']);
    expect(names(tiers, { attributes: { tier: 'admin' } })).toEqual(['admin']);
    expect(names(tiers)).toEqual(['default']);
  });

  test('of equal priority goes by list order, and leaves limits outside alone', () => {
    const limits = [limit({ name: 'outside' }), tier('a', { when: [] }), tier('b', { when: [] })];
    expect(names(limits)).toEqual(['outside', 'a']);
  });

  test('is no other group', () => {
    expect(names([tier('a', { when: [] }), tier('b', { when: [], group: 'other' })])).toEqual(['a', 'b']);
  });

  test('a tier in Shadow does not switch off the enforced one behind it', () => {
    const limits = [
      tier('trial', { when: [], enforcement: 'Shadow' }),
      tier('a', { when: [] }),
      tier('b', { when: [] }),
    ];
    expect(names(limits)).toEqual(['trial', 'a']);
    expect(names([tier('a', { when: [] }), tier('trial', { when: [], enforcement: 'Shadow' })])).toEqual(['a']);
  });

  test('outcomes come in list order whatever the priorities', () => {
    const limits = [limit({ name: 'low' }), limit({ name: 'high', priority: 9 })];
    expect(names(limits)).toEqual(['low', 'high']);
  });
});
