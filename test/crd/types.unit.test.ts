// Tests the types that come out of the schemas: required and defaulted fields are there, the others may be missing.
import { describe, expect, test } from '@jest/globals';
import type { KeyPart, Limit, MCPServer, Match, ModelRoute, Tool, Window } from '../../src/crd/types.ts';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const holds = <T extends true>(value: T): boolean => value;

describe('types derived from the schemas', () => {
  test('required, defaulted and optional fields', () => {
    expect(holds<Equal<Limit['name'], string>>(true)).toBe(true);
    expect(holds<Equal<Limit['priority'], number>>(true)).toBe(true);
    expect(holds<Equal<Limit['concurrency'], number | undefined>>(true)).toBe(true);
    expect(holds<Equal<Window['period'], 'Second' | 'Minute' | 'Hour' | 'Day' | 'Week' | 'Month' | 'Year'>>(true)).toBe(
      true,
    );
    expect(holds<Equal<KeyPart['whenAbsent'], 'Share' | 'Skip'>>(true)).toBe(true);
    expect(holds<Equal<NonNullable<Match['not']>, boolean>>(true)).toBe(true);
    expect(holds<Equal<NonNullable<Tool['perUser']>['maxTokens'], number>>(true)).toBe(true);
    expect(holds<Equal<MCPServer['spec']['transport'], 'streamable-http' | 'sse'>>(true)).toBe(true);
  });

  test('a minimal object needs nothing that has no default', () => {
    const route: ModelRoute = {
      apiVersion: 'weir.dev/v1alpha1',
      kind: 'ModelRoute',
      metadata: { name: 'llama', namespace: 'serving' },
      spec: { modelName: 'llama', targets: [{ url: 'http://up', weight: 1, streamUsage: 'Auto', engine: 'Generic' }] },
    };
    expect(route.spec.rateLimiting).toBeUndefined();
  });
});
