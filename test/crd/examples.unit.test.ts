// Tests the examples of the API reference offline: nothing is wrong with them, and nothing is added to them.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { parseAllDocuments } from 'yaml';
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

  test('are stored as written', () => {
    const written = parseAllDocuments(text).map((document) => (document.toJS() as { spec: unknown }).spec);
    expect(judgeText(text).map(({ object }) => object?.spec)).toEqual(written);
  });
});
