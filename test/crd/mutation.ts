// Tests: manifests that nobody wrote; in: a valid manifest and some numbers, out: the manifest with a few things
// changed.
import { KINDS, kindNamed } from '../../src/crd/kinds/kinds.ts';
import type { SchemaData } from '../../src/crd/schema.ts';
import { memberSchema } from '../../src/crd/structure.ts';
import { isRecord } from '../../src/crd/finding.ts';
import { judgeText } from '../../src/crd/validate.ts';
import { loadCorpus } from './corpus.ts';

/** Which place is changed, how, and with what: any three numbers from 0. */
export type Step = readonly [place: number, change: number, choice: number];

const STRANGE: readonly unknown[] = [
  null,
  0,
  1,
  -1,
  1.5,
  1_000_000_000_000,
  1_000_000_000_001,
  2 ** 53,
  2 ** 63,
  1e20,
  -1e20,
  true,
  false,
  '',
  'a',
  'A',
  'a b',
  'a\n',
  '0',
  '0s',
  '1m',
  '8785h',
  '1h1h1h1h1h',
  '"',
  'ü',
  '😀'.repeat(200),
  'a'.repeat(64),
  'a'.repeat(300),
  '10.0.0.0/8',
  'constructor',
  [],
  [null],
  [1, 1],
  ['a', 'a', 'a'],
  [{}],
  [{}, {}],
  [[]],
  {},
  { a: 1 },
  { name: 'a' },
  { name: null },
];

const NAMES = ['foo', 'name', 'constructor', 'Spec', 'a.b', 'x/y', '0', '', 'user', 'global', 'maxCost', 'tool'];

/** Specs to begin with: every one of the corpus that the schema has nothing against. */
export function validManifests(): unknown[] {
  return loadCorpus().flatMap(({ text }) => {
    const [verdict] = judgeText(text);
    return verdict?.object === undefined ? [] : [verdict.object];
  });
}

interface Place {
  readonly holder: Record<string, unknown> | unknown[];
  readonly key: string | number;
  readonly schema: SchemaData | undefined;
}

/** A copy of `manifest` with every step done to its spec. */
export function mutate(manifest: unknown, steps: readonly Step[]): unknown {
  const copy = structuredClone(manifest) as Record<string, unknown>;
  for (const step of steps) change(copy, step);
  return copy;
}

function change(manifest: Record<string, unknown>, [place, how, choice]: Step): void {
  const schema = kindNamed(manifest['kind'])?.spec ?? KINDS[0]!.spec;
  const root: Place = { holder: manifest, key: 'spec', schema };
  const places = [root, ...placesIn(manifest['spec'], schema)];
  const target = places[place % places.length]!;
  const value = read(target);
  const changes = [
    () => {
      write(target, STRANGE[choice % STRANGE.length]);
    },
    () => {
      remove(target);
    },
    () => {
      if (Array.isArray(value)) value.push(structuredClone(value[choice % Math.max(1, value.length)]));
      else write(target, STRANGE[choice % STRANGE.length]);
    },
    () => {
      if (isRecord(value)) value[NAMES[choice % NAMES.length]!] = STRANGE[(choice >> 4) % STRANGE.length];
    },
    () => {
      addField(value, target.schema, choice);
    },
    () => {
      addField(value, target.schema, choice);
    },
  ];
  changes[how % changes.length]!();
}

/** Gives an object one more field that its schema knows, or a list one more element. */
function addField(value: unknown, schema: SchemaData | undefined, choice: number): void {
  if (Array.isArray(value) && schema?.items !== undefined) value.push(sample(schema.items, choice));
  const names = Object.keys(schema?.properties ?? {});
  if (!isRecord(value) || names.length === 0) return;
  const name = names[choice % names.length]!;
  value[name] = sample(schema!.properties![name]!, Math.floor(choice / names.length));
}

const TEXTS = ['a', '1m', '1.5', '/a', 'http://a', 'a:1', '22:00', 'USD', '0', 'x-a', 'b'];

/** A value of a schema's type, which may or may not be valid. */
function sample(schema: SchemaData, choice: number): unknown {
  if (schema.enum !== undefined) return schema.enum[choice % schema.enum.length];
  switch (schema.type) {
    case 'string':
      return TEXTS[choice % TEXTS.length];
    case 'integer':
      return [schema.minimum, schema.maximum, (schema.minimum ?? 0) - 1, (schema.maximum ?? 0) + 1, 5][choice % 5];
    case 'boolean':
      return choice % 2 === 0;
    case 'array':
      return Array.from({ length: choice % 3 }, (_, index) => sample(schema.items!, choice + index));
    case 'object':
      return sampleObject(schema, choice);
  }
}

function sampleObject(schema: SchemaData, choice: number): unknown {
  if (schema.additionalProperties !== undefined) return { key: sample(schema.additionalProperties, choice) };
  const properties = Object.entries(schema.properties ?? {});
  const extra = properties.length === 0 ? undefined : properties[choice % properties.length]![0];
  const chosen = properties.filter(([name]) => schema.required?.includes(name) === true || name === extra);
  return Object.fromEntries(chosen.map(([name, field]) => [name, sample(field, choice >> 2)]));
}

function placesIn(value: unknown, schema: SchemaData | undefined): Place[] {
  if (Array.isArray(value)) {
    return value.flatMap((element: unknown, index) => [
      { holder: value, key: index, schema: schema?.items },
      ...placesIn(element, schema?.items),
    ]);
  }
  if (!isRecord(value)) return [];
  return Object.entries(value).flatMap(([name, member]) => {
    const known = memberSchema(schema, name);
    return [{ holder: value, key: name, schema: known }, ...placesIn(member, known)];
  });
}

function read({ holder, key }: Place): unknown {
  return (holder as Record<string | number, unknown>)[key];
}

function write({ holder, key }: Place, value: unknown): void {
  (holder as Record<string | number, unknown>)[key] = structuredClone(value);
}

function remove({ holder, key }: Place): void {
  if (Array.isArray(holder)) holder.splice(Number(key), 1);
  else Reflect.deleteProperty(holder, key);
}
