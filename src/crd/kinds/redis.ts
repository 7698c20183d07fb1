// CRD: `rateLimiting.redis`, where the buckets of an object live.
import { exactlyOne, integer, object, setOf, text } from '../schema.ts';
import type { Infer } from '../schema.ts';
import { address, hostname, secretKeyRef } from './values.ts';

const addresses = setOf('Addresses, host:port each.', address('host:port'), { min: 1, max: 32 });

/** The schema of a Redis deployment. */
export const redis = object(
  'The Redis that holds the buckets. Exactly one of address, sentinel or cluster is set.',
  {},
  {
    address: address('host:port of a single Redis.'),
    sentinel: object(
      'A Redis that Sentinel watches.',
      { masterName: text('Name of the master, as Sentinel knows it.', { max: 128 }), addresses },
      {},
    ),
    cluster: object('A Redis Cluster.', { addresses }, {}),
    db: integer('Number of the database.', 0, 65_535),
    username: text('Name of the ACL user.', { max: 128 }),
    passwordSecretRef: secretKeyRef('The password.'),
    tls: object(
      'Speak TLS to Redis.',
      {},
      {
        caSecretRef: secretKeyRef('The certificate authority that signed the server, PEM; absent: the public ones.'),
        serverName: hostname('Name that the certificate of the server must carry; absent: the host of the address.'),
      },
    ),
  },
  [exactlyOne(['address', 'sentinel', 'cluster'])],
);

/** A Redis deployment as the user writes it. */
export type Redis = Infer<typeof redis>;
