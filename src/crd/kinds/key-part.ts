// CRD: `limits[].per[]`, the parts of a request that select its bucket; in: the rules of the kind, out: schema and
// type.
import { DEFAULTS } from '../defaults.ts';
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

const { prefixV4, prefixV6, whenAbsent } = DEFAULTS.keyPart;

const clientIP = object(
  'The address of the caller, cut to a prefix, so that a caller with many addresses has one bucket.',
  {},
  {
    prefixV4: withDefault(integer('Prefix length for IPv4 addresses.', 0, 32), prefixV4),
    prefixV6: withDefault(integer('Prefix length for IPv6 addresses.', 0, 128), prefixV6),
  },
);

const sources = {
  user: marker('The user, as authentication identified it.'),
  application: marker('The application, as authentication identified it.'),
  claim: text('Path of a JWT claim or attribute, like tier or org.team. A list counts as absent.', { max: 128 }),
  header: headerName('Name of a request header. Callers can set it, so it identifies nobody.'),
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
    'One part of the key of a bucket. Set exactly one source.',
    {},
    {
      ...sources,
      fallback: text('The value to use when the part is absent.', { max: 128 }),
      whenAbsent: withDefault(
        choice(
          'What to do with requests without the part. Share: they share one bucket. Skip: the limit does not apply to them.',
          ['Share', 'Skip'],
        ),
        whenAbsent,
      ),
    },
    [exactlyOne(KEY_PART_SOURCES), ...rules],
  );
}

/** One part of the key of a bucket. */
export type KeyPartSpec = Infer<ReturnType<typeof keyPartSchema>>;
