// CRD: pruning as the API server does it; in: a value and its schema, out: the value that is stored, or its unknown
// fields.
import type { Located, Segments } from './finding.ts';
import { isRecord } from './finding.ts';
import type { SchemaData } from './schema.ts';

/** Every field of `value` that `schema` does not know: what strict decoding refuses and lenient decoding drops. */
export function unknownFields(value: unknown, schema: SchemaData | undefined, at: Segments): Located[] {
  if (Array.isArray(value)) {
    return value.flatMap((element: unknown, index) => unknownFields(element, schema?.items, [...at, index]));
  }
  if (!isRecord(value)) return [];
  return Object.entries(value).flatMap(([name, member]) => {
    const known = memberSchema(schema, name);
    const here = [...at, name];
    return known === undefined ? [unknownField(here)] : unknownFields(member, known, here);
  });
}

/** The finding that a field is not known. */
export function unknownField(at: Segments): Located {
  return { stage: 'decode', at, type: 'UnknownField', message: 'unknown field' };
}

/**
 * A copy of `value` without unknown fields and nulls: what the API server stores. Values of the wrong type are kept for
 * validation to report. No field is added: absent fields stay absent.
 */
export function prune(value: unknown, schema: SchemaData | undefined): unknown {
  if (Array.isArray(value)) return value.map((element: unknown) => prune(element, schema?.items));
  if (!isRecord(value)) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, member]): [string, unknown][] => {
      const known = memberSchema(schema, name);
      return known === undefined || member === null ? [] : [[name, prune(member, known)]];
    }),
  );
}

/** The schema of a member of an object; undefined when the object may not have it. */
export function memberSchema(schema: SchemaData | undefined, name: string): SchemaData | undefined {
  const properties = schema?.properties ?? {};
  return Object.hasOwn(properties, name) ? properties[name] : schema?.additionalProperties;
}
