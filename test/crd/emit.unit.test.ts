// Tests the emitted CRDs: the checked-in files are those of the source, and every field keeps the bounds of the API.
import { readFileSync, readdirSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { crdFiles } from '../../src/crd/emit.ts';
import { KINDS } from '../../src/crd/kinds/kinds.ts';
import { MAX_INTEGER, defaultText } from '../../src/crd/schema.ts';
import type { SchemaData } from '../../src/crd/schema.ts';

const FOLDERS = ['../../deploy/crds/', '../../deploy/helm/files/crds/'].map((path) => new URL(path, import.meta.url));

function fieldsOf(schema: SchemaData, path: string): [string, SchemaData][] {
  const children = [
    ...Object.entries(schema.properties ?? {}).map(([name, field]) => fieldsOf(field, `${path}.${name}`)),
    ...(schema.items ? [fieldsOf(schema.items, `${path}[]`)] : []),
    ...(schema.additionalProperties ? [fieldsOf(schema.additionalProperties, `${path}{}`)] : []),
  ];
  return [[path, schema], ...children.flat()];
}

/** Every object in a value, but for the properties of a schema, whose names are those of fields. */
function recordsIn(value: unknown): Record<string, unknown>[] {
  if (typeof value !== 'object' || value === null) return [];
  if (Array.isArray(value)) return value.flatMap((element) => recordsIn(element));
  const own = value as Record<string, unknown>;
  const members = Object.entries(own).flatMap(([name, member]) =>
    name === 'properties' ? Object.values(member as object).flatMap(recordsIn) : recordsIn(member),
  );
  return [own, ...members];
}

const FILES = crdFiles();
const FIELDS = KINDS.flatMap(({ kind, spec, status }) => [
  ...fieldsOf(spec, `${kind}.spec`),
  ...fieldsOf(status, `${kind}.status`),
]);
const pathsWhere = (test_: (schema: SchemaData) => boolean) => FIELDS.filter(([, s]) => test_(s)).map(([path]) => path);

describe('the CRDs', () => {
  test('the checked-in files are those of the source: else run `npm run emit`', () => {
    for (const folder of FOLDERS) {
      expect(readdirSync(folder).sort()).toEqual([...FILES.keys()].sort());
      for (const [name, content] of FILES) expect(readFileSync(new URL(name, folder), 'utf8')).toBe(content);
    }
  });

  test('each has at most 200 KiB', () => {
    for (const content of FILES.values()) expect(Buffer.byteLength(content)).toBeLessThanOrEqual(200 * 1024);
  });

  test('every field has a description', () => {
    expect(pathsWhere(({ description }) => description.length < 5)).toEqual([]);
  });

  test('the API server fills in nothing: each default is told by the description alone', () => {
    const told = FIELDS.filter(([, { whenAbsent }]) => whenAbsent !== undefined);
    expect(told.length).toBeGreaterThan(100);
    const emitted = [...FILES.values()].map((content) => parse(content) as unknown);
    const nodes = emitted.flatMap((crd) => recordsIn(crd));
    expect(nodes.filter((node) => 'default' in node || 'whenAbsent' in node)).toEqual([]);
    const descriptions = new Set(nodes.map(({ description }) => description));
    const missing = told.filter(([, { description, whenAbsent }]) => {
      return !descriptions.has(`${description} Default: ${defaultText(whenAbsent!)}.`);
    });
    expect(missing.map(([path]) => path)).toEqual([]);
  });

  test('every list and map has a maximum, and every list its type', () => {
    expect(pathsWhere(({ type, maxItems }) => type === 'array' && maxItems === undefined)).toEqual([]);
    expect(pathsWhere((s) => s.type === 'array' && s['x-kubernetes-list-type'] === undefined)).toEqual([]);
    expect(pathsWhere((s) => s.additionalProperties !== undefined && s.maxProperties === undefined)).toEqual([]);
  });

  test('every string has a maximum or a list of words', () => {
    expect(pathsWhere((s) => s.type === 'string' && s.maxLength === undefined && s.enum === undefined)).toEqual([]);
  });

  test('every integer is at most 1e12', () => {
    expect(pathsWhere((s) => s.type === 'integer' && !((s.maximum ?? Infinity) <= MAX_INTEGER))).toEqual([]);
    expect(pathsWhere((s) => s.type === 'integer' && s.minimum === undefined)).toEqual([]);
  });
});
