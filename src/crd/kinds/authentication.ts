// CRD: `spec.authentication`, the only source of users and applications; in: nothing, out: its schema, type and rule.
import { DEFAULTS } from '../defaults.ts';
import { exactlyOne, flag, integer, mapOf, object, setOf, text, withDefault } from '../schema.ts';
import type { Infer, Rule } from '../schema.ts';
import { cidr, headerName, httpUrl, secretKeyRef, secretRef } from './values.ts';

const { apiKeyHeaders, required, trustedHops, userClaim } = DEFAULTS.authentication;

const claimPath = (description: string) => text(description, { max: 128 });

const apiKeys = object(
  'API keys. The key is removed from the request before it goes upstream.',
  {
    secretRef: secretRef(
      'One entry per application: the name is the application id, the value is the key or JSON {key | keySHA256, user, attributes}.',
    ),
  },
  {
    headers: withDefault(
      setOf('Headers that can carry the key, tried in this order.', headerName('Name of a header.'), {
        min: 1,
        max: 8,
      }),
      apiKeyHeaders,
    ),
  },
);

const jwt = object(
  'JSON web tokens. Exactly one of jwksUri or jwksSecretRef is set.',
  { issuer: text('The required value of the claim iss.', { max: 2048 }) },
  {
    audiences: setOf(
      'Accepted audiences: the claim aud must contain one of them.',
      text('An audience.', { max: 256 }),
      { min: 1, max: 16 },
    ),
    jwksUri: httpUrl('URL of the key set (JWKS) of the issuer.'),
    jwksSecretRef: secretKeyRef('The key set (JWKS) of the issuer.'),
    userClaim: withDefault(claimPath('Claim that names the user.'), userClaim),
    applicationClaim: claimPath('Claim that names the application.'),
  },
  [exactlyOne(['jwksUri', 'jwksSecretRef'])],
);

const trustedHeaders = object(
  'Headers that a gateway in front of the limiter sets. They are accepted from trustedPeers and removed from all other requests.',
  {},
  {
    user: headerName('Header that names the user.'),
    application: headerName('Header that names the application.'),
    attributes: mapOf(
      'Attributes of the caller: the name of each, and the header that carries it.',
      headerName('Name of a header.'),
      {
        max: 16,
      },
    ),
  },
);

/** The schema of `spec.authentication`. */
export const authentication = object(
  'How callers are identified. A header that callers can set never identifies a user or an application.',
  {},
  {
    required: withDefault(flag('true: requests without an identity are refused with 401.'), required),
    apiKeys,
    jwt,
    trustedHeaders,
    trustedPeers: setOf('Peers whose trustedHeaders are accepted.', cidr(), { max: 64 }),
    clientIP: object(
      'How the address of the caller is determined.',
      {},
      {
        trustedHops: withDefault(
          integer(
            'Number of trusted proxies in front of the limiter that append to X-Forwarded-For. 0: the peer is the caller.',
            0,
            32,
          ),
          trustedHops,
        ),
      },
    ),
  },
);

/** How callers are identified. */
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
