// The rules of names in src/ as a test: one exported type has one name, and what depends on the kind of an object is
// in a table of kinds.
import { describe, expect, test } from '@jest/globals';
import { globSync, readFileSync } from 'node:fs';
import { OBJECT_KINDS } from '../../src/contract/limiter-config.ts';
import { KINDS } from '../../src/crd/kinds/kinds.ts';

/** Where kinds may be named side by side: their names, what is known of each, how each is compiled. */
const TABLES = [
  'src/contract/limiter-config.ts',
  'src/crd/kinds/kinds.ts',
  'src/crd/kinds/limit.ts',
  'src/crd/kinds/rate-limiting.ts',
  'src/reconcile/compile/compile-kind.ts',
];
const EXPORTED_TYPE = /^export (?:abstract )?(?:interface|type|class|enum) (\w+)/gm;

const files = globSync('src/**/*.ts').map((path) => ({ path, text: readFileSync(path, 'utf8') }));

/** Without what stands in comments. */
const codeOf = (text: string): string => text.replace(/\/\*[^]*?\*\/|^\s*\/\/.*$/gm, '');

describe('names', () => {
  test('no two exported types have one name', () => {
    const places = new Map<string, string[]>();
    for (const { path, text } of files) {
      for (const [, name = ''] of text.matchAll(EXPORTED_TYPE)) places.set(name, [...(places.get(name) ?? []), path]);
    }
    expect([...places].filter(([, paths]) => paths.length > 1)).toEqual([]);
  });

  test('kinds are named side by side only in tables', () => {
    const others = files.filter(({ path }) => !TABLES.includes(path));
    const pairs = others.filter(({ text }) => {
      const words = OBJECT_KINDS.map(
        (kind) => new RegExp(`\\b${kind}s?\\b|\\b${kind[0]?.toLowerCase()}${kind.slice(1)}s\\b`),
      );
      return words.every((word) => word.test(codeOf(text)));
    });
    expect(pairs.map(({ path }) => path)).toEqual([]);
  });

  test('no code asks for one kind by its name', () => {
    const question = new RegExp(`[=!]== '(?:${OBJECT_KINDS.join('|')})'`);
    const asking = files.filter(({ path, text }) => !TABLES.includes(path) && question.test(text));
    expect(asking.map(({ path }) => path)).toEqual([]);
  });

  test('the table knows every kind, in their order', () => {
    expect(KINDS.map(({ kind }) => kind)).toEqual([...OBJECT_KINDS]);
  });
});
