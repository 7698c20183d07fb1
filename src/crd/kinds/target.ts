// CRD: `targets[]`, the upstreams of an object.
import { choice, integer, list, object, withDefault } from '../schema.ts';
import type { Infer, Rule } from '../schema.ts';
import { headerName, httpUrl, label, secretKeyRef } from './values.ts';

const target = object(
  'An upstream: a Service of this namespace or a URL. With neither, the port of the own pod of a sidecar.',
  {},
  {
    service: object(
      'A Service in the namespace of this object.',
      { name: label('Name of the Service.'), port: integer('Port of the Service.', 1, 65_535) },
      {},
    ),
    url: httpUrl('An http or https URL. Its path is put before the path of the request.'),
    weight: withDefault(integer('Share of the requests, in proportion to the other targets.', 0, 100), 1),
    credential: object(
      'A credential that is sent to the upstream.',
      { secretRef: secretKeyRef('The credential.') },
      { header: withDefault(headerName('Header that carries it.'), 'authorization') },
    ),
    streamUsage: withDefault(
      choice(
        'Off: the upstream does not know stream_options, do not ask it for usage. Write "Off" in quotes: YAML reads the bare word as false.',
        ['Auto', 'Off'],
      ),
      'Auto',
    ),
    engine: withDefault(
      choice('What serves the model; VLLM reports usage with every chunk.', ['Generic', 'VLLM']),
      'Generic',
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

/** Without pods of its own, an object has no default for a target that names nothing. */
export const TARGET_RULES: readonly Rule[] = [
  {
    rule: 'has(self.workloadSelector) || !has(self.targets) || self.targets.all(t, has(t.service) || has(t.url))',
    fieldPath: '.targets',
    message: NAMELESS_TARGET,
  },
];
