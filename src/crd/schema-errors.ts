// CRD: structural validation; in: an object as it is stored, out: where it violates the schema, in the API server's
// terms.
import { Ajv } from 'ajv';
import type { ErrorObject, ValidateFunction } from 'ajv';
import { RE2JS } from 're2js';
import { isRecord, show } from './finding.ts';
import type { FindingType, Located, Segments } from './finding.ts';
import type { SchemaData } from './schema.ts';
import { memberSchema } from './structure.ts';

/** From here on, the API server decodes a number as a float. */
const INT64_LIMIT = 2 ** 63;

const compiled = new WeakMap<SchemaData, ValidateFunction>();

/** Every violation of `schema` by `value`; empty when there is none. */
export function schemaErrors(value: unknown, schema: SchemaData): Located[] {
  const validate = validatorOf(schema);
  validate(value);
  const errors = (validate.errors ?? []).filter((error, _index, all) => !isFollowUp(error, all));
  return [...errors.map((error) => toLocated(error, value)), ...walk(value, schema, [])];
}

/** The API server checks the pattern of a string only when its length is valid. */
function isFollowUp(error: ErrorObject, all: readonly ErrorObject[]): boolean {
  if (error.keyword !== 'pattern') return false;
  return all.some((other) => /^m(ax|in)Length$/.test(other.keyword) && other.instancePath === error.instancePath);
}

/**
 * RE2 instead of RegExp: linear time, and the syntax of the API server. ajv keeps one engine per `toString`.
 */
const re2 = Object.assign(
  (pattern: string) => {
    const program = RE2JS.compile(pattern);
    return { test: (text: string) => program.matcher(text).find(), toString: () => pattern };
  },
  { code: 're2' },
);

function validatorOf(schema: SchemaData): ValidateFunction {
  const known = compiled.get(schema);
  if (known !== undefined) return known;
  const ajv = new Ajv({ allErrors: true, strict: false, validateFormats: false, verbose: true, code: { regExp: re2 } });
  const validate = ajv.compile(schema);
  compiled.set(schema, validate);
  return validate;
}

const TYPES: Readonly<Record<string, FindingType>> = {
  required: 'Required',
  type: 'TypeInvalid',
  enum: 'NotSupported',
  maxLength: 'TooLong',
  maxItems: 'TooMany',
  maxProperties: 'TooMany',
};

function toLocated(error: ErrorObject, root: unknown): Located {
  const at = segmentsOf(error.instancePath, root);
  const missing = error.params['missingProperty'] as string | undefined;
  return {
    stage: 'schema',
    at: missing === undefined ? at : [...at, missing],
    type: TYPES[error.keyword] ?? 'Invalid',
    message: messageOf(error),
  };
}

/** A JSON pointer as names and indices; the value decides which of both a number is. */
function segmentsOf(pointer: string, root: unknown): Segments {
  const steps = pointer.split('/').slice(1);
  let value = root;
  return steps.map((step) => {
    const name = step.replaceAll('~1', '/').replaceAll('~0', '~');
    const isIndex = Array.isArray(value);
    value = (value as Record<string, unknown>)[name];
    return isIndex ? Number(name) : name;
  });
}

function messageOf(error: ErrorObject): string {
  const bound = error.schema as number;
  const value = show(error.data);
  switch (error.keyword) {
    case 'required':
      return 'Required value';
    case 'type':
      return wrongType(error.data, String(error.schema));
    case 'enum':
      return `Unsupported value: ${value}: supported values: ${(error.schema as string[]).map(show).join(', ')}`;
    case 'maxLength':
      return `Too long: may not be more than ${bound} characters`;
    case 'maxItems':
      return `Too many: ${(error.data as unknown[]).length}: must have at most ${bound} items`;
    case 'maxProperties':
      return `Too many: ${Object.keys(error.data as object).length}: must have at most ${bound} entries`;
    case 'pattern':
      return `Invalid value: ${value}: should match '${String(error.schema)}'`;
    default:
      return `Invalid value: ${value}: ${boundText(error.keyword, bound)}`;
  }
}

function boundText(keyword: string, bound: number): string {
  const texts: Readonly<Record<string, string>> = {
    minimum: `should be greater than or equal to ${bound}`,
    maximum: `should be less than or equal to ${bound}`,
    minLength: `should be at least ${bound} chars long`,
    minItems: `should have at least ${bound} items`,
    minProperties: `should have at least ${bound} entries`,
  };
  return texts[keyword] ?? `violates ${keyword}`;
}

function wrongType(value: unknown, wanted: string): string {
  const hint =
    typeof value === 'boolean' && wanted === 'string'
      ? ' (YAML reads yes, no, on and off as booleans: quote them)'
      : '';
  return `Invalid value: ${show(value)}: must be of type ${wanted}, not ${typeName(value)}${hint}`;
}

function typeName(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  return typeof value;
}

/** What JSON schema cannot express: unique keys, and integers beyond 64 bits. */
function walk(value: unknown, schema: SchemaData, at: Segments): Located[] {
  if (Array.isArray(value)) {
    const { items } = schema;
    const inner = items === undefined ? [] : value.flatMap((element, index) => walk(element, items, [...at, index]));
    return [...duplicates(value, schema, at), ...inner];
  }
  if (isRecord(value)) {
    return Object.entries(value).flatMap(([name, member]) => {
      const known = memberSchema(schema, name);
      return known === undefined ? [] : walk(member, known, [...at, name]);
    });
  }
  if (schema.type === 'integer' && Number.isInteger(value) && !fitsInt64(value as number)) {
    return [{ stage: 'schema', at, type: 'TypeInvalid', message: wrongType(value, 'integer') }];
  }
  return [];
}

function fitsInt64(value: number): boolean {
  return value >= -INT64_LIMIT && value < INT64_LIMIT;
}

function duplicates(list: readonly unknown[], schema: SchemaData, at: Segments): Located[] {
  const keyed = schema['x-kubernetes-list-type'] === 'map';
  if (!keyed && schema['x-kubernetes-list-type'] !== 'set') return [];
  const stranger = keyed ? list.findIndex((element) => element !== null && !isRecord(element)) : -1;
  if (stranger >= 0) return [notAnEntry(list[stranger], [...at, stranger])];
  const names = schema['x-kubernetes-list-map-keys'] ?? [];
  const times = new Map<string, number>();
  return list.flatMap((element, index): Located[] => {
    const key = JSON.stringify(keyed ? keyOf(element, names) : element);
    const count = (times.get(key) ?? 0) + 1;
    times.set(key, count);
    // reported once per value, at its second occurrence
    const message = `Duplicate value: ${key}`;
    return count === 2 ? [{ stage: 'schema', at: [...at, index], type: 'Duplicate', message }] : [];
  });
}

/** The API server stops in a list map at the first element that is not an object. */
function notAnEntry(element: unknown, at: Segments): Located {
  const message = `Invalid value: ${show(element)}: must be an object: the list is keyed by name`;
  return { stage: 'schema', at, type: 'Invalid', message };
}

function keyOf(element: unknown, names: readonly string[]): Record<string, unknown> {
  const entry = isRecord(element) ? element : {};
  return Object.fromEntries(names.filter((name) => Object.hasOwn(entry, name)).map((name) => [name, entry[name]]));
}
