// Lib, for compile, identity and egress: texts of IP addresses and CIDRs -> values that compare. An IPv4-mapped
// IPv6 address is its IPv4 address everywhere.
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

/** A parsed address: never an IPv4-mapped IPv6 one, never with a zone. */
export type Address = ipaddr.IPv4 | ipaddr.IPv6;

/** A set of addresses. */
export interface CidrSet {
  has(address: Address): boolean;
}

/**
 * Parses the text of an address strictly: four decimal octets, or IPv6 (a zone is dropped).
 * @returns undefined for anything else ("127.1", "0x7f.0.0.1", host names).
 */
export function parseAddress(text: string): Address | undefined {
  const [bare = ''] = text.split('%', 1);
  if (isIP(bare) === 0) return undefined;
  return ipaddr.process(bare);
}

/** Compiles CIDRs; a plain address stands for itself. Returns the first text that is not one. */
export function compileCidrs(texts: readonly string[]): { set: CidrSet } | { bad: string } {
  const ranges: [Address, number][] = [];
  for (const text of texts) {
    const range = parseCidr(text);
    if (range === undefined) return { bad: text };
    ranges.push(range);
  }
  return { set: { has: (address) => ranges.some(([network, bits]) => contains(network, bits, address)) } };
}

/** `address/bits` or an address alone; undefined for anything else. */
export function parseCidr(text: string): [Address, number] | undefined {
  const slash = text.indexOf('/');
  const bare = slash < 0 ? text : text.slice(0, slash);
  const version = isIP(bare);
  if (version === 0 || bare.includes('%')) return undefined;
  const width = version === 4 ? 32 : 128;
  const bits = slash < 0 ? width : parseBits(text.slice(slash + 1), width);
  if (bits === undefined) return undefined;
  const address = ipaddr.parse(bare);
  if (address.kind() === 'ipv6' && (address as ipaddr.IPv6).isIPv4MappedAddress() && bits >= 96) {
    return [(address as ipaddr.IPv6).toIPv4Address(), bits - 96];
  }
  return [address, bits];
}

/** The network of an address as text, `10.1.0.0/16`: the form in which a caller's address becomes a key part. */
export function maskedAddress(address: Address, prefixV4: number, prefixV6: number): string {
  const bits = address.kind() === 'ipv4' ? prefixV4 : prefixV6;
  const bytes = address.toByteArray().map((byte, index) => byte & byteMask(bits - index * 8));
  return `${ipaddr.fromByteArray(bytes).toString()}/${bits}`;
}

function contains(network: Address, bits: number, address: Address): boolean {
  if (network.kind() !== address.kind()) return false;
  const [left, right] = [network.toByteArray(), address.toByteArray()];
  return left.every((byte, index) => {
    const mask = byteMask(bits - index * 8);
    return (byte & mask) === ((right[index] ?? 0) & mask);
  });
}

function parseBits(text: string, width: number): number | undefined {
  if (!/^[0-9]{1,3}$/.test(text)) return undefined;
  const bits = Number(text);
  return bits <= width ? bits : undefined;
}

function byteMask(bits: number): number {
  return bits >= 8 ? 0xff : bits <= 0 ? 0 : (0xff << (8 - bits)) & 0xff;
}
