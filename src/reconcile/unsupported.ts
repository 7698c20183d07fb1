// Reconcile, validate: a use of a capability that no limiter of this version has -> what is wrong, and what to do
// about it that does not change what the other limits mean.
import type { CapabilityUse } from '../contract/capabilities.ts';
import { MEASURES } from '../contract/measures.ts';

/**
 * What to do instead. `field`: the object means the same to a limiter of this version without the field. `limit`:
 * without the field the limit would count something else, or apply to other requests, so the limit as a whole must
 * go. Else: in words.
 */
type Remedy = 'field' | 'limit' | { readonly instead: string };

/** By capability; every one that is not enforced has a row. */
export const REMEDIES: Readonly<Record<string, Remedy>> = {
  'store.redis-sentinel': { instead: 'set redis.address to one Redis server' },
  'store.redis-cluster': { instead: 'set redis.address to one Redis server' },
  'consistency.leased': 'field',
  ...Object.fromEntries(
    Object.values(MEASURES)
      .filter(({ enforced }) => !enforced)
      .map(({ capability }) => [capability, 'limit' as const]),
  ),
  'limit.concurrency': 'limit',
  'limit.cached-input-weight': 'field',
  'limit.cut-streams': 'field',
  'match.estimate': 'limit',
  'match.schedule': 'limit',
  estimation: 'field',
  prices: 'field',
  'unmetered.allow': 'field',
  adaptive: 'field',
  'mcp.tool-price': 'field',
  'identity.api-keys': {
    instead: 'let a gateway in front authenticate callers, and set authentication.trustedHeaders',
  },
  'identity.jwt': { instead: 'let a gateway in front authenticate callers, and set authentication.trustedHeaders' },
  'target.credential': { instead: 'remove it, and let callers or a proxy behind Weir send the credential' },
  'target.stream-usage': 'field',
  'target.engine': 'field',
  'transport.sse': { instead: 'use a server that speaks streamable-http' },
};

/** The message of NotSupported. `limitName` is the name of the limit that the path leads into, if it leads into one. */
export function unsupportedMessage({ id, value }: CapabilityUse, limitName: string | undefined): string {
  const isScalar = typeof value !== 'object';
  const what = isScalar ? JSON.stringify(value) : 'this field';
  const remove = isScalar ? 'remove the field' : 'remove it';
  const remedy = REMEDIES[id] ?? 'field';
  return `${what} is not enforced by this version: ${typeof remedy === 'object' ? remedy.instead : removal()}`;

  function removal(): string {
    if (remedy === 'field' || limitName === undefined) return remove;
    return `remove the limit ${JSON.stringify(limitName)} (without this field it would limit something else)`;
  }
}
