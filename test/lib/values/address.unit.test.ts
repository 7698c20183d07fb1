// Addresses and CIDRs: strict reading, IPv4-mapped addresses as IPv4, masks.
import { describe, expect, test } from '@jest/globals';
import { compileCidrs, maskedAddress, parseAddress } from '../../../src/lib/values/address.ts';

function has(cidrs: readonly string[], text: string): boolean {
  const compiled = compileCidrs(cidrs);
  const address = parseAddress(text);
  if ('bad' in compiled || address === undefined) throw new Error('not an address');
  return compiled.set.has(address);
}

describe('addresses', () => {
  test.each(['127.1', '0x7f.0.0.1', '010.0.0.1', '1.2.3', '256.0.0.1', 'localhost', '', '::g', '1.2.3.4/32'])(
    '%j is none',
    (text) => {
      expect(parseAddress(text)).toBeUndefined();
    },
  );

  test('an IPv4-mapped address is its IPv4 address, and a zone is dropped', () => {
    expect(parseAddress('::ffff:10.0.0.1')?.toString()).toBe('10.0.0.1');
    expect(parseAddress('fe80::1%eth0')?.toString()).toBe('fe80::1');
  });

  test.each([
    ['10.0.0.0/8', '10.255.0.1', true],
    ['10.0.0.0/8', '11.0.0.0', false],
    ['10.0.0.0/8', '::ffff:10.1.1.1', true],
    ['::ffff:10.0.0.0/104', '10.1.1.1', true],
    ['192.168.1.77/24', '192.168.1.1', true],
    ['192.168.1.0/25', '192.168.1.128', false],
    ['2001:db8::/33', '2001:db8:7fff::1', true],
    ['2001:db8::/33', '2001:db8:8000::1', false],
    ['0.0.0.0/0', '8.8.8.8', true],
    ['0.0.0.0/0', '2001:db8::1', false],
    ['::/0', '8.8.8.8', false],
    ['10.0.0.1', '10.0.0.1', true],
    ['10.0.0.1', '10.0.0.2', false],
  ])('%s holds %s: %s', (cidr, address, expected) => {
    expect(has([cidr], address)).toBe(expected);
  });

  test.each(['10.0.0.0/33', '10.0.0.0/-1', '10.0.0.0/', '10.0.0/8', 'x', '::/129', '10.0.0.0/8/8', '10.0.0.0/ 8'])(
    '%j is no CIDR',
    (text) => {
      expect(compileCidrs(['10.0.0.0/8', text])).toEqual({ bad: text });
    },
  );

  test.each([
    ['10.1.2.3', 32, 64, '10.1.2.3/32'],
    ['10.1.2.3', 20, 64, '10.1.0.0/20'],
    ['10.1.2.3', 0, 64, '0.0.0.0/0'],
    ['2001:db8:1:2:3::4', 32, 64, '2001:db8:1:2::/64'],
    ['::ffff:10.1.2.3', 24, 64, '10.1.2.0/24'],
  ])('%s masked to %i and %i is %s', (text, v4, v6, expected) => {
    const address = parseAddress(text);
    expect(address && maskedAddress(address, v4, v6)).toBe(expected);
  });
});
