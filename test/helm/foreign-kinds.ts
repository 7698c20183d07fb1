// Test part: the kinds of others that the chart can make (Prometheus Operator, cert-manager), as CRDs that know the
// fields it uses and no other, typed as in their own: an API server that checks strictly refuses a field that is
// misspelt or misplaced.
const text = { type: 'string' };
const texts = { type: 'array', items: text };
const object = (properties: object, required: readonly string[] = []): object => ({
  type: 'object',
  properties,
  ...(required.length === 0 ? {} : { required }),
});
const list = (items: object): object => ({ type: 'array', items });
const labels = { type: 'object', additionalProperties: text };
const duration = {
  type: 'string',
  pattern: '^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$',
};
const requirement = object({ key: text, operator: text, values: texts }, ['key', 'operator']);
const selector = object({ matchLabels: labels, matchExpressions: list(requirement) });
const endpoint = object({ port: text, path: text, scheme: text, interval: duration, scrapeTimeout: duration });
const namespaceSelector = object({ any: { type: 'boolean' }, matchNames: texts });
const rule = object(
  {
    alert: text,
    record: text,
    expr: { 'x-kubernetes-int-or-string': true, anyOf: [{ type: 'integer' }, { type: 'string' }] },
    for: duration,
    keep_firing_for: duration,
    labels,
    annotations: labels,
  },
  ['expr'],
);

const KINDS: readonly (readonly [string, string, string, object])[] = [
  [
    'monitoring.coreos.com/v1',
    'ServiceMonitor',
    'servicemonitors',
    object({ selector, namespaceSelector, endpoints: list(endpoint) }, ['selector', 'endpoints']),
  ],
  [
    'monitoring.coreos.com/v1',
    'PodMonitor',
    'podmonitors',
    object({ selector, namespaceSelector, podMetricsEndpoints: list(endpoint) }, ['selector']),
  ],
  [
    'monitoring.coreos.com/v1',
    'PrometheusRule',
    'prometheusrules',
    object({ groups: list(object({ name: text, interval: duration, rules: list(rule) }, ['name'])) }),
  ],
  [
    'cert-manager.io/v1',
    'Certificate',
    'certificates',
    object(
      {
        secretName: text,
        secretTemplate: object({ labels, annotations: labels }),
        dnsNames: texts,
        duration: text,
        privateKey: object({
          algorithm: { type: 'string', enum: ['RSA', 'ECDSA', 'Ed25519'] },
          size: { type: 'integer' },
          encoding: { type: 'string', enum: ['PKCS1', 'PKCS8'] },
          rotationPolicy: { type: 'string', enum: ['Never', 'Always'] },
        }),
        usages: list({
          type: 'string',
          enum: ['signing', 'digital signature', 'key encipherment', 'server auth', 'client auth'],
        }),
        issuerRef: object({ name: text, kind: text, group: text }, ['name']),
      },
      ['issuerRef', 'secretName'],
    ),
  ],
];

/** CustomResourceDefinitions, to be applied. */
export const FOREIGN_KINDS = KINDS.map(([apiVersion, kind, plural, spec]) => {
  const [group = '', version = ''] = apiVersion.split('/');
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names: { kind, plural, singular: kind.toLowerCase(), listKind: `${kind}List` },
      versions: [
        { name: version, served: true, storage: true, schema: { openAPIV3Schema: object({ spec }, ['spec']) } },
      ],
    },
  };
});
