// Tests docs/reference: the pages are those of the code (else run `npm run emit`), and leave out nothing.
import { globSync, readFileSync, readdirSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { REFERENCE, referencePages } from '../../scripts/reference.ts';
import { CAPABILITIES } from '../../src/contract/capabilities.ts';
import { KINDS } from '../../src/crd/kinds/kinds.ts';
import { defaultText, type SchemaData } from '../../src/crd/schema.ts';
import { ERRORS } from '../../src/lib/errors.ts';

const ROOT = new URL('../../', import.meta.url).pathname;
const pages = await referencePages();
const page = (name: string) => pages.get(name)!;

/** Texts of all sources that match. */
function inSources(pattern: RegExp): string[] {
  const texts = globSync('src/**/*.ts', { cwd: ROOT }).map((path) => readFileSync(ROOT + path, 'utf8'));
  return [...new Set(texts.flatMap((text) => [...text.matchAll(pattern)].map(([, match]) => match!)))].sort();
}

function leaves(value: unknown, at: string): string[] {
  const isGroup = typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length > 0;
  if (!isGroup) return [at];
  return Object.entries(value).flatMap(([name, member]) => leaves(member, at === '' ? name : `${at}.${name}`));
}

function schemasIn(schema: SchemaData): SchemaData[] {
  const inner = [...Object.values(schema.properties ?? {}), ...(schema.items === undefined ? [] : [schema.items])];
  return [schema, ...inner.flatMap(schemasIn)];
}

describe('docs/reference', () => {
  test('holds exactly the generated pages', () => {
    expect(readdirSync(REFERENCE).sort()).toEqual([...pages.keys()].sort());
  });

  test.each([...pages])('%s is not old', (name, text) => {
    expect(readFileSync(new URL(name, REFERENCE), 'utf8')).toBe(text);
  });

  test.each([...pages])('%s has tables whose rows have the cells of their head', (_name, text) => {
    for (const [block] of text.matchAll(/(^\|.*\n)+/gm)) {
      const widths = block
        .trim()
        .split('\n')
        .map((line) => line.replaceAll('\\|', '').split('|').length);
      expect(new Set(widths).size).toBe(1);
    }
  });

  test('every metric of the sources is described', () => {
    const names = inSources(/'(weir_[a-z_]+)'/g);
    expect(names.length).toBeGreaterThan(25);
    for (const name of names) expect(page('metrics.md')).toContain(`| \`${name}\` |`);
  });

  test('every environment variable of the commands is described', () => {
    const names = inSources(/'(WEIR_[A-Z_]+)'/g);
    expect(names.length).toBeGreaterThan(30);
    for (const name of names) expect(page('flags.md')).toContain(`\`${name}\``);
  });

  test('every value of the chart is described', () => {
    const values = parse(readFileSync(`${ROOT}deploy/helm/values.yaml`, 'utf8')) as unknown;
    for (const place of leaves(values, '')) expect(page('helm-values.md')).toContain(`| \`${place}\` |`);
  });

  test('every field, default, rule and message of the kinds is told', () => {
    const text = page('kinds.md').replaceAll('\\', '');
    const escape = (words: string) => words.replaceAll('<', '&lt;').replaceAll('\\', '');
    for (const schema of KINDS.flatMap(({ spec, status }) => [...schemasIn(spec), ...schemasIn(status)])) {
      for (const name of Object.keys(schema.properties ?? {})) expect(text).toContain(`| \`${name}\` |`);
      if (schema.whenAbsent !== undefined) expect(text).toContain(`| ${escape(defaultText(schema.whenAbsent))} |`);
      for (const { rule, message } of schema['x-kubernetes-validations'] ?? []) {
        expect(text).toContain(`${escape(message)}: \`${rule.replaceAll('\\', '')}\``);
      }
    }
  });

  test('every capability and every error code is described', () => {
    for (const { id } of CAPABILITIES) expect(page('capabilities.md')).toContain(`| \`${id}\` |`);
    for (const name of Object.keys(ERRORS)) expect(page('errors.md')).toContain(`| \`${name}\` |`);
  });
});
