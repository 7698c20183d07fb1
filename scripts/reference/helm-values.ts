// Reference: the chart; in: values.yaml with its comments and the schema of the values, out:
// docs/reference/helm-values.md.
import { readFileSync } from 'node:fs';
import { isMap, isScalar, parseDocument, type Pair, type YAMLMap } from 'yaml';
import { code, page, prose, table } from './markdown.ts';

const CHART = new URL('../../deploy/helm/', import.meta.url);

interface ValueSchema {
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, ValueSchema>>;
  /** `#/$defs/<name>`: what stands there. */
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, ValueSchema>>;
  readonly minimum?: number;
  readonly maximum?: number;
}

export function helmValuesPage(): string {
  const document = parseDocument(readFileSync(new URL('values.yaml', CHART), 'utf8'));
  const written = JSON.parse(readFileSync(new URL('values.schema.json', CHART), 'utf8')) as ValueSchema;
  const schema = withoutRefs(written, written.$defs ?? {});
  if (!isMap(document.contents)) throw new Error('values.yaml is not a map');
  return page('Values of the chart', 'deploy/helm/values.yaml and its schema', [
    'The schema of the chart refuses values that are not listed here.',
    table(['value', 'type', 'default', 'meaning'], rowsOf(document.contents, schema, '')),
  ]);
}

/** The schema with every reference replaced by its definition. */
function withoutRefs(schema: ValueSchema, definitions: Readonly<Record<string, ValueSchema>>): ValueSchema {
  const { $ref, properties = {}, ...rest } = schema;
  const definition = $ref === undefined ? undefined : definitions[$ref.replace('#/$defs/', '')];
  if (definition !== undefined) return withoutRefs(definition, definitions);
  const inside = Object.entries(properties).map(([name, value]) => [name, withoutRefs(value, definitions)] as const);
  return { ...rest, properties: Object.fromEntries(inside) };
}

function rowsOf(map: YAMLMap, schema: ValueSchema | undefined, at: string): string[][] {
  return map.items.flatMap((pair, index) => {
    const name = isScalar(pair.key) ? String(pair.key.value) : '';
    const place = at === '' ? name : `${at}.${name}`;
    const known = schema?.properties?.[name];
    // The parser gives the comment before the first entry of a map to the map.
    const text = commentOf(pair) ?? (index === 0 ? clean(map.commentBefore) : undefined) ?? '';
    return entryRows(pair, known, { place, text });
  });
}

/** One row for a value; for a group of values one row when it has a comment, and those of its values. */
function entryRows(
  pair: Pair,
  schema: ValueSchema | undefined,
  { place, text }: { readonly place: string; readonly text: string },
): string[][] {
  const { value } = pair;
  if (!isMap(value) || value.items.length === 0) return [[code(place), typeText(schema), defaultOf(pair), prose(text)]];
  return [...(text === '' ? [] : [[code(place), '', '', prose(text)]]), ...rowsOf(value, schema, place)];
}

function commentOf({ key }: Pair): string | undefined {
  return isScalar(key) ? clean(key.commentBefore) : undefined;
}

/** A comment as one line. The paragraph that stands directly above counts, not what an empty line parts from it. */
function clean(comment: string | null | undefined): string | undefined {
  const paragraph = comment?.split(/\n\s*\n/).at(-1);
  return paragraph?.replace(/\s+/g, ' ').trim();
}

function defaultOf({ value }: Pair): string {
  const plain: unknown = isScalar(value) || isMap(value) ? value.toJSON() : (value as { toJSON(): unknown }).toJSON();
  return plain === '' ? '' : code(typeof plain === 'string' ? plain : JSON.stringify(plain));
}

function typeText(schema: ValueSchema | undefined): string {
  if (schema === undefined) return '';
  if (schema.enum !== undefined) return schema.enum.map((value) => code(String(value))).join(', ');
  const type = [schema.type ?? []].flat().join(' or ');
  const bounds = schema.minimum === undefined && schema.maximum === undefined ? '' : `, ${rangeOf(schema)}`;
  return `${type}${bounds}`;
}

function rangeOf({ minimum, maximum }: ValueSchema): string {
  if (maximum === undefined) return `at least ${minimum ?? 0}`;
  return minimum === undefined ? `at most ${maximum}` : `${minimum} to ${maximum}`;
}
