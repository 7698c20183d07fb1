// Configs for tests of the push: small, valid, different by `burst`.
import { resourceName, type LimiterConfig, type ObjectRef } from '../../src/contract/limiter-config.ts';
import { toVersioned, type VersionedResource } from '../../src/contract/snapshot.ts';

export function sampleConfig(ref: ObjectRef, burst: number, padding = ''): LimiterConfig {
  return {
    ...ref,
    uid: `uid-${ref.name}`,
    requires: ['limit.bucket', 'measure.requests'],
    routing: {
      kind: 'model',
      models: [`model-${ref.name}`],
      hostnames: [],
      pathPrefix: `/${ref.namespace}/${ref.name}`,
      rules: [{ name: 'all', headers: [], methods: [], targets: [{ url: `http://u.test/${padding}`, weight: 1 }] }],
    },
    store: { type: 'memory' },
    limits: [
      {
        name: 'requests',
        measure: 'Requests',
        rule: { kind: 'bucket', maxTokens: burst, refillPeriodMicros: 3_600_000_000, burst },
        per: [],
        when: [],
        priority: 0,
        enforcement: 'Enforce',
        failurePolicy: 'Open',
        cost: 1,
      },
    ],
    response: { dialect: 'Auto', headers: [], resetFormat: 'Delta', mcp: { form: 'ToolResult', code: 429 } },
  };
}

export function route(namespace: string, name: string): ObjectRef {
  return { kind: 'ModelRoute', namespace, name };
}

/** A ModelRoute as it is pushed. */
export function sampleResource(namespace: string, name: string, burst = 1, padding = ''): VersionedResource {
  const ref = route(namespace, name);
  return toVersioned(resourceName(ref), sampleConfig(ref, burst, padding));
}
