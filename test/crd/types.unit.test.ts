// Tests the types that come out of the schemas: required fields are there, all others may be absent, also those with a
// default.
import { describe, expect, test } from '@jest/globals';
import type { KeyPartSpec, Limit, MatchSpec, ObjectOf, ToolSpec, Window } from '../../src/crd/types.ts';

type Equal<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;

describe('types derived from the schemas', () => {
  test('required and optional fields', () => {
    const name: Equal<Limit['name'], string> = true;
    const priority: Equal<Limit['priority'], number | undefined> = true;
    const concurrency: Equal<Limit['concurrency'], number | undefined> = true;
    const period: Equal<Window['period'], 'Second' | 'Minute' | 'Hour' | 'Day' | 'Week' | 'Month' | 'Year'> = true;
    const whenAbsent: Equal<KeyPartSpec['whenAbsent'], 'Share' | 'Skip' | undefined> = true;
    const not: Equal<NonNullable<MatchSpec['not']>, boolean> = true;
    const maxTokens: Equal<NonNullable<ToolSpec['perUser']>['maxTokens'], number> = true;
    const transport: Equal<ObjectOf<'MCPServer'>['spec']['transport'], 'streamable-http' | 'sse' | undefined> = true;
    const all = [name, priority, concurrency, period, whenAbsent, not, maxTokens, transport];
    expect(all.every(Boolean)).toBe(true);
  });

  test('a minimal object needs nothing that is not required', () => {
    const route: ObjectOf<'ModelRoute'> = {
      apiVersion: 'weir.dev/v1alpha1',
      kind: 'ModelRoute',
      metadata: { name: 'llama', namespace: 'serving' },
      spec: { modelName: 'llama', targets: [{ url: 'http://up' }] },
    };
    expect(route.spec.rateLimiting).toBeUndefined();
  });
});
