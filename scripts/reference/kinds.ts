// Reference: the kinds; in: their schemas, out: docs/reference/kinds.md with every field, type, bound, default and
// rule.
import { isDeepStrictEqual } from 'node:util';
import { CAPABILITIES } from '../../src/contract/capabilities.ts';
import { KINDS, GROUP, VERSION, type Kind } from '../../src/crd/kinds/kinds.ts';
import { defaultText, type SchemaData } from '../../src/crd/schema.ts';
import { code, page, prose, table } from './markdown.ts';

/** A part of an object with fields of its own: `spec.rateLimiting.limits[]`. */
interface Section {
  readonly at: string;
  readonly schema: SchemaData;
}

export function kindsPage(): string {
  const [first, ...others] = KINDS;
  const known = first === undefined ? [] : sectionsOf(first);
  return page('The kinds', 'src/crd', [
    `Every field of the kinds of \`${GROUP}/${VERSION}\`. The API server adds no defaults: what is stored is what you wrote, and the
operator reads an absent field as its default. \`kubectl explain\` shows the same texts.`,
    ...(first === undefined ? [] : kindBlocks(first, known, [])),
    ...others.flatMap((kind) => kindBlocks(kind, sectionsOf(kind), known)),
  ]);
}

/** Sections that `known` has in the same form are left out: they are described there. */
function kindBlocks(kind: Kind, sections: readonly Section[], known: readonly Section[]): string[] {
  const isKnown = ({ at, schema }: Section) =>
    known.some((other) => other.at === at && isDeepStrictEqual(other.schema, schema));
  const same = sections.filter(isKnown).map(({ at }) => at);
  const tops = same.filter((at) => !same.some((other) => at !== other && at.startsWith(`${other}.`)));
  const names = `Short name \`${kind.shortName}\`; in full \`${kind.plural}.${GROUP}\`.`;
  return [
    `## ${kind.kind}`,
    `${prose(kind.description)} ${names}`,
    ...(tops.length === 0 ? [] : [`The same as in ${KINDS[0]?.kind ?? ''}: ${tops.map(code).join(', ')}.`]),
    ...sections.filter((section) => !isKnown(section)).flatMap((section) => sectionBlocks(kind, section)),
  ];
}

function sectionsOf({ spec, status }: Kind): Section[] {
  return [...below('spec', spec), ...below('status', status)];
}

function below(at: string, schema: SchemaData): Section[] {
  const own = schema.properties === undefined ? [] : [{ at, schema }];
  const fields = Object.entries(schema.properties ?? {}).flatMap(([name, field]) => below(`${at}.${name}`, field));
  return [...own, ...fields, ...(schema.items === undefined ? [] : below(`${at}[]`, schema.items))];
}

function sectionBlocks(kind: Kind, { at, schema }: Section): string[] {
  const rows = Object.entries(schema.properties ?? {}).map(([name, field]) => {
    const isRequired = schema.required?.includes(name) === true;
    const absent = field.whenAbsent === undefined ? '' : prose(defaultText(field.whenAbsent));
    const place = `${at}.${name}`;
    const text = [prose(field.description), supportOf(place)].filter((part) => part !== '').join(' ');
    return [code(name), typeText(field), isRequired ? '**required**' : absent, text];
  });
  const rules = [...(schema['x-kubernetes-validations'] ?? [])].map(
    ({ rule, message }) => `- ${prose(message)}: ${code(rule)}`,
  );
  const fieldRules = Object.entries(schema.properties ?? {}).flatMap(([name, field]) => leafRules(name, field));
  const all = [...rules, ...fieldRules];
  return [
    `### ${kind.kind}: \`${at}\``,
    prose(schema.description),
    table(['field', 'type', 'default', 'meaning'], rows),
    ...(all.length === 0 ? [] : [`Rules:\n${all.join('\n')}`]),
  ];
}

/** Rules on a value without fields of its own. */
function leafRules(name: string, field: SchemaData): string[] {
  if (field.properties !== undefined) return [];
  return (field['x-kubernetes-validations'] ?? []).map(
    ({ rule, message }) => `- ${code(name)}: ${prose(message)}: ${code(rule)}`,
  );
}

/** What of a field no limiter of this version enforces. */
function supportOf(place: string): string {
  const missing = CAPABILITIES.filter(({ path, enforced }) => !enforced && path === place);
  const values = missing.flatMap(({ values: named }) => named ?? []).map((value) => code(String(value)));
  if (missing.some(({ values: named }) => named === undefined)) return '*Not enforced by this version.*';
  return values.length === 0 ? '' : `*Not enforced by this version: ${values.join(', ')}.*`;
}

function typeText(schema: SchemaData): string {
  if (schema.enum !== undefined) return schema.enum.map(code).join(', ');
  switch (schema.type) {
    case 'array':
      return `list of ${schema.items === undefined ? 'values' : elementText(schema.items)}, ${listText(schema)}`;
    case 'object':
      return schema.additionalProperties === undefined
        ? 'object'
        : `map to ${elementText(schema.additionalProperties)}, ${range(schema.minProperties, schema.maxProperties)} entries`;
    case 'integer':
      return `integer, ${range(schema.minimum, schema.maximum)}`;
    case 'string':
      return stringText(schema);
    case 'boolean':
      return 'boolean';
  }
}

function elementText(schema: SchemaData): string {
  return schema.type === 'object' ? 'objects' : typeText(schema);
}

function listText(schema: SchemaData): string {
  const keys = schema['x-kubernetes-list-map-keys'] ?? [];
  const merge = {
    atomic: 'replaced as a whole',
    set: 'without duplicates',
    map: `merged by ${keys.map(code).join(', ')}`,
  };
  const type = schema['x-kubernetes-list-type'] ?? 'atomic';
  return `${range(schema.minItems, schema.maxItems)} elements, ${merge[type]}`;
}

function stringText({ minLength, maxLength, pattern }: SchemaData): string {
  const length = `string, ${range(minLength, maxLength)} characters`;
  return pattern === undefined ? length : `${length}, ${code(pattern)}`;
}

function range(minimum = 0, maximum = Infinity): string {
  if (maximum === Infinity) return `at least ${minimum}`;
  return minimum === maximum ? `${minimum}` : `${minimum} to ${maximum}`;
}
