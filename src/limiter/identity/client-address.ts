// Limiter, identity stage: the address of the client. In: the peer, X-Forwarded-For and how many proxies are believed;
// out: an address in its normal form.
import { parseAddress } from '../../lib/values/address.ts';
import { headerOf } from '../decide/match.ts';
import type { CallerRequest } from './provider.ts';

/**
 * The client's address: the peer, or the X-Forwarded-For entry that `trustedHops` proxies vouch for, counted from the
 * right. Where an entry is missing or is no address, the nearest good one to its right stands: callers can be lumped
 * together by that, never told apart by a text that they wrote themselves.
 */
export function clientAddressOf(trustedHops: number, request: CallerRequest): string {
  let address = parseAddress(request.peerAddress)?.toString() ?? request.peerAddress;
  if (trustedHops === 0) return address;
  const entries = (headerOf(request.headers, 'x-forwarded-for') ?? '').split(',');
  for (let hop = 1; hop <= Math.min(trustedHops, entries.length); hop += 1) {
    const entry = parseAddress(bareAddress(entries[entries.length - hop] ?? ''));
    if (entry === undefined) break;
    address = entry.toString();
  }
  return address;
}

/** An entry without quotes, brackets and port: `"[2001:db8::1]:443"`, `192.0.2.1:80`. */
function bareAddress(entry: string): string {
  const text = entry.trim().replace(/^"(.*)"$/, '$1');
  const bracketed = /^\[([^\]]*)\](?::\d{1,5})?$/.exec(text);
  if (bracketed !== null) return bracketed[1] ?? '';
  return /^([\d.]+):\d{1,5}$/.exec(text)?.[1] ?? text;
}
