// Tests the examples of the API reference offline: nothing is wrong with them, and defaults are filled in.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import type { MCPServer, ModelRoute } from '../../src/crd/types.ts';
import { judgeText, validateManifest } from '../../src/crd/validate.ts';

const text = readFileSync(new URL('./examples/api.yaml', import.meta.url), 'utf8');

describe('the examples of the API', () => {
  test('are accepted as written', () => {
    expect(validateManifest(text)).toEqual([]);
    expect(judgeText(text).map(({ kind, namespace, name }) => `${kind} ${namespace ?? ''}/${name}`)).toEqual([
      'ModelRoute serving/llama',
      'MCPServer tools/search',
    ]);
  });

  test('get their defaults', () => {
    const [route, server] = judgeText(text).map(({ object }) => object);
    const { spec } = route as ModelRoute;
    expect(spec.authentication).toEqual({
      required: true,
      apiKeys: { secretRef: { name: 'team-keys' }, headers: ['authorization', 'x-api-key', 'api-key'] },
    });
    expect(spec.rateLimiting).toMatchObject({ scope: 'Shared', enforcement: 'Enforce', consistency: 'Exact' });
    expect(spec.rateLimiting?.limits?.[1]).toMatchObject({ priority: 0, cutStreams: false });
    expect(spec.rateLimiting?.limits?.[3]?.window).toEqual({ maxCost: '500', period: 'Month', timeZone: 'UTC' });
    expect((server as MCPServer).spec.authentication?.jwt?.userClaim).toBe('sub');
  });
});
