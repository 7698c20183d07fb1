// Limiter, identity stage: headers and peer of a request -> who calls, or unauthenticated; and which headers nothing
// else may see. Only what authentication established is ever a user or an application.
import { parseAddress } from '../../lib/values/address.ts';
import type { RuntimeIdentity, RuntimeObject } from '../compile/runtime-object.ts';
import type { Identity, RequestFacts, RouteMatch, WireRequest } from '../decide/decision.ts';
import { headerSource, type Source } from '../request/one-value.ts';
import { clientAddressOf } from './client-address.ts';
import type { Caller, CallerRequest, IdentityOutcome } from './provider.ts';

/** A request as one object may see it. Peer trust is judged here, once for a request and an object. */
export interface SeenCaller {
  readonly caller: Caller;
  /** Header names (lower case) that only the object's identity providers may see. */
  readonly hidden: readonly string[];
  /** The headers of the request without the hidden ones. */
  readonly headers: WireRequest['headers'];
  /** The peer is a proxy that the owner named: what it says of the original request is believed. */
  readonly isTrustedProxy: boolean;
}

/** `strip` are header names (lower case) to take off before the request goes upstream. */
export type IdentityResult =
  | { readonly kind: 'identified'; readonly identity: Identity; readonly strip: readonly string[] }
  | {
      readonly kind: 'unauthenticated';
      readonly identity: Identity;
      readonly strip: readonly string[];
      /** There is an identity, but it is invalid. */
      readonly problem?: string;
    };

const NOBODY: Identity['attributes'] = Object.freeze({});
const ABSENT: IdentityOutcome = { kind: 'absent' };
const NOTHING: readonly string[] = [];

/** Judges a request's peer, and hides from all later stages what only identity providers may see. */
export function seenBy({ identity }: Pick<RuntimeObject, 'identity'>, request: CallerRequest): SeenCaller {
  if (identity === undefined) {
    const caller = { ...callerRequest(request), isTrustedPeer: false };
    return { caller, hidden: NOTHING, headers: request.headers, isTrustedProxy: false };
  }
  const caller = { ...callerRequest(request), isTrustedPeer: isTrustedPeer(identity, request) };
  const hidden = identity.providers.flatMap((provider) => provider.hides(caller));
  return {
    caller,
    hidden,
    headers: withoutHeaders(request.headers, hidden),
    isTrustedProxy: identity.trustedHops > 0 || caller.isTrustedPeer,
  };
}

/**
 * Establishes who calls: the first provider that does not answer "absent" decides. Unauthenticated (401): what it found
 * is invalid; or the object requires an identity, says how one is established, and there is none.
 */
export function establishIdentity(object: Pick<RuntimeObject, 'identity'>, seen: SeenCaller): IdentityResult {
  const { caller, hidden } = seen;
  const rules = object.identity;
  const clientAddress = clientAddressOf(rules?.trustedHops ?? 0, caller);
  if (rules === undefined) {
    return { kind: 'identified', identity: { attributes: NOBODY, clientAddress }, strip: hidden };
  }
  const outcome = outcomeOf(rules, caller);
  if (outcome.kind === 'identified') {
    return { kind: 'identified', identity: { clientAddress, ...outcome.who }, strip: hidden };
  }
  if (outcome.kind === 'invalid') {
    const identity = { attributes: NOBODY, clientAddress };
    return { kind: 'unauthenticated', identity, strip: rules.headerNames, problem: outcome.problem };
  }
  const identity = { attributes: outcome.attributes ?? NOBODY, clientAddress };
  if (!rules.required || rules.providers.length === 0) return { kind: 'identified', identity, strip: hidden };
  return { kind: 'unauthenticated', identity, strip: rules.headerNames };
}

/** The facts that `when` and `per` look at: what the upstream does not see, no condition and no key sees. */
export function factsOf(
  request: WireRequest,
  match: Pick<RouteMatch, 'upstreamPath' | 'model'>,
  { identity, strip }: Pick<IdentityResult, 'identity' | 'strip'>,
): RequestFacts {
  const headers = withoutHeaders(request.headers, strip);
  const { upstreamPath, model } = match;
  return { ...request, headers, identity, upstreamPath, ...(model === undefined ? {} : { model }) };
}

/**
 * The first thing that an object reads of a request and that has no one value (request/one-value.ts). What is hidden is
 * not read.
 */
export function unclearIn(
  object: RuntimeObject,
  request: CallerRequest,
  seen: () => SeenCaller = () => seenBy(object, request),
): { readonly source: Source; readonly code: 'invalid_request' | 'unauthenticated' } | undefined {
  const { unclear } = request;
  if (unclear === undefined || unclear.size === 0) return undefined;
  const hidden = new Set<Source>(seen().hidden.map(headerSource));
  const source = object.reads.find((each) => unclear.has(each) && !hidden.has(each));
  if (source === undefined) return undefined;
  const isOfIdentity = object.identity?.headerNames.some((name) => headerSource(name) === source) === true;
  return { source, code: isOfIdentity ? 'unauthenticated' : 'invalid_request' };
}

function outcomeOf({ providers }: RuntimeIdentity, caller: Caller): IdentityOutcome {
  let absent = ABSENT;
  for (const provider of providers) {
    const outcome = provider.identify(caller);
    if (outcome.kind !== 'absent') return outcome;
    if (absent === ABSENT) absent = outcome;
  }
  return absent;
}

function callerRequest({ headers, unclear, peerAddress }: CallerRequest): CallerRequest {
  return { headers, peerAddress, ...(unclear === undefined ? {} : { unclear }) };
}

function isTrustedPeer(rules: RuntimeIdentity, request: CallerRequest): boolean {
  const peer = parseAddress(request.peerAddress);
  return peer !== undefined && rules.trustedPeers.has(peer);
}

function withoutHeaders(headers: WireRequest['headers'], names: readonly string[]): WireRequest['headers'] {
  if (!names.some((name) => Object.hasOwn(headers, name))) return headers;
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !names.includes(name)));
}
