// Every field of the API is either enforced (it changes what limiters are told) or named by NotSupported.
import { describe, expect, test } from '@jest/globals';
import { canonicalJson } from '../../src/contract/snapshot.ts';
import { KINDS } from '../../src/crd/kinds/kinds.ts';
import type { SchemaData } from '../../src/crd/schema.ts';
import { presentForm } from '../../src/reconcile/form.ts';
import { ALWAYS_REFUSED, SPECIMENS, type Specimen } from './specimens.ts';

/** A path with real steps: names and indices. */
type Way = readonly (string | number)[];

const SETTINGS = {};
/** Words that are good in some place. */
const WORDS = ['x', '2h', 'GET', 'Enforce', 'Shared', 'Closed', 'Hour', 'Share', 'Auto', 'Delta'];

function formOf({ kind, spec }: Specimen) {
  return presentForm({ kind, metadata: { name: 'a', namespace: 'n', uid: 'u', generation: 1 }, spec }, SETTINGS);
}

/** What limiters are told, and which limiters. */
function told(specimen: Specimen): string | undefined {
  const { config, workloadSelector } = formOf(specimen);
  return config === undefined ? undefined : canonicalJson({ config, workloadSelector });
}

/** All field paths of a schema; `[]` stands for any element, `{}` for any entry of a map. */
function fieldsOf(schema: SchemaData, at: string): string[] {
  const members = Object.entries(schema.properties ?? {}).map(([name, member]) => [`${at}.${name}`, member] as const);
  const items = schema.items === undefined ? [] : [[`${at}[]`, schema.items] as const];
  const below = [...members, ...items].flatMap(([path, member]) => [path, ...fieldsOf(member, path)]);
  return schema.additionalProperties === undefined ? below : [...below, `${at}{}`];
}

/** Every way to a value in a specimen. */
function waysIn(value: unknown, at: Way = []): Way[] {
  if (typeof value !== 'object' || value === null) return [at];
  const entries: [string | number, unknown][] = Array.isArray(value)
    ? value.map((element: unknown, index) => [index, element])
    : Object.entries(value);
  return [at, ...entries.flatMap(([step, member]) => waysIn(member, [...at, step]))];
}

function isMapEntry(way: Way): boolean {
  return ['attributes', 'matchLabels'].includes(String(way.at(-2)));
}

function pattern(way: Way): string {
  const text = way.map((step) => (typeof step === 'number' ? '[]' : `.${step}`)).join('');
  return isMapEntry(way) ? `spec${text.slice(0, text.lastIndexOf('.'))}{}` : `spec${text}`;
}

function place(way: Way): string {
  return `spec${way.map((step) => (typeof step === 'number' ? `[${step}]` : `.${step}`)).join('')}`;
}

/** Copies of a specimen in which one value is another or gone. */
function* variations(specimen: Specimen, way: Way): Generator<Specimen> {
  const others = (value: unknown): unknown[] => {
    if (typeof value === 'boolean') return [!value];
    if (typeof value === 'number') return [value + 1, value - 1];
    if (typeof value === 'string') return [`${value}1`, ...WORDS];
    return [];
  };
  const changed = (next: (holder: Record<string | number, unknown>, last: string | number) => void): Specimen => {
    const copy = JSON.parse(JSON.stringify(specimen)) as { kind: Specimen['kind']; spec: Record<string, unknown> };
    const holder = way
      .slice(0, -1)
      .reduce<unknown>((at, step) => (at as Record<string | number, unknown>)[step], copy.spec);
    next(holder as Record<string | number, unknown>, way.at(-1)!);
    return copy;
  };
  const value = way.reduce<unknown>((at, step) => (at as Record<string | number, unknown>)[step], specimen.spec);
  const isMarker = typeof value === 'object' && value !== null && Object.keys(value).length === 0;
  if (isMarker) {
    yield changed((holder, last) => {
      Reflect.deleteProperty(holder, last);
      holder['constant'] = 'other';
    });
    return;
  }
  yield changed((holder, last) => {
    if (Array.isArray(holder)) holder.splice(Number(last), 1);
    else Reflect.deleteProperty(holder, last);
  });
  for (const other of others(value)) yield changed((holder, last) => (holder[last] = other));
}

/** Whether some other value of the field makes limiters be told something else. */
function isEnforced(specimen: Specimen, way: Way, before: string | undefined): boolean {
  for (const other of variations(specimen, way)) if (![undefined, before].includes(told(other))) return true;
  return false;
}

describe.each(KINDS)('$kind', ({ kind, spec }) => {
  const specimens = SPECIMENS.filter((specimen) => specimen.kind === kind);
  const refused = ALWAYS_REFUSED.filter((specimen) => specimen.kind === kind);
  const never = new Set(refused.flatMap(({ fields }) => fields.map((field) => `spec.rateLimiting.limits[].${field}`)));
  const fields = fieldsOf(spec, 'spec').filter((field) => !never.has(field));

  test('the specimens are admitted and set every field of the schema', () => {
    const findings = specimens.flatMap((specimen) =>
      formOf(specimen).config === undefined ? formOf(specimen).problems : [],
    );
    expect(findings).toEqual([]);
    const set = new Set(specimens.flatMap((specimen) => waysIn(specimen.spec).map(pattern)));
    expect(fields.filter((field) => !set.has(field))).toEqual([]);
    expect(refused.map(formOf).filter(({ config }) => config !== undefined)).toEqual([]);
  });

  test('every field that a specimen sets is enforced or named by NotSupported', () => {
    // What holds other fields says nothing by itself.
    const silent = new Set(
      fields.filter(
        (field) => !fields.some((other) => /^[.[{]/.test(other.replace(field, '')) && other.startsWith(field)),
      ),
    );
    // What a small one shows need not be looked for in a large one.
    const bySize = specimens.toSorted((a, b) => JSON.stringify(a).length - JSON.stringify(b).length);
    for (const specimen of bySize) {
      const named = formOf(specimen).problems.filter(({ reason }) => reason === 'NotSupported');
      const isNamed = (way: Way): boolean =>
        named.some(
          ({ path }) =>
            path !== undefined &&
            (place(way) === path || place(way).startsWith(`${path}.`) || place(way).startsWith(`${path}[`)),
        );
      const before = told(specimen);
      for (const way of waysIn(specimen.spec).slice(1)) {
        if (!silent.has(pattern(way))) continue;
        if (isNamed(way) || isEnforced(specimen, way, before)) silent.delete(pattern(way));
      }
    }
    expect([...silent]).toEqual([]);
  }, 60_000);
});
