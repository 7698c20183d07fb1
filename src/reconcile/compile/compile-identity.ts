// Reconcile, compile: `authentication` as written -> how a limiter identifies callers.
import type { IdentityConfig, TrustedHeaders } from '../../contract/limiter-config.ts';
import { DEFAULTS } from '../../crd/defaults.ts';
import type { Authentication } from '../../crd/kinds/authentication.ts';
import { asCidr } from './compile-conditions.ts';
import { optional } from '../optional.ts';

const ABSENT = DEFAULTS.authentication;

/** Absent when the object has no `authentication`: user and application parts take their fallback then. */
export function compileIdentity(spec: Authentication | undefined): { readonly identity?: IdentityConfig } {
  return optional('identity', spec, (authentication) => ({
    required: (authentication.required ?? ABSENT.required) && establishesIdentity(authentication),
    trustedHops: authentication.clientIP?.trustedHops ?? ABSENT.trustedHops,
    ...optional('trustedHeaders', authentication.trustedHeaders, (headers) =>
      compileTrustedHeaders(headers, authentication.trustedPeers ?? []),
    ),
  }));
}

/** Whether some method identifies callers. Without one, requiring an identity would refuse every request. */
export function establishesIdentity(spec: Authentication): boolean {
  return spec.trustedHeaders !== undefined || spec.apiKeys !== undefined || spec.jwt !== undefined;
}

function compileTrustedHeaders(
  headers: NonNullable<Authentication['trustedHeaders']>,
  trustedPeers: readonly string[],
): TrustedHeaders {
  return {
    ...optional('user', headers.user, lowerCase),
    ...optional('application', headers.application, lowerCase),
    attributes: Object.fromEntries(
      Object.entries(headers.attributes ?? {}).map(([name, header]) => [name, lowerCase(header)]),
    ),
    trustedPeers: trustedPeers.map(asCidr),
  };
}

function lowerCase(header: string): string {
  return header.toLowerCase();
}
