// Limiter, identity stage: what a way of knowing callers has to say. One file per way fills this in. Types alone.
import type { Identity, WireRequest } from '../decide/decision.ts';

/** What routing and identity look at. */
export type CallerRequest = Pick<WireRequest, 'headers' | 'unclear' | 'peerAddress'>;

/** A request to one object, and what is known of its peer. */
export interface Caller extends CallerRequest {
  /** The peer is one of the object's `trustedPeers`. */
  readonly isTrustedPeer: boolean;
}

/**
 * identified: it names somebody. absent: it says nothing of who calls; `attributes` may hold what it says beside.
 * invalid: it is there and cannot be believed: 401, never anonymous.
 */
export type IdentityOutcome =
  | { readonly kind: 'identified'; readonly who: Pick<Identity, 'user' | 'application' | 'attributes'> }
  | { readonly kind: 'absent'; readonly attributes?: Identity['attributes'] }
  | { readonly kind: 'invalid'; readonly problem: string };

/** One way of knowing who calls. Pure: the same caller gives the same answer. */
export interface IdentityProvider {
  /** Header names (lower case) that nothing else may see: no rule, no condition, no key, no upstream. */
  hides(caller: Caller): readonly string[];
  identify(caller: Caller): IdentityOutcome;
}
