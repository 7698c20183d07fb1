// CRD: `targets[]`, the upstreams of an object; in: nothing, out: schema, type and rule.
import { DEFAULTS } from '../defaults.ts';
import { choice, integer, list, object, withDefault } from '../schema.ts';
import type { Infer, Rule } from '../schema.ts';
import { headerName, httpUrl, label, secretKeyRef } from './values.ts';

const { credentialHeader, engine, streamUsage, weight } = DEFAULTS.target;

const target = object(
  'An upstream: a Service of this namespace or a URL. With neither, a sidecar sends requests to the port of its own pod.',
  {},
  {
    service: object(
      'A Service in the namespace of this object.',
      { name: label('Name of the Service.'), port: integer('Port of the Service.', 1, 65_535) },
      {},
    ),
    url: httpUrl('An http or https URL. Its path is prepended to the path of the request.'),
    weight: withDefault(
      integer('Share of the requests, relative to the weights of the other targets.', 0, 100),
      weight,
    ),
    credential: object(
      'A credential for the upstream.',
      { secretRef: secretKeyRef('The credential.') },
      { header: withDefault(headerName('Header that carries the credential.'), credentialHeader) },
    ),
    streamUsage: withDefault(
      choice(
        'Off: do not ask the upstream for usage, because it does not support stream_options. Write "Off" in quotes: YAML reads the bare word as false.',
        ['Auto', 'Off'],
      ),
      streamUsage,
    ),
    engine: withDefault(
      choice('The server of the model. VLLM reports usage with every chunk.', ['Generic', 'VLLM']),
      engine,
    ),
  },
  [{ rule: '!(has(self.service) && has(self.url))', message: 'at most one of service or url may be set' }],
);

/** An upstream as the user writes it. */
export type TargetSpec = Infer<typeof target>;

/** A list of upstreams. */
export function targets(description: string) {
  return list(description, target, { max: 16 });
}

export const NAMELESS_TARGET = 'a target needs service or url unless workloadSelector is set';

/** Without pods of its own, an object has nowhere to send the requests of a target that names nothing. */
export const TARGET_RULES: readonly Rule[] = [
  {
    rule: 'has(self.workloadSelector) || !has(self.targets) || self.targets.all(t, has(t.service) || has(t.url))',
    fieldPath: '.targets',
    message: NAMELESS_TARGET,
  },
];
