// Keys: which requests share a bucket, which never do, and what nobody can read in a key.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { KeyPart, LimitConfig, LimiterConfig } from '../../../src/contract/limiter-config.ts';
import type { Identity, WireRequest } from '../../../src/limiter/decide/decision.ts';
import { bucketKey } from '../../../src/limiter/decide/keys.ts';
import { tokens, window } from '../store/fixtures.ts';
import { compiled, facts, limit, modelRouting } from '../fixtures.ts';

const part = (change: Partial<KeyPart> & Pick<KeyPart, 'type'>): KeyPart => ({ whenAbsent: 'Share', ...change });
const header = (name: string, change: Partial<KeyPart> = {}): KeyPart => part({ type: 'header', name, ...change });

function keyOf(
  change: Partial<LimitConfig>,
  wire: Partial<WireRequest> = {},
  identity: Partial<Identity> = {},
  object: Partial<LimiterConfig> = {},
): string | undefined {
  const [only] = compiled({ ...object, limits: [limit(change)] }).limitSet.limits;
  return only && bucketKey(only, facts(wire, identity));
}

describe('the layout', () => {
  test('names namespace, kind, object and limit', () => {
    expect(keyOf({})).toMatch(/^weir:\{serving\}:ModelRoute:uid-serving-chat:all:[0-9a-f]{16}$/);
    expect(keyOf({ per: [part({ type: 'user' })] }, {}, { user: 'ann' })).toMatch(
      /^weir:\{serving\}:ModelRoute:uid-serving-chat:all:[0-9a-f]{16}:[A-Za-z0-9_-]{22}$/,
    );
  });

  test('a name cannot end its place', () => {
    expect(keyOf({ name: 'tools/a:b{c}é/shared' })).toMatch(/:tools\/a%3Ab%7Bc%7D%C3A9\/shared:[0-9a-f]{16}$/);
  });

  test('objects without a uid are told apart by their names', () => {
    expect(keyOf({}, {}, {}, { uid: '', name: 'a' })).not.toBe(keyOf({}, {}, {}, { uid: '', name: 'b' }));
    expect(keyOf({}, {}, {}, { uid: '', name: 'a' })).not.toBe(keyOf({}, {}, {}, { uid: 'a', name: 'a' }));
  });

  test('trap 11: one model name in two namespaces is two buckets, and so is one in two objects', () => {
    const keys = [
      keyOf({}, { model: 'm' }, {}, { namespace: 'a' }),
      keyOf({}, { model: 'm' }, {}, { namespace: 'b' }),
      keyOf({}, { model: 'm' }, {}, { namespace: 'a', name: 'other' }),
      keyOf({}, { model: 'm' }, {}, { namespace: 'a', uid: 're-created' }),
    ];
    expect(new Set(keys).size).toBe(4);
  });
});

describe('a rolling upgrade', () => {
  const wire = (change: Partial<WireRequest>): Partial<WireRequest> => change;
  const llama = { routing: modelRouting({ models: ['meta-llama/Llama-3:latest'] }) };

  /** As limiters of release 0.2.0 have them: both count in one bucket. */
  test.each<[string, KeyPart[], Partial<WireRequest>, Partial<Identity>, string]>([
    ['a user', [part({ type: 'user' })], {}, { user: 'ann@example.com' }, '0fe4ffbeb92f05da:Q2RLKj8PCA0T3nUYxEr7La'],
    [
      'an application and a header',
      [part({ type: 'application' }), header('x-tenant')],
      { headers: { 'x-tenant': 'Team A, B' } },
      { application: 'app-1' },
      '5a858cff36781284:2-ieISTapPBdFUonkD2DkX',
    ],
    [
      'a query parameter and a session',
      [part({ type: 'query', name: 't' }), part({ type: 'session' })],
      wire({ query: new URLSearchParams('t=a%20b'), session: 's-1' }),
      {},
      '6a0419a58100db46:rCGNpl9nXxi8B794SdH7H6',
    ],
    [
      'a model',
      [part({ type: 'model' })],
      { model: 'meta-llama/Llama-3:latest' },
      {},
      '49cc7769d13b33ef:_8nMROrH1pXXBQPqt4feNX',
    ],
    [
      'a claim, a tool and a constant',
      [part({ type: 'claim', name: 'tier' }), part({ type: 'tool' }), part({ type: 'constant', value: 'c' })],
      { tool: 'search' },
      { attributes: { tier: 'gold' } },
      'b711c11b120cd69f:hxRVLIv3Ho_MN0UkeXyPQv',
    ],
    [
      'an address and an absent header',
      [part({ type: 'clientIP' }), header('x-none', { fallback: 'nobody' })],
      {},
      { clientAddress: '192.0.2.7' },
      '973a9b7a49f8242a:gRwKL8VgVyhnYTE3C-0chf',
    ],
  ])('keeps the bucket of %s', (_what, per, request, identity, key) => {
    expect(keyOf({ per }, request, identity, llama)).toBe(`weir:{serving}:ModelRoute:uid-serving-chat:all:${key}`);
  });

  test('and one text has one bucket, however it was composed', () => {
    const per = [part({ type: 'user' })];
    expect(keyOf({ per }, {}, { user: 'Zoe\u0308' })).toBe(keyOf({ per }, {}, { user: 'Zo\u00eb' }));
  });
});

describe('what starts a new bucket', () => {
  const before = { per: [header('x')], rule: tokens(10, 1000) };

  test.each<[string, Partial<LimitConfig>]>([
    ['the amount', { rule: tokens(20, 1000) }],
    ['the period of a bucket', { rule: tokens(10, 2000) }],
    ['the burst', { rule: tokens(10, 1000, 50) }],
    ['the priority, group, cost and policy', { priority: 4, group: 'g', cost: 3, failurePolicy: 'Open' }],
    ['conditions', { when: [{ not: false, method: ['GET'] }] }],
    ['enforcement', { enforcement: 'Shadow' }],
    ['whenAbsent', { per: [header('x', { whenAbsent: 'Skip' })] }],
  ])('trap 13: not %s', (_what, change) => {
    expect(keyOf({ ...before, ...change }, { headers: { x: '1' } })).toBe(keyOf(before, { headers: { x: '1' } }));
  });

  test.each<[string, Partial<LimitConfig>]>([
    ['the kind of rule', { rule: window(10, 'Hour') }],
    ['the key parts', { per: [header('y')] }],
    ['one more part', { per: [header('x'), part({ type: 'constant', value: 'a' })] }],
    ['the name', { name: 'other' }],
  ])('%s', (_what, change) => {
    const wire = { headers: { x: '1', y: '1' } };
    expect(keyOf({ ...before, ...change }, wire)).not.toBe(keyOf(before, wire));
  });

  test('the period and the zone of a window, the mask of an address', () => {
    const keys = [
      keyOf({ rule: window(10, 'Hour') }),
      keyOf({ rule: window(10, 'Day') }),
      keyOf({ rule: window(10, 'Day', 'Europe/Berlin') }),
      keyOf({ per: [part({ type: 'clientIP' })] }),
      keyOf({ per: [part({ type: 'clientIP', prefixV4: 24 })] }),
    ];
    expect(new Set(keys).size).toBe(5);
  });
});

describe('caller parts', () => {
  const two = { per: [header('x'), header('y')] };

  test('trap 32: a + b:c is not a:b + c, nor any other way to cut', () => {
    expect(keyOf(two, { headers: { x: 'a', y: 'b:c' } })).not.toBe(keyOf(two, { headers: { x: 'a:b', y: 'c' } }));
    const [cut, recut] = [
      { x: 'a', y: 'bpresent/1c' },
      { x: 'apresent/1b', y: 'c' },
    ];
    expect(keyOf(two, { headers: cut })).not.toBe(keyOf(two, { headers: recut }));
    const text = fc.string({ maxLength: 6, unit: fc.constantFrom('a', ':', '1', 'present/1', '\u{1F600}') });
    fc.assert(
      fc.property(text, text, text, text, (a, b, c, d) => {
        const [left, right] = [keyOf(two, { headers: { x: a, y: b } }), keyOf(two, { headers: { x: c, y: d } })];
        const same = a.trim() === c.trim() && b.trim() === d.trim();
        expect(left === right).toBe(same);
      }),
    );
  });

  test('trap 32: absent in one part and present in the other do not meet', () => {
    expect(keyOf(two, { headers: { x: 'a' } })).not.toBe(keyOf(two, { headers: { y: 'a' } }));
    expect(keyOf(two, {})).not.toBe(keyOf(two, { headers: { x: 'absent' } }));
  });

  test('a caller who is named like the fallback does not share the bucket of the nameless', () => {
    const per = [header('x', { fallback: 'anonymous' })];
    expect(keyOf({ per }, { headers: { x: 'anonymous' } })).not.toBe(keyOf({ per }, {}));
    expect(keyOf({ per }, { headers: { x: '' } })).toBe(keyOf({ per }, {}));
    expect(keyOf({ per }, { headers: { x: '  ' } })).toBe(keyOf({ per }, {}));
  });

  test('the nameless share one bucket, unless Skip takes them out of the limit', () => {
    const per = [part({ type: 'user' })];
    expect(keyOf({ per })).toBe(keyOf({ per }, { path: '/other', peerAddress: '192.0.2.9' }));
    expect(keyOf({ per: [part({ type: 'user', whenAbsent: 'Skip' })] })).toBeUndefined();
    expect(keyOf({ per: [part({ type: 'user', whenAbsent: 'Skip' })] }, {}, { user: 'ann' })).toBeDefined();
  });

  test('trap 15: who is not authenticated cannot mint buckets with rotating keys', () => {
    const per = [part({ type: 'application' })];
    const attempts = ['k1', 'k2', 'k3'].map((key) => keyOf({ per }, { headers: { authorization: `Bearer ${key}` } }));
    expect(new Set(attempts).size).toBe(1);
  });

  test('no value can be read in a key', () => {
    const secret = 'sk-live-0123456789abcdef';
    const per = [part({ type: 'user' }), header('authorization'), part({ type: 'session' })];
    const key = keyOf({ per }, { headers: { authorization: secret }, session: secret }, { user: 'ann@example.com' });
    expect(key).not.toContain('ann');
    expect(key).not.toContain(secret);
    expect(key).not.toContain(Buffer.from(secret).toString('base64url'));
  });

  test('two objects never show the same hash for one caller', () => {
    const per = [part({ type: 'user' })];
    const [a, b] = ['a', 'b'].map((name) => keyOf({ per }, {}, { user: 'ann' }, { name })?.split(':').at(-1));
    expect(a).not.toBe(b);
  });

  test('addresses are masked, in both families, mapped ones as IPv4', () => {
    const per = [part({ type: 'clientIP', prefixV4: 24, prefixV6: 48 })];
    const from = (clientAddress: string): string | undefined => keyOf({ per }, {}, { clientAddress });
    expect(from('192.0.2.1')).toBe(from('192.0.2.200'));
    expect(from('192.0.2.1')).toBe(from('::ffff:192.0.2.7'));
    expect(from('192.0.2.1')).not.toBe(from('192.0.3.1'));
    expect(from('2001:db8:1:2::1')).toBe(from('2001:db8:1:ffff::9'));
    expect(from('2001:db8:1:2::1')).not.toBe(from('2001:db8:2::1'));
  });

  test('an address without a mask of its own is one IPv4 host or one IPv6 /64', () => {
    const per = [part({ type: 'clientIP' })];
    const from = (clientAddress: string): string | undefined => keyOf({ per }, {}, { clientAddress });
    expect(from('192.0.2.1')).not.toBe(from('192.0.2.2'));
    expect(from('2001:db8::1')).toBe(from('2001:db8::2'));
  });

  test('every kind of part tells its values apart', () => {
    const cases: [KeyPart, Partial<WireRequest>, Partial<Identity>][] = [
      [part({ type: 'user' }), {}, { user: 'v' }],
      [part({ type: 'application' }), {}, { application: 'v' }],
      [part({ type: 'claim', name: 'a.b' }), {}, { attributes: { a: { b: 'v' } } }],
      [header('x-h'), { headers: { 'x-h': 'v' } }, {}],
      [part({ type: 'query', name: 'q' }), { query: new URLSearchParams('q=v') }, {}],
      [part({ type: 'clientIP' }), {}, { clientAddress: '198.51.100.1' }],
      [part({ type: 'model' }), { model: 'v' }, {}],
      [part({ type: 'tool' }), { tool: 'v' }, {}],
      [part({ type: 'session' }), { session: 'v' }, {}],
    ];
    for (const [each, wire, identity] of cases) {
      expect([each.type, keyOf({ per: [each] }, wire, identity)]).not.toEqual([each.type, keyOf({ per: [each] })]);
    }
  });

  test('an array is absent as a key part, and so is an empty query parameter', () => {
    const claim = [part({ type: 'claim', name: 'groups' })];
    expect(keyOf({ per: claim }, {}, { attributes: { groups: ['a'] } })).toBe(keyOf({ per: claim }));
    const query = [part({ type: 'query', name: 'q' })];
    const of = (text: string): string | undefined => keyOf({ per: query }, { query: new URLSearchParams(text) });
    expect(of('q=a')).not.toBe(of('q=b'));
    expect(of('q=')).toBe(of(''));
  });

  test('very long values are as good as short ones', () => {
    const per = [header('x')];
    const key = keyOf({ per }, { headers: { x: 'a'.repeat(1e6) } });
    expect(key?.length).toBeLessThan(120);
    expect(key).not.toBe(keyOf({ per }, { headers: { x: `${'a'.repeat(1e6)}b` } }));
  });
});
