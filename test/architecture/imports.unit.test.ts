// The rules of docs/architecture.md as a test: who may import whom, no cycles, one door to each client library.
import { describe, expect, test } from '@jest/globals';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

const ALLOWED: Record<string, readonly string[]> = {
  lib: ['lib'],
  contract: ['contract', 'lib'],
  crd: ['crd', 'contract', 'lib'],
  limiter: ['limiter', 'contract', 'lib'],
  reconcile: ['reconcile', 'crd', 'contract', 'lib'],
  controller: ['controller', 'reconcile', 'crd', 'contract', 'lib'],
  cli: ['cli', 'controller', 'reconcile', 'crd', 'limiter', 'contract', 'lib'],
};
const ONE_DOOR: Record<string, string> = {
  '@kubernetes/client-node': 'src/controller/kube/kube.ts',
  ioredis: 'src/lib/redis-client.ts',
};
const IMPORT = /(?:import|export)\s(?:[^'";]*?from\s)?['"]([^'"]+)['"]|import\(['"]([^'"]+)['"]\)/g;

interface SourceFile {
  readonly path: string;
  readonly local: readonly string[];
  readonly packages: readonly string[];
}

const files: SourceFile[] = globSync('src/**/*.ts').map((path) => {
  const specifiers = [...readFileSync(path, 'utf8').matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? '');
  return {
    path,
    local: specifiers.filter((name) => name.startsWith('.')).map((name) => normalize(join(dirname(path), name))),
    packages: specifiers.filter((name) => !name.startsWith('.')),
  };
});

const roomOf = (path: string): string => path.split('/')[1] ?? '';

describe('imports', () => {
  test('point one way', () => {
    const wrong = files.flatMap((file) =>
      file.local
        .filter((target) => !(ALLOWED[roomOf(file.path)] ?? []).includes(roomOf(target)))
        .map((target) => `${file.path} -> ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  test('go through one door to each client library', () => {
    const wrong = files.flatMap((file) =>
      Object.entries(ONE_DOOR)
        .filter(([name, door]) => file.packages.includes(name) && file.path !== door)
        .map(([name]) => `${file.path} imports ${name}`),
    );
    expect(wrong).toEqual([]);
  });

  test('form no cycle', () => {
    const byPath = new Map(files.map((file) => [file.path, file]));
    const state = new Map<string, 'open' | 'done'>();
    const cycles: string[] = [];
    const visit = (path: string, trail: readonly string[]): void => {
      if (state.get(path) === 'open') cycles.push([...trail.slice(trail.indexOf(path)), path].join(' -> '));
      if (state.has(path)) return;
      state.set(path, 'open');
      for (const target of byPath.get(path)?.local ?? []) visit(target, [...trail, path]);
      state.set(path, 'done');
    };
    for (const file of files) visit(file.path, []);
    expect(cycles).toEqual([]);
  });

  test('read at least the rooms that the architecture names', () => {
    expect(new Set(files.map((file) => roomOf(file.path)))).toEqual(
      new Set([...Object.keys(ALLOWED)].filter((room) => files.some((file) => roomOf(file.path) === room))),
    );
    expect(files.length).toBeGreaterThan(5);
  });
});

test('no folder of src has more than 20 files', () => {
  const sizes = new Map<string, number>();
  for (const path of globSync('src/**/*', { withFileTypes: true })) {
    if (path.isFile()) sizes.set(path.parentPath, (sizes.get(path.parentPath) ?? 0) + 1);
  }
  const larger = [...sizes].filter(([folder, size]) => !folder.includes('/testdata') && size > 20);
  expect(larger).toEqual([]);
  expect(sizes.size).toBeGreaterThan(20);
});

test('reconcile keeps nothing beside its table: what is remembered by identity, or by a module, outlives its reason', () => {
  const wrong = globSync('src/reconcile/**/*.ts').filter((path) => {
    const text = readFileSync(path, 'utf8');
    return (
      /\bWeak(?:Map|Set|Ref)\b/.test(text) || /^(?:export )?(?:const|let) \w+ = new Map(?:<[^>]*>)?\(\);/m.test(text)
    );
  });
  expect(wrong).toEqual([]);
});
