// Exactly one value, in one text form: every place of the request path that reads a header, a query parameter or a host
// answers the same question in the same way.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { KeyPart, LimiterConfig, Match } from '../../../src/contract/limiter-config.ts';
import type { RuntimeObject } from '../../../src/limiter/compile/runtime-object.ts';
import type { WireRequest } from '../../../src/limiter/decide/decision.ts';
import { establishIdentity, seenBy, type IdentityResult } from '../../../src/limiter/identity/identity.ts';
import { isOneName, readHeaders, unclearQuery, type Source } from '../../../src/limiter/request/one-value.ts';
import { readRequestTarget } from '../../../src/limiter/request/request-target.ts';
import { compiled, limit, mcpRouting, modelRouting, request, rule, setOf } from '../fixtures.ts';

const identified = (object: RuntimeObject, wire: WireRequest): IdentityResult =>
  establishIdentity(object, seenBy(object, wire));
const latin1 = (text: string): string => Buffer.from(text).toString('latin1');

describe('header lines', () => {
  test.each<[string, string[], string | undefined, boolean]>([
    ['one line', ['X-User', 'ann'], 'ann', false],
    ['UTF-8', ['X-User', latin1('Zoë 😀')], 'Zoë 😀', false],
    ['UTF-8, decomposed', ['X-User', latin1('Zoe\u0308')], 'Zoë', false],
    ['white space around it', ['X-User', ' \tann '], 'ann', false],
    ['empty', ['X-User', ''], '', false],
    ['a comma in one line', ['X-User', 'a, b'], 'a, b', false],
    ['two lines', ['X-User', 'junk', 'X-User', 'ann'], 'junk, ann', true],
    ['two lines in two spellings', ['X-USER', 'junk', 'x-user', 'ann'], 'junk, ann', true],
    ['two equal lines', ['X-User', 'ann', 'X-User', 'ann'], 'ann, ann', true],
    ['an empty line more', ['X-User', 'ann', 'X-User', ''], 'ann, ', true],
    ['Latin-1', ['X-User', 'Zo\u00eb'], '', true],
    ['cut UTF-8', ['X-User', latin1('ë').slice(0, 1)], '', true],
    ['a lone surrogate', ['X-User', Buffer.from('eda080', 'hex').toString('latin1')], '', true],
  ])('%s', (_what, raw, text, isUnclear) => {
    const { headers, unclear } = readHeaders(raw);
    expect([headers['x-user'], unclear]).toEqual([text, isUnclear ? ['header x-user'] : []]);
  });

  test('of a list are joined in order', () => {
    const raw = ['Accept', 'a', 'X-Forwarded-For', '192.0.2.1', 'accept', 'b', 'Cookie', 'c=1', 'Cookie', 'd=2'];
    const { headers, unclear } = readHeaders([...raw, 'X-Forwarded-For', '192.0.2.2']);
    expect(headers).toEqual({ accept: 'a, b', 'x-forwarded-for': '192.0.2.1, 192.0.2.2', cookie: 'c=1; d=2' });
    expect(unclear).toEqual([]);
  });

  test('node drops the second line of some headers: these are seen all the same', () => {
    const names = ['authorization', 'content-type', 'host', 'user-agent', 'referer', 'from'];
    for (const name of names) expect(readHeaders([name, 'a', name, 'b']).unclear).toEqual([`header ${name}`]);
  });

  test('any text comes out as it went in, in NFC', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        fc.pre(!/[\r\n\0]/.test(text));
        expect(readHeaders(['x', latin1(text)]).headers['x']).toBe(text.normalize('NFC').trim());
      }),
    );
  });
});

describe('query parameters', () => {
  test.each<[string, readonly Source[]]>([
    ['?t=a&u=b', []],
    ['?t=%C3%AB', []],
    ['?t=a&t=b', ['query parameter t']],
    ['?t=a&%74=b', ['query parameter t']],
    ['?t=a&t=a', ['query parameter t']],
    ['?t=a&T=b', []],
    ['?t=%FF', ['query parameter t']],
    ['?t&t', ['query parameter t']],
    ['?t=%ff&t=1&u=1&u=2', ['query parameter t', 'query parameter u']],
  ])('%s', (search, unclear) => {
    expect(unclearQuery(new URLSearchParams(search))).toEqual(unclear);
  });
});

describe('the name of somebody', () => {
  test.each([
    ['ann', true],
    ['ann@example.com', true],
    ['"ann"', true],
    ['"CN=Ann,OU=Sales"', true],
    ['"a \\" , b"', true],
    ['junk, ann', false],
    ['junk,ann', false],
    ['ann,', false],
    [',ann', false],
    ['"junk", ann', false],
    ['"junk", "ann"', false],
    ['"junk, ann', false],
    ['"x, "CN=Ann,OU=Sales"', false],
    ['CN=Ann,OU=Sales', false],
  ])('%s: %s', (text, isOne) => {
    expect(isOneName(text)).toBe(isOne);
  });

  test('is told in time that grows with its length alone', () => {
    const start = process.cpuUsage();
    expect(isOneName(`"${'\\'.repeat(64_000)},`)).toBe(false);
    expect(process.cpuUsage(start).user).toBeLessThan(50_000);
  });
});

describe('the host', () => {
  test.each([
    ['/', 'A.example:8080', 'a.example'],
    ['/', 'a.example.', 'a.example'],
    ['/', '[::1]:80', '[::1]'],
    ['/', '', ''],
    ['http://a.example:1/x', 'A.EXAMPLE:2', 'a.example'],
    ['http://a.example/x', '', 'a.example'],
  ])('of %s with Host %s is %s', (url, header, host) => {
    expect(readRequestTarget(url, header).host).toBe(host);
  });

  test.each([
    ['http://a.example/', 'b.example', true],
    ['http://b.example@a.example/', 'b.example', true],
    ['http://a.example:1/', 'A.example.:2', false],
    ['http://a.example/', '', false],
    ['/', 'a.example', false],
  ])('of %s with Host %s is two: %s', (url, header, hasTwoHosts) => {
    expect(readRequestTarget(url, header).hasTwoHosts).toBe(hasTwoHosts);
  });
});

const part = (change: Partial<KeyPart> & Pick<KeyPart, 'type'>): KeyPart => ({ whenAbsent: 'Share', ...change });
const header = { not: false, header: { name: 'X-T', exact: 'a' } };

/** What reads `header x-t` or `query parameter t`, and nothing else. */
const READERS: [string, Partial<LimiterConfig>, 'header x-t' | 'query parameter t' | Source][] = [
  ['a key part header', { limits: [limit({ per: [part({ type: 'header', name: 'x-t' })] })] }, 'header x-t'],
  [
    'a key part that skips',
    { limits: [limit({ per: [part({ type: 'header', name: 'x-t', whenAbsent: 'Skip' })] })] },
    'header x-t',
  ],
  ['a key part query', { limits: [limit({ per: [part({ type: 'query', name: 't' })] })] }, 'query parameter t'],
  ['a key part session', { limits: [limit({ per: [part({ type: 'session' })] })] }, 'header mcp-session-id'],
  ['a condition on a header', { limits: [limit({ when: [header] })] }, 'header x-t'],
  ['a condition that must not hold', { limits: [limit({ when: [{ ...header, not: true }] })] }, 'header x-t'],
  [
    'a condition on absence',
    { limits: [limit({ when: [{ not: false, header: { name: 'x-t', present: false } }] })] },
    'header x-t',
  ],
  [
    'a condition on the query',
    { limits: [limit({ when: [{ not: false, query: { name: 't', exact: 'a' } } satisfies Match] })] },
    'query parameter t',
  ],
  ['a rule', { routing: modelRouting({ rules: [rule({ headers: [{ name: 'x-t', exact: 'a' }] })] }) }, 'header x-t'],
  ['every object', {}, 'header content-type'],
  ['every object', {}, 'header host'],
  ['an MCP server', { routing: mcpRouting() }, 'header mcp-session-id'],
  ['an MCP server', { routing: mcpRouting() }, 'header mcp-protocol-version'],
  ['an MCP server', { routing: mcpRouting() }, 'header mcp-method'],
  ['an MCP server', { routing: mcpRouting() }, 'header mcp-name'],
];

describe.each(['sidecar', 'shared'] as const)('on a %s', (mode) => {
  test.each(READERS)(
    '%s reads %3$s: more than one value is refused, of any other it is not',
    (_what, object, source) => {
      const set = setOf({ mode, defaultTarget: { url: 'http://127.0.0.1:1', weight: 1 } }, object);
      const kindWith = (...unclear: Source[]): string =>
        set.index.resolve(request({ model: 'm', unclear: new Set(unclear) }), () => 0).kind;
      expect(kindWith(source)).toBe('unclear');
      expect(kindWith('header x-other', 'query parameter other')).not.toBe('unclear');
    },
  );
});

describe('a trusted header', () => {
  const identity = {
    required: true,
    trustedHops: 0,
    trustedHeaders: {
      user: 'x-user',
      application: 'x-app',
      attributes: { team: 'x-team' },
      trustedPeers: ['192.0.2.1'],
    },
  };
  const objectOf = (required: boolean) => compiled({ identity: { ...identity, required } });
  const from = (peerAddress: string, ...raw: string[]) => {
    const { headers, unclear } = readHeaders(raw);
    return request({ headers, unclear: new Set(unclear), peerAddress, model: 'm' });
  };

  test.each(['x-user', 'x-app', 'x-team'])('%s with more than one value is no identity, required or not', (name) => {
    const others = ['x-user', 'x-app'].filter((other) => other !== name).flatMap((other) => [other, 'u']);
    const invalid = [
      [name, 'junk', name, 'ann'],
      [name, 'junk, ann'],
      [name, 'ann', name, ''],
      [name, 'Zo\u00eb'],
    ];
    for (const required of [true, false]) {
      for (const raw of invalid) {
        const result = identified(objectOf(required), from('192.0.2.1', ...others, ...raw));
        expect(result).toMatchObject({ kind: 'unauthenticated', problem: expect.stringContaining(`header ${name} `) });
      }
    }
  });

  test('of an untrusted peer is not read', () => {
    const result = identified(objectOf(false), from('198.51.100.1', 'x-user', 'a', 'x-user', 'b'));
    expect(result).toMatchObject({
      kind: 'identified',
      identity: { attributes: {} },
      strip: ['x-user', 'x-app', 'x-team'],
    });
  });

  test('that is a key part too is 401, and from an untrusted peer absent', () => {
    const limits = [limit({ per: [part({ type: 'header', name: 'x-user' })] })];
    const set = setOf({ mode: 'shared' }, { identity, limits });
    const resolve = (peer: string) => set.index.resolve(from(peer, 'x-user', 'a', 'x-user', 'b'), () => 0);
    expect(resolve('192.0.2.1')).toMatchObject({ kind: 'unclear', code: 'unauthenticated' });
    expect(resolve('198.51.100.1').kind).toBe('matched');
  });
});
