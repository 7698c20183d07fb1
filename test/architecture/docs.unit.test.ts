// docs/architecture.md names files and folders of src: each of them exists.
import { expect, test } from '@jest/globals';
import { globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';

const text = readFileSync('docs/architecture.md', 'utf8');
const paths = globSync('{src,test}/**/*').map((path) => path.replace(/^src\//, ''));
const known = new Set([...paths, ...paths.map((path) => basename(path)), ...paths.map((path) => `src/${path}`)]);

/** Code spans and participants of diagrams that are paths: `a/b.ts`, `b.ts`, `a/b`, `a/*`. */
const named = [...text.matchAll(/`([\w./-]*\w)(?:\/\*?)?`|<br\/>([\w/-]+)$/gm)]
  .map(([, code, participant]) => code ?? participant ?? '')
  .filter(
    (name) =>
      /^[\w/-]+\.ts$/.test(name) || /^(src|lib|test|contract|crd|reconcile|controller|limiter|cli)\//.test(name),
  );

test('docs/architecture.md names only files and folders that exist', () => {
  expect(named.length).toBeGreaterThan(40);
  expect(named.filter((name) => !known.has(name))).toEqual([]);
});
