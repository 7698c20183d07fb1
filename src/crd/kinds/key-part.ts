// CRD: `limits[].per[]`, the parts of a caller that tell its bucket from the buckets of others.
import { choice, exactlyOne, integer, marker, object, text, withDefault } from '../schema.ts';
import type { Infer, Rule } from '../schema.ts';
import { headerName } from './values.ts';

/** Exactly one of these is set in a key part. */
export const KEY_PART_SOURCES = [
  'user',
  'application',
  'claim',
  'header',
  'query',
  'clientIP',
  'model',
  'tool',
  'session',
  'constant',
] as const;

const clientIP = object(
  'The address of the caller, cut to a prefix, so that a caller with many addresses has one bucket.',
  {},
  {
    prefixV4: withDefault(integer('Bits of an IPv4 address that count.', 0, 32), 32),
    prefixV6: withDefault(integer('Bits of an IPv6 address that count.', 0, 128), 64),
  },
);

const sources = {
  user: marker('The user that authentication established.'),
  application: marker('The application that authentication established.'),
  claim: text('Path of a JWT claim or an attribute, like tier or org.team. A list counts as absent.', { max: 128 }),
  header: headerName('Name of a request header. A caller can set it: it is no identity.'),
  query: text('Name of a query parameter.', { max: 128 }),
  clientIP,
  model: marker('The model that the request names.'),
  tool: marker('The MCP tool that the request calls.'),
  session: marker('The MCP session.'),
  constant: text('A fixed text.', { max: 128 }),
} as const;

/** The schema of a key part; `rules` are those of the kind it is used in. */
export function keyPartSchema(rules: readonly Rule[]) {
  return object(
    'One part of the key of a bucket. Exactly one source is set.',
    {},
    {
      ...sources,
      fallback: text('The name used when the part is absent.', { max: 128 }),
      whenAbsent: withDefault(
        choice(
          'What happens to callers without the part: Share gives them one bucket together, Skip leaves them out.',
          ['Share', 'Skip'],
        ),
        'Share',
      ),
    },
    [exactlyOne(KEY_PART_SOURCES), ...rules],
  );
}

/** One part of the key of a bucket. */
export type KeyPart = Infer<ReturnType<typeof keyPartSchema>>;
