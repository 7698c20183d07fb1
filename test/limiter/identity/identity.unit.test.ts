// Identity: who is believed, what is stripped, and whose address a request has.
import { describe, expect, test } from '@jest/globals';
import type { IdentityConfig } from '../../../src/contract/limiter-config.ts';
import { clientAddressOf } from '../../../src/limiter/identity/client-address.ts';
import { establishIdentity, factsOf, seenBy } from '../../../src/limiter/identity/identity.ts';
import type { IdentityOutcome, IdentityProvider } from '../../../src/limiter/identity/provider.ts';
import { compiled, request } from '../fixtures.ts';

const HEADERS = {
  user: 'X-User',
  application: 'x-app',
  attributes: { tier: 'x-tier' },
  trustedPeers: ['10.0.0.0/8', '::1/128'],
};

function identify(identity: IdentityConfig | undefined, headers: Record<string, string>, peerAddress: string) {
  const object = compiled(identity === undefined ? {} : { identity });
  return establishIdentity(object, seenBy(object, request({ headers, peerAddress })));
}

describe('identity', () => {
  const required: IdentityConfig = { required: true, trustedHops: 0, trustedHeaders: HEADERS };

  test('headers of a trusted peer are believed and kept', () => {
    const result = identify(required, { 'x-user': ' ann ', 'x-app': 'batch', 'x-tier': 'gold' }, '10.1.2.3');
    expect(result).toEqual({
      kind: 'identified',
      strip: [],
      identity: { user: 'ann', application: 'batch', attributes: { tier: 'gold' }, clientAddress: '10.1.2.3' },
    });
  });

  test('an IPv4-mapped peer is its IPv4 address', () => {
    expect(identify(required, { 'x-user': 'ann' }, '::ffff:10.1.2.3')).toMatchObject({
      kind: 'identified',
      identity: { user: 'ann', clientAddress: '10.1.2.3' },
    });
  });

  test('headers of everyone else are nothing: 401 when an identity is required', () => {
    expect(identify(required, { 'x-user': 'ann' }, '192.0.2.1')).toEqual({
      kind: 'unauthenticated',
      strip: ['x-user', 'x-app', 'x-tier'],
      identity: { attributes: {}, clientAddress: '192.0.2.1' },
    });
  });

  test('headers of everyone else are stripped when it is not', () => {
    const result = identify({ ...required, required: false }, { 'x-user': 'ann' }, '192.0.2.1');
    expect(result).toMatchObject({ kind: 'identified', strip: ['x-user', 'x-app', 'x-tier'] });
    expect(result.identity.user).toBeUndefined();
  });

  test('neither conditions nor keys see a header that its peer may not set', () => {
    const object = compiled({ identity: { ...required, required: false } });
    const wire = request({ headers: { 'x-tier': 'gold', accept: '*/*' }, peerAddress: '192.0.2.1' });
    const caller = establishIdentity(object, seenBy(object, wire));
    if (caller.kind !== 'identified') throw new Error('expected an identity');
    expect(factsOf(wire, { upstreamPath: '/' }, caller).headers).toEqual({ accept: '*/*' });
  });

  test('empty headers are no identity', () => {
    expect(identify(required, { 'x-user': '  ' }, '10.0.0.1').kind).toBe('unauthenticated');
  });

  test('an attribute alone is an identity only where no user and no application are named', () => {
    const onlyAttributes = { attributes: { tier: 'x-tier' }, trustedPeers: ['10.0.0.0/8'] };
    expect(identify(required, { 'x-tier': 'gold' }, '10.0.0.1').kind).toBe('unauthenticated');
    const lenient = { required: true, trustedHops: 0, trustedHeaders: onlyAttributes };
    expect(identify(lenient, { 'x-tier': 'gold' }, '10.0.0.1').kind).toBe('identified');
    expect(identify(lenient, {}, '10.0.0.1').kind).toBe('unauthenticated');
  });

  test('a block that says nothing of identities requires none', () => {
    expect(identify({ required: true, trustedHops: 1 }, {}, '10.0.0.1').kind).toBe('identified');
    expect(identify(undefined, { 'x-user': 'ann' }, '10.0.0.1')).toEqual({
      kind: 'identified',
      strip: [],
      identity: { attributes: {}, clientAddress: '10.0.0.1' },
    });
  });

  test('no trusted peers trust nobody', () => {
    const nobody = { ...required, trustedHeaders: { ...HEADERS, trustedPeers: [] } };
    expect(identify(nobody, { 'x-user': 'ann' }, '10.0.0.1').kind).toBe('unauthenticated');
  });
});

describe('providers', () => {
  const provider = (outcome: IdentityOutcome, hidden: readonly string[] = []): IdentityProvider => ({
    hides: () => hidden,
    identify: () => outcome,
  });
  const ABSENT = provider({ kind: 'absent', attributes: { tier: 'free' } }, ['x-first']);
  const ANN = provider({ kind: 'identified', who: { user: 'ann', attributes: {} } }, ['authorization']);
  const BOB = provider({ kind: 'identified', who: { user: 'bob', attributes: {} } });
  const INVALID = provider({ kind: 'invalid', problem: 'the key is revoked' });

  const result = (required: boolean, ...providers: readonly IdentityProvider[]) => {
    const object = compiled({ identity: { required, trustedHops: 0, trustedHeaders: HEADERS } });
    const identity = { ...object.identity, required, providers } as NonNullable<typeof object.identity>;
    return establishIdentity({ identity }, seenBy({ identity }, request({ headers: { authorization: 'k', a: 'b' } })));
  };

  test.each([true, false])('the first that is not absent decides (required: %s)', (required) => {
    expect(result(required, ABSENT, ANN, BOB)).toMatchObject({ kind: 'identified', identity: { user: 'ann' } });
    expect(result(required, BOB, INVALID)).toMatchObject({ kind: 'identified', identity: { user: 'bob' } });
  });

  test.each([true, false])('what is invalid is never anonymous (required: %s)', (required) => {
    expect(result(required, ABSENT, INVALID, ANN)).toMatchObject({
      kind: 'unauthenticated',
      problem: 'the key is revoked',
    });
  });

  test('all absent: anonymous, or 401 where an identity is required', () => {
    expect(result(false, ABSENT, ABSENT)).toMatchObject({
      kind: 'identified',
      identity: { attributes: { tier: 'free' } },
    });
    expect(result(true, ABSENT).kind).toBe('unauthenticated');
    expect(result(true).kind).toBe('identified');
  });

  test('what any of them hides is gone for routes, conditions, keys and upstreams', () => {
    const identified = result(false, ABSENT, ANN);
    expect(identified.strip).toEqual(['x-first', 'authorization']);
    const facts = factsOf(request({ headers: { authorization: 'k', a: 'b' } }), { upstreamPath: '/' }, identified);
    expect(facts.headers).toEqual({ a: 'b' });
  });
});

describe('the address of the client', () => {
  test.each([
    [0, '198.51.100.7', '10.0.0.1'],
    [1, '198.51.100.7', '198.51.100.7'],
    [1, '203.0.113.9, 198.51.100.7', '198.51.100.7'],
    [2, '203.0.113.9, 198.51.100.7', '203.0.113.9'],
    [2, '1.1.1.1, 203.0.113.9, 198.51.100.7', '203.0.113.9'],
    [3, '203.0.113.9, 198.51.100.7', '203.0.113.9'],
    [1, '', '10.0.0.1'],
    [1, 'unknown', '10.0.0.1'],
    [2, 'spoofed, 198.51.100.7', '198.51.100.7'],
    [2, '203.0.113.9, garbage', '10.0.0.1'],
    [1, '"[2001:db8::1]:443"', '2001:db8::1'],
    [1, '[2001:db8::1]', '2001:db8::1'],
    [1, '198.51.100.7:5555', '198.51.100.7'],
    [1, '::ffff:198.51.100.7', '198.51.100.7'],
    [1, '198.51.100.7,', '10.0.0.1'],
  ])('%i hops over %j: %s', (hops, forwarded, expected) => {
    const headers = { 'x-forwarded-for': forwarded };
    expect(clientAddressOf(hops, { headers, peerAddress: '::ffff:10.0.0.1' })).toBe(expected);
  });

  test('without the header it is the peer', () => {
    expect(clientAddressOf(2, { headers: {}, peerAddress: '10.0.0.1' })).toBe('10.0.0.1');
  });
});
