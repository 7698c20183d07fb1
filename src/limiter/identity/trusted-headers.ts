// Limiter, identity stage: identities in headers that a gateway in front sets. In: the names of these headers, and a
// caller; out: who calls, where the peer is trusted. Headers of every other peer are hidden.
import type { TrustedHeaders } from '../../contract/limiter-config.ts';
import type { WireRequest } from '../decide/decision.ts';
import { headerOf } from '../decide/match.ts';
import { headerSource, isOneName, unclearText, type Source } from '../request/one-value.ts';
import type { Caller, IdentityOutcome, IdentityProvider } from './provider.ts';

/** All names in lower case. */
interface HeaderNames {
  readonly user?: string;
  readonly application?: string;
  /** [attribute, header] */
  readonly attributes: readonly (readonly [string, string])[];
}

/** Names (lower case) of the headers that only a trusted peer may set. */
export function trustedHeaderNames(headers: TrustedHeaders): readonly string[] {
  const { user, application, attributes } = namesOf(headers);
  const names = [user, application, ...attributes.map(([, header]) => header)];
  return [...new Set(names.filter((name) => name !== undefined))];
}

/**
 * Believes the headers of trusted peers. One that has more than one value is invalid: a gateway that adds its header to
 * the caller's own vouches for neither. Where neither a user nor an application has a header, an attribute is somebody.
 */
export function trustedHeadersProvider(headers: TrustedHeaders): IdentityProvider {
  const names = namesOf(headers);
  const all = trustedHeaderNames(headers);
  return {
    hides: ({ isTrustedPeer }) => (isTrustedPeer ? [] : all),
    identify: (caller) => {
      if (!caller.isTrustedPeer) return { kind: 'absent' };
      const doubled = doubledName(all, caller);
      return doubled === undefined
        ? claimed(names, caller.headers)
        : { kind: 'invalid', problem: unclearText(doubled) };
    },
  };
}

function namesOf({ user, application, attributes }: TrustedHeaders): HeaderNames {
  return {
    ...(user === undefined ? {} : { user: user.toLowerCase() }),
    ...(application === undefined ? {} : { application: application.toLowerCase() }),
    attributes: Object.entries(attributes).map(([name, header]) => [name, header.toLowerCase()] as const),
  };
}

function claimed(names: HeaderNames, headers: WireRequest['headers']): IdentityOutcome {
  const user = valueOf(headers, names.user);
  const application = valueOf(headers, names.application);
  const found = names.attributes.flatMap(([name, header]) => {
    const value = valueOf(headers, header);
    return value === undefined ? [] : [[name, value] as const];
  });
  const attributes = Object.freeze(Object.fromEntries(found));
  const isNamed = user !== undefined || application !== undefined;
  const isOnlyAttributes = names.user === undefined && names.application === undefined;
  if (!isNamed && !(isOnlyAttributes && found.length > 0)) return { kind: 'absent', attributes };
  return {
    kind: 'identified',
    who: {
      ...(user === undefined ? {} : { user }),
      ...(application === undefined ? {} : { application }),
      attributes,
    },
  };
}

/** The first header that is more than one value, in several lines or joined by a comma. */
function doubledName(names: readonly string[], { headers, unclear }: Caller): Source | undefined {
  const isDoubled = (name: string): boolean =>
    unclear?.has(headerSource(name)) === true || !isOneName(valueOf(headers, name) ?? '');
  const name = names.find(isDoubled);
  return name === undefined ? undefined : headerSource(name);
}

function valueOf(headers: WireRequest['headers'], name: string | undefined): string | undefined {
  const value = name === undefined ? undefined : headerOf(headers, name)?.trim();
  return value === '' ? undefined : value;
}
