// CRD: `spec.authentication`, where user and application come from; nothing else establishes an identity.
import { exactlyOne, flag, integer, mapOf, object, setOf, text, withDefault } from '../schema.ts';
import type { Infer, Rule } from '../schema.ts';
import { cidr, headerName, httpUrl, secretKeyRef, secretRef } from './values.ts';

const claimPath = (description: string) => text(description, { max: 128 });

const apiKeys = object(
  'API keys. The credential is removed before the request goes upstream.',
  {
    secretRef: secretRef(
      'Each entry: its name is the application id, its value the key or JSON {key | keySHA256, user, attributes}.',
    ),
  },
  {
    headers: withDefault(
      setOf('Headers that carry the key, tried in this order.', headerName('Name of a header.'), { min: 1, max: 8 }),
      ['authorization', 'x-api-key', 'api-key'],
    ),
  },
);

const jwt = object(
  'JSON web tokens. Exactly one of jwksUri or jwksSecretRef is set.',
  { issuer: text('The iss claim that a token must carry.', { max: 2048 }) },
  {
    audiences: setOf('A token must name one of them in aud.', text('An audience.', { max: 256 }), { min: 1, max: 16 }),
    jwksUri: httpUrl('Where the keys of the issuer are published.'),
    jwksSecretRef: secretKeyRef('The keys of the issuer, as a JWKS.'),
    userClaim: withDefault(claimPath('Claim that names the user.'), 'sub'),
    applicationClaim: claimPath('Claim that names the application.'),
  },
  [exactlyOne(['jwksUri', 'jwksSecretRef'])],
);

const trustedHeaders = object(
  'Headers that a gateway in front sets. Believed from trustedPeers only, stripped from everyone else.',
  {},
  {
    user: headerName('Header that names the user.'),
    application: headerName('Header that names the application.'),
    attributes: mapOf(
      'Attributes of the caller: name and the header that carries it.',
      headerName('Name of a header.'),
      {
        max: 16,
      },
    ),
  },
);

/** The schema of `spec.authentication`. */
export const authentication = object(
  'Where the identity of a caller comes from. A header that a caller can set is never a user or an application.',
  {},
  {
    required: withDefault(flag('true: a request without an identity is refused with 401.'), true),
    apiKeys,
    jwt,
    trustedHeaders,
    trustedPeers: setOf('Peers whose trustedHeaders are believed.', cidr(), { max: 64 }),
    clientIP: object(
      'How the address of a caller is found.',
      {},
      {
        trustedHops: withDefault(
          integer('Proxies in front whose X-Forwarded-For entries are believed; 0: the peer is the caller.', 0, 32),
          0,
        ),
      },
    ),
  },
);

/** Where the identity of a caller comes from. */
export type Authentication = Infer<typeof authentication>;

const HAS_USERS =
  'has(self.authentication) && (has(self.authentication.apiKeys) || has(self.authentication.jwt)' +
  ' || (has(self.authentication.trustedHeaders) && has(self.authentication.trustedHeaders.user)))';

/** CEL on `spec.rateLimiting`: some limit has a bucket for each user. */
export const USER_PART =
  '(has(self.rateLimiting.limits) && self.rateLimiting.limits.exists(l, has(l.per) && l.per.exists(p, has(p.user))))';

/** The rule on `spec` that whatever tells users apart (`uses`, CEL on spec.rateLimiting) has users to tell apart. */
export function userNeedsAuthentication(uses: readonly string[]): Rule {
  return {
    rule: `(${HAS_USERS}) || !has(self.rateLimiting) || !(${uses.join(' || ')})`,
    message: 'perUser rate limiting requires authentication',
  };
}
