// CRD: `rateLimiting.redis`, where the buckets of an object live.
import { exactlyOne, integer, object, setOf, text, withDefaultWords } from '../schema.ts';
import type { Infer } from '../schema.ts';
import { address, hostname, secretKeyRef } from './values.ts';

const addresses = setOf('Addresses, host:port each.', address('host:port'), { min: 1, max: 32 });

/** The schema of a Redis deployment. */
export const redis = object(
  'The Redis that holds the buckets. Set exactly one of address, sentinel or cluster.',
  {},
  {
    address: address('host:port of a single Redis server.'),
    sentinel: object(
      'A Redis server that Sentinel monitors.',
      { masterName: text('Name of the master in Sentinel.', { max: 128 }), addresses },
      {},
    ),
    cluster: object('A Redis Cluster.', { addresses }, {}),
    db: withDefaultWords(integer('Number of the database.', 0, 65_535), '0'),
    username: withDefaultWords(text('Name of the ACL user.', { max: 128 }), 'the default user of Redis'),
    passwordSecretRef: secretKeyRef('The password.'),
    tls: object(
      'Connect to Redis with TLS.',
      {},
      {
        caSecretRef: withDefaultWords(
          secretKeyRef('The certificate authority of the server, as PEM.'),
          'the public certificate authorities',
        ),
        serverName: withDefaultWords(
          hostname('Name that the certificate of the server must carry.'),
          'the host of the address',
        ),
      },
    ),
  },
  [exactlyOne(['address', 'sentinel', 'cluster'])],
);

/** A Redis deployment as the user writes it. */
export type Redis = Infer<typeof redis>;
