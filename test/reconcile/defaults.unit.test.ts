// Tests what absent fields mean: the same to the compiler of this version as the defaults of the API server of 0.2.0
// did, whether the stored object has them or not; so an upgrade changes no config, no version and no bucket.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { canonicalJson, toVersioned } from '../../src/contract/snapshot.ts';
import { DEFAULTS } from '../../src/crd/defaults.ts';
import { KINDS } from '../../src/crd/kinds/kinds.ts';
import { defaultText, type SchemaData } from '../../src/crd/schema.ts';
import { judgeObject } from '../../src/crd/validate.ts';
import { presentForm } from '../../src/reconcile/form.ts';
import { mutate, validManifests } from '../crd/mutation.ts';
import { RELEASE, SETTINGS, storedSpec } from '../crd/release-0.2.0.ts';
import type { Specimen } from './specimens.ts';

function configOf({ kind, spec }: Specimen) {
  const metadata = { name: 'a', namespace: 'n', uid: 'u', generation: 1 };
  return presentForm({ kind, metadata, spec }, SETTINGS).config;
}

function versionOf(object: Specimen): string | undefined {
  const config = configOf(object);
  return config === undefined ? undefined : toVersioned('x', config).version;
}

/** Every field of a schema by place. */
function fieldsOf(schema: SchemaData, at: string): [string, SchemaData][] {
  const inner = [
    ...Object.entries(schema.properties ?? {}).map(([name, field]) => [`${at}.${name}`, field] as const),
    ...(schema.items === undefined ? [] : [[`${at}[]`, schema.items] as const]),
  ];
  return [[at, schema], ...inner.flatMap(([place, field]) => fieldsOf(field, place))];
}

const FIELDS = KINDS.flatMap(({ kind, spec }) => fieldsOf(spec, `${kind}.spec`));
const FIXED = FIELDS.flatMap(([place, { whenAbsent }]) =>
  whenAbsent !== undefined && 'value' in whenAbsent ? [[place, whenAbsent.value] as const] : [],
);

/** The places of a stored value that were not written. */
function addedIn(written: unknown, stored: unknown, at: string): string[] {
  if (Array.isArray(stored)) {
    return stored.flatMap((each, index) => addedIn((written as unknown[])[index], each, `${at}[]`));
  }
  if (typeof stored !== 'object' || stored === null) return [];
  const own = written as Readonly<Record<string, unknown>>;
  return Object.entries(stored).flatMap(([name, member]) =>
    Object.hasOwn(own, name) ? addedIn(own[name], member, `${at}.${name}`) : [`${at}.${name}`],
  );
}

describe('defaults', () => {
  test('are those of 0.2.0', () => {
    expect(Object.fromEntries(FIXED)).toMatchObject(RELEASE.defaults);
  });

  test('are all in one table, and the table has no other', () => {
    const leaves = Object.values(DEFAULTS).flatMap((group): unknown[] =>
      typeof group === 'string' ? [group] : Object.values(group),
    );
    const inTable = new Set(leaves.map((value) => JSON.stringify(value)));
    const inSchemas = new Set(FIXED.map(([, value]) => JSON.stringify(value)));
    expect([...inSchemas].filter((value) => !inTable.has(value))).toEqual([]);
    expect([...inTable].filter((value) => !inSchemas.has(value))).toEqual([]);
  });

  test('docs/limits.md has them right', () => {
    const text = readFileSync(new URL('../../docs/limits.md', import.meta.url), 'utf8');
    const section = text.slice(text.indexOf('## Defaults'), text.indexOf('### Sharing'));
    const rows = [...section.matchAll(/^\| `([^`]+)`[^|]*\| ([^|]+) \|$/gm)].map(([, place, value]) => [
      place!,
      value!,
    ]);
    expect(rows.length).toBeGreaterThan(15);
    for (const [place, value] of rows) {
      if (value!.startsWith('[')) continue;
      const absent = FIELDS.find(([at]) => at === `ModelRoute.spec.${place!}` || at === `MCPServer.spec.${place!}`)?.[1]
        .whenAbsent;
      expect([place, absent && defaultText(absent)]).toEqual([place, value!.replaceAll('`', '')]);
    }
  });

  test('objects have the versions that 0.2.0 gave them, as written and as its API server stored them', () => {
    const { objects } = RELEASE;
    expect(objects.length).toBeGreaterThan(80);
    const expected = objects.map(({ name, version }) => [name, version]);
    expect(objects.map((object) => [object.name, versionOf(object)])).toEqual(expected);
    const stored = objects.map(({ name, kind, spec }) => [name, versionOf({ kind, spec: storedSpec(kind, spec) })]);
    expect(stored).toEqual(expected);
  });

  test('each default of 0.2.0 is absent in one of these objects', () => {
    const added = RELEASE.objects.flatMap(({ kind, spec }) => addedIn(spec, storedSpec(kind, spec), `${kind}.spec`));
    expect([...new Set(added)].sort()).toEqual(Object.keys(RELEASE.defaults).sort());
  });

  test('a stored object with explicit defaults and one without have the same config', () => {
    const bases = validManifests();
    const step = fc.tuple(fc.nat(4096), fc.nat(64), fc.nat(65_535));
    const change = fc.tuple(fc.nat(bases.length - 1), fc.array(step, { maxLength: 6 }));
    fc.assert(
      fc.property(change, ([base, steps]) => {
        const { object } = judgeObject(mutate(bases[base], steps));
        if (object === undefined) return;
        const { kind, spec } = object as unknown as Specimen;
        const explicit = storedSpec(kind, spec);
        expect(canonicalJson(configOf({ kind, spec: explicit }))).toBe(canonicalJson(configOf({ kind, spec })));
      }),
      { numRuns: 400 },
    );
  }, 60_000);
});
