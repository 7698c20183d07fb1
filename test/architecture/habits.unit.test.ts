// What a second maintainer expects of the repository: the files are there, and workflows only call make.
import { expect, test } from '@jest/globals';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { parse } from 'yaml';

interface Workflow {
  readonly jobs: Readonly<Record<string, { readonly steps: readonly { readonly run?: string }[] }>>;
}

test.each([
  'SECURITY.md',
  'RELEASING.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  'docs/stability.md',
  'llms.txt',
  'renovate.json',
  '.editorconfig',
  '.github/CODEOWNERS',
  '.github/pull_request_template.md',
  '.github/ISSUE_TEMPLATE/bug.yml',
  '.github/ISSUE_TEMPLATE/feature.yml',
])('%s exists', (path) => {
  expect(existsSync(path)).toBe(true);
});

test.each(globSync('.github/workflows/*.yml'))('%s only calls make', (path) => {
  const { jobs } = parse(readFileSync(path, 'utf8')) as Workflow;
  const commands = Object.values(jobs).flatMap(({ steps }) =>
    steps.flatMap(({ run }) => (run === undefined ? [] : [run])),
  );
  expect(commands.length).toBeGreaterThan(0);
  for (const command of commands) expect(command).toMatch(/^(sudo --preserve-env=\S+ )?make [\w-]+$/);
});

test('make targets that pages name exist', () => {
  const targets = new Set([...readFileSync('Makefile', 'utf8').matchAll(/^([a-z0-9-]+):/gm)].map(([, name]) => name));
  const pages = [
    'README.md',
    'CONTRIBUTING.md',
    'RELEASING.md',
    ...globSync('docs/**/*.md'),
    ...globSync('.github/**/*.md'),
  ];
  const named = pages.flatMap((page) =>
    [...readFileSync(page, 'utf8').matchAll(/(?:^|`)make ([a-z0-9-]+)/gm)].map(
      ([, target]) => `${page}: ${target ?? ''}`,
    ),
  );
  expect(named.length).toBeGreaterThan(10);
  expect(named.filter((entry) => !targets.has(entry.split(': ')[1]))).toEqual([]);
});
