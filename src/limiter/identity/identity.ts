// Limiter, identity stage: headers and peer of a request -> who calls, or unauthenticated; and which headers the
// upstream must not see. Only what authentication established is ever a user or an application.
import { parseAddress, type Address } from '../../lib/address.ts';
import type { Identity, RequestFacts, RouteMatch, WireRequest } from '../decide/decision.ts';
import { headerOf } from '../decide/match.ts';
import type { RuntimeIdentity, RuntimeObject } from '../compile/runtime-object.ts';
import { headerSource, isOneName, unclearText, type Source } from '../request/one-value.ts';

/** `strip` are header names (lower case) to take off before the request goes upstream. */
export type IdentityResult =
  | { readonly kind: 'identified'; readonly identity: Identity; readonly strip: readonly string[] }
  /** `problem`: there is one, but it is invalid. */
  | { readonly kind: 'unauthenticated'; readonly identity: Identity; readonly problem?: string };

/** What routing and identity look at. */
type CallerRequest = Pick<WireRequest, 'headers' | 'unclear' | 'peerAddress'>;

const NOBODY: Readonly<Record<string, unknown>> = Object.freeze({});

/**
 * Establishes who calls. Trusted headers count only when the TCP peer is one of `trustedPeers`; from everyone else they
 * are stripped. Unauthenticated (401): the object requires an identity, says how one is established, and there is none;
 * or a trusted header has more than one value: a gateway that adds its header to the caller's own vouches for neither.
 */
export function establishIdentity(object: RuntimeObject, request: CallerRequest): IdentityResult {
  const rules = object.identity;
  if (rules === undefined) {
    const clientAddress = addressText(parseAddress(request.peerAddress), request.peerAddress);
    return { kind: 'identified', identity: { attributes: NOBODY, clientAddress }, strip: [] };
  }
  const isTrusted = isTrustedPeer(rules, request);
  const clientAddress = clientAddressOf(rules.trustedHops, request);
  const doubled = isTrusted ? doubledName(rules, request) : undefined;
  if (doubled !== undefined) {
    const identity = { attributes: NOBODY, clientAddress };
    return { kind: 'unauthenticated', identity, problem: unclearText(doubled) };
  }
  const identity: Identity = {
    clientAddress,
    ...(isTrusted ? claimedIdentity(rules, request.headers) : { attributes: NOBODY }),
  };
  if (rules.required && rules.headerNames.length > 0 && !isSomebody(rules, identity)) {
    return { kind: 'unauthenticated', identity };
  }
  return { kind: 'identified', identity, strip: isTrusted ? [] : rules.headerNames };
}

/**
 * The facts that `when` and `per` look at. Headers that only a trusted peer may set are not among them for anybody
 * else: what the upstream does not see, no condition and no key sees.
 */
export function factsOf(
  request: WireRequest,
  match: Pick<RouteMatch, 'upstreamPath' | 'model'>,
  caller: Extract<IdentityResult, { kind: 'identified' }>,
): RequestFacts {
  const headers = withoutHeaders(request.headers, caller.strip);
  const { upstreamPath, model } = match;
  return { ...request, headers, identity: caller.identity, upstreamPath, ...(model === undefined ? {} : { model }) };
}

/**
 * The first thing that an object reads of a request and that has no one value (request/one-value.ts). Headers that its
 * peer may not set are not read.
 */
export function unclearIn(
  object: RuntimeObject,
  request: CallerRequest,
): { readonly source: Source; readonly code: 'invalid_request' | 'unauthenticated' } | undefined {
  const { unclear } = request;
  if (unclear === undefined || unclear.size === 0) return undefined;
  const rules = object.identity;
  const named = new Set<Source>(rules?.headerNames.map(headerSource));
  const isTrusted = rules !== undefined && isTrustedPeer(rules, request);
  const source = object.reads.find((each) => unclear.has(each) && (isTrusted || !named.has(each)));
  return source && { source, code: named.has(source) ? 'unauthenticated' : 'invalid_request' };
}

/** The headers of a request as an object's rules may see them: without those that its peer may not set. */
export function believedHeaders(object: RuntimeObject, request: CallerRequest): WireRequest['headers'] {
  const rules = object.identity;
  if (rules === undefined || rules.headerNames.length === 0 || isTrustedPeer(rules, request)) return request.headers;
  return withoutHeaders(request.headers, rules.headerNames);
}

/**
 * The client's address: the peer, or the X-Forwarded-For entry that `trustedHops` proxies vouch for, counted from the
 * right. Where an entry is missing or is no address, the nearest good one to its right stands: callers can be lumped
 * together by that, never told apart by a text that they wrote themselves.
 */
export function clientAddressOf(trustedHops: number, request: CallerRequest): string {
  let address = addressText(parseAddress(request.peerAddress), request.peerAddress);
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

function claimedIdentity(
  rules: RuntimeIdentity,
  headers: WireRequest['headers'],
): Pick<Identity, 'user' | 'application' | 'attributes'> {
  const user = valueOf(headers, rules.user);
  const application = valueOf(headers, rules.application);
  const attributes = rules.attributes.flatMap(([name, header]) => {
    const value = valueOf(headers, header);
    return value === undefined ? [] : [[name, value] as const];
  });
  return {
    ...(user === undefined ? {} : { user }),
    ...(application === undefined ? {} : { application }),
    attributes: Object.freeze(Object.fromEntries(attributes)),
  };
}

/** The first trusted header that is more than one value, in several lines or joined by a comma. */
function doubledName({ headerNames }: RuntimeIdentity, { headers, unclear }: CallerRequest): Source | undefined {
  const isDoubled = (name: string): boolean =>
    unclear?.has(headerSource(name)) === true || !isOneName(valueOf(headers, name) ?? '');
  const name = headerNames.find(isDoubled);
  return name === undefined ? undefined : headerSource(name);
}

/** A user or an application; where neither has a header, an attribute. */
function isSomebody(rules: RuntimeIdentity, identity: Identity): boolean {
  if (identity.user !== undefined || identity.application !== undefined) return true;
  return rules.user === undefined && rules.application === undefined && Object.keys(identity.attributes).length > 0;
}

/** Whether the peer is a proxy that the owner named: what it says of the original request is believed. */
export function isTrustedProxy({ identity }: Pick<RuntimeObject, 'identity'>, request: CallerRequest): boolean {
  return identity !== undefined && (identity.trustedHops > 0 || isTrustedPeer(identity, request));
}

function isTrustedPeer(rules: RuntimeIdentity, request: CallerRequest): boolean {
  const peer = parseAddress(request.peerAddress);
  return peer !== undefined && rules.trustedPeers.has(peer);
}

function withoutHeaders(headers: WireRequest['headers'], names: readonly string[]): WireRequest['headers'] {
  if (!names.some((name) => Object.hasOwn(headers, name))) return headers;
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !names.includes(name)));
}

function valueOf(headers: WireRequest['headers'], name: string | undefined): string | undefined {
  const value = name === undefined ? undefined : headerOf(headers, name)?.trim();
  return value === '' ? undefined : value;
}

function addressText(address: Address | undefined, otherwise: string): string {
  return address?.toString() ?? otherwise;
}
