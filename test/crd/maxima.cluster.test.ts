// Tests objects at all maxima on a real API server: they are admitted within the budget of CEL, kept, and valid
// offline.
import { beforeAll, expect, test } from '@jest/globals';
import { KINDS } from '../../src/crd/kinds/kinds.ts';
import type { SchemaData } from '../../src/crd/schema.ts';
import { judgeObject } from '../../src/crd/validate.ts';
import { describeOnCluster } from '../../tools/node-cluster/describe-cluster.ts';
import { installKinds } from './installed-kinds.ts';

const times = <T>(count: number, make: (index: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i));

const bucket = { maxTokens: 1e12, refillPeriod: '8784h', burst: 1e12 };

function match(index: number, kind: string): unknown {
  const tenants = times(16, (i) => `tenant-${i}`);
  const kinds = [
    { header: { name: 'x-tier', regex: `${'a'.repeat(32)}.*` } },
    { claim: { path: 'tier', exact: 'premium' } },
    { path: { prefix: '/v1/chat' } },
    { method: ['GET', 'POST'] },
    { clientIP: times(16, (i) => `10.${i}.0.0/16`) },
    { user: tenants },
    { application: tenants },
    kind === 'MCPServer' ? { tool: { prefix: 'db-' } } : { model: { prefix: 'llama' } },
  ];
  return { ...(kinds[index % kinds.length] as object), not: true };
}

function rateLimiting(kind: string): Record<string, unknown> {
  const per = [
    { user: {}, fallback: 'none' },
    { application: {} },
    { claim: 'org.team' },
    { header: 'x-tenant', whenAbsent: 'Skip' },
    { clientIP: { prefixV4: 24, prefixV6: 48 } },
  ];
  return {
    redis: { address: 'redis.default:6379' },
    limits: times(32, (i) => ({ name: `limit-${i}`, group: 'g', bucket, per, when: times(8, (j) => match(j, kind)) })),
    prices: times(64, (i) => ({ model: `model-${i}`, inputPerMillion: '0.60', outputPerMillion: '0.90' })),
  };
}

const common = {
  hostnames: times(16, (i) => `host-${i}.example.com`),
  workloadSelector: { matchLabels: Object.fromEntries(times(16, (i) => [`label-${i}`, 'value'])) },
  targets: times(16, (i) => ({ service: { name: `service-${i}`, port: 8000 } })),
  authentication: {
    trustedHeaders: { user: 'x-user', attributes: Object.fromEntries(times(16, (i) => [`a${i}`, `x-a${i}`])) },
    trustedPeers: times(64, (i) => `10.${i}.0.0/16`),
  },
};

const SPECS: Readonly<Record<string, Record<string, unknown>>> = {
  ModelRoute: {
    ...common,
    modelName: 'm'.repeat(253),
    loraAdapters: times(10, (i) => `adapter-${i}`),
    rules: times(16, (i) => ({
      name: `rule-${i}`,
      matches: { path: { prefix: '/v1' }, headers: times(8, (j) => ({ name: `x-${j}`, present: true })) },
      targets: times(16, (j) => ({ url: `http://upstream-${j}` })),
    })),
    rateLimiting: rateLimiting('ModelRoute'),
  },
  MCPServer: {
    ...common,
    rateLimiting: {
      ...rateLimiting('MCPServer'),
      shared: bucket,
      perUser: bucket,
      tools: times(128, (i) => ({ name: `tool-${i}`, shared: bucket, perUser: bucket, price: '0.01' })),
    },
  },
};

/** The lists of a value that are shorter than they may be, of those that a rule or a word list does not bound. */
function lists(value: unknown, schema: SchemaData, path: string): string[] {
  if (Array.isArray(value)) {
    const isFull = value.length === schema.maxItems;
    const inner = value.slice(0, 1).flatMap((element: unknown) => lists(element, schema.items!, `${path}[]`));
    return [...(isFull ? [path] : []), ...inner];
  }
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, member]) => {
    const known = schema.properties?.[name] ?? schema.additionalProperties!;
    return lists(member, known, `${path}.${name}`);
  });
}

describeOnCluster('objects at all maxima', (cluster) => {
  beforeAll(async () => {
    await installKinds(cluster());
  });

  test.each(KINDS)('$kind is admitted', async ({ kind, plural, spec: schema }) => {
    const spec = SPECS[kind]!;
    const object = { apiVersion: 'weir.dev/v1alpha1', kind, metadata: { name: 'maximal', namespace: 'default' }, spec };
    expect(lists(spec, schema, 'spec')).toEqual(
      expect.arrayContaining([
        'spec.hostnames',
        'spec.targets',
        'spec.rateLimiting.limits',
        'spec.rateLimiting.limits[].per',
        'spec.rateLimiting.limits[].when',
      ]),
    );
    expect(judgeObject(object).findings).toEqual([]);
    const input = JSON.stringify(object);
    expect(input.length).toBeLessThan(1_400_000);
    await cluster().mustKubectl(['apply', '--server-side', '--validate=strict', '-f', '-'], { input });
    await cluster().mustKubectl(['delete', `${plural}.weir.dev`, 'maximal', '--wait=false']);
  });

  test('the short names and the category list both kinds', async () => {
    for (const name of ['wmr', 'wmcp', 'weir', 'modelroutes.weir.dev', 'mcpservers.weir.dev']) {
      expect((await cluster().kubectl(['get', name])).code).toBe(0);
    }
  });

  test('kubectl explain knows every field', async () => {
    for (const { plural, spec } of KINDS) {
      const described = await cluster().mustKubectl(['explain', `${plural}.weir.dev.spec`, '--recursive']);
      for (const name of names(spec)) expect(described).toMatch(new RegExp(`\\b${name}\\t`));
    }
  });

  test('kubectl explain tells the defaults', async () => {
    const explain = (field: string) => cluster().mustKubectl(['explain', `modelroutes.weir.dev.spec.${field}`]);
    expect(await explain('targets.weight')).toMatch(/Default: 1\.\n/);
    expect(await explain('rateLimiting.limits.measure')).toMatch(/Default: Requests\.\n/);
    expect(await explain('rateLimiting.limits.bucket.burst')).toMatch(/Default: maxTokens\.\n/);
    expect(await explain('authentication.apiKeys.headers')).toMatch(
      /Default:\s+authorization,\s+x-api-key,\s+api-key\.\n/,
    );
  });
});

function names(schema: SchemaData): string[] {
  const inner = [...Object.entries(schema.properties ?? {})].flatMap(([name, field]) => [name, ...names(field)]);
  return [...inner, ...(schema.items === undefined ? [] : names(schema.items))];
}
