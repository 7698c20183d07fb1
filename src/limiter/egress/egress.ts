// Limiter, compile and dial: may a target, or the Redis of an object, be dialled? In: egressAllow of the Fleet, an
// object's namespace, a URL, a host:port or a resolved address; out: yes, or why not.
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { compileCidrs, parseAddress, parseCidr, type Address, type CidrSet } from '../../lib/values/address.ts';

/** The operator's allow list, compiled. */
export interface EgressPolicy {
  readonly cidrs: CidrSet;
  readonly hosts: ReadonlySet<string>;
  /** `.example.com` of `*.example.com`; '' of `*`: every host name. */
  readonly suffixes: readonly string[];
  /** The domain below which Service names end: `<svc>.<ns>.svc.<clusterDomain>`. */
  readonly clusterDomain: string;
}

/** An allow list that covers every name and every address. */
export const EVERYWHERE: readonly string[] = ['*', '0.0.0.0/0', '::/0'];

/** Never dialled unless a CIDR of the list covers them: they are the limiter's own host, its link, or nobody. */
const FORBIDDEN_RANGES = new Set(['loopback', 'linkLocal', 'unspecified', 'multicast', 'broadcast', 'reserved']);
/** Metadata services that live outside the link-local range (AWS over IPv6, Alibaba). */
const METADATA = new Set(['fd00:ec2::254', '100.100.100.200']);
const EMBEDS_IPV4 = new Set(['rfc6052', 'rfc6145', '6to4', 'ipv4Mapped']);

/**
 * Compiles `egressAllow`: CIDRs, addresses, host names and `*.example.com`. Texts that are none of these cover
 * nothing.
 */
export function compileEgress(allow: readonly string[], clusterDomain = 'cluster.local'): EgressPolicy {
  const isRange = (entry: string): boolean => parseCidr(entry) !== undefined;
  const compiled = compileCidrs(allow.filter(isRange));
  const names = allow.filter((entry) => !isRange(entry)).map((entry) => entry.toLowerCase().replace(/\.$/, ''));
  return {
    cidrs: 'set' in compiled ? compiled.set : { has: () => false },
    hosts: new Set(names.filter((name) => !name.startsWith('*'))),
    suffixes: names.filter((name) => name === '*' || name.startsWith('*.')).map((name) => name.slice(1)),
    clusterDomain: clusterDomain.toLowerCase().replace(/\.$/, ''),
  };
}

/**
 * Checks a target's URL before anything is resolved: http or https, no credentials, no query; and its host is a Service
 * of the object's own namespace, a listed name, or an address inside a listed CIDR.
 * @returns undefined when it may be dialled, else the text that follows the field's name in a message.
 */
export function targetProblem(policy: EgressPolicy, namespace: string, url: string): string | undefined {
  if (!URL.canParse(url)) return `"${url}" is not a URL: write http(s)://host[:port][/path]`;
  const parsed = new URL(url);
  if (parsed.protocol !== 'http:' && parsed.protocol !== 'https:') return 'must begin with http:// or https://';
  if (parsed.username !== '' || parsed.password !== '') return 'must not hold credentials';
  if (parsed.search !== '' || parsed.hash !== '') return 'must not hold a query or a fragment';
  return hostProblem(policy, namespace, hostOf(parsed));
}

/**
 * Checks the address of a Redis that an object names (`host:port`) before anything is resolved, as {@link
 * targetProblem} checks a target.
 * @returns undefined when it may be dialled, else the text that follows the field's name in a message.
 */
export function addressProblem(policy: EgressPolicy, namespace: string, address: string): string | undefined {
  const url = `tcp://${address}`;
  if (!URL.canParse(url)) return `"${address}" is not an address: write host:port`;
  return hostProblem(policy, namespace, hostOf(new URL(url)));
}

function hostProblem(policy: EgressPolicy, namespace: string, host: string): string | undefined {
  if (coversHost(policy, namespace, host)) return undefined;
  return `host "${host}" is not covered by the operator's egress.allow: name a Service of this namespace, or have it listed`;
}

/**
 * Checks an address that a covered host resolved to. Loopback, link-local (169.254.169.254 among them), unspecified,
 * multicast and reserved addresses need a CIDR of the list, whatever name led to them; an IPv6 address that embeds an
 * IPv4 one is judged as both.
 */
export function mayDial(policy: EgressPolicy, addressText: string): boolean {
  const address = parseAddress(addressText);
  if (address === undefined) return false;
  if (policy.cidrs.has(address)) return true;
  return [address, ...embeddedIpv4(address)].every((each) => !isForbidden(each) || policy.cidrs.has(each));
}

/** The host name or address of a URL as the checks take it: lower case, no brackets, no dot at its end. */
export function hostOf(url: URL): string {
  return url.hostname
    .toLowerCase()
    .replace(/^\[|\]$/g, '')
    .replace(/\.$/, '');
}

function coversHost(policy: EgressPolicy, namespace: string, host: string): boolean {
  if (isIP(host) !== 0) {
    const address = parseAddress(host);
    return address !== undefined && policy.cidrs.has(address);
  }
  if (host === 'localhost') return policy.hosts.has(host) || policy.cidrs.has(ipaddr.IPv4.parse('127.0.0.1'));
  return (
    isOwnService(policy, namespace, host) ||
    policy.hosts.has(host) ||
    policy.suffixes.some((suffix) => endsIn(host, suffix))
  );
}

/** `<svc>.<ns>.svc` or `<svc>.<ns>.svc.<clusterDomain>`; below any other domain the name could be anybody's. */
function isOwnService({ clusterDomain }: EgressPolicy, namespace: string, host: string): boolean {
  const [service, owner, svc, ...domain] = host.split('.');
  if (service === undefined || service === '' || owner !== namespace || svc !== 'svc') return false;
  return domain.length === 0 || domain.join('.') === clusterDomain;
}

function endsIn(host: string, suffix: string): boolean {
  return suffix === '' || (host.length > suffix.length && host.endsWith(suffix));
}

function isForbidden(address: Address): boolean {
  return FORBIDDEN_RANGES.has(address.range()) || METADATA.has(address.toString()) || firstOctetIsZero(address);
}

/** 0.0.0.0/8 reaches the own host on several systems. */
function firstOctetIsZero(address: Address): boolean {
  return address.kind() === 'ipv4' && address.toByteArray()[0] === 0;
}

function embeddedIpv4(address: Address): readonly Address[] {
  if (address.kind() === 'ipv4') return [];
  const bytes = address.toByteArray();
  if (bytes.slice(0, 12).every((byte) => byte === 0)) return [ipaddr.fromByteArray(bytes.slice(12))];
  if (!EMBEDS_IPV4.has(address.range())) return [];
  const at = address.range() === '6to4' ? 2 : 12;
  return [ipaddr.fromByteArray(bytes.slice(at, at + 4))];
}
