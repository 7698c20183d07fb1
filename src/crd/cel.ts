// CRD: the CEL rules of a schema, evaluated offline; in: an object as it is stored, out: the rules that do not hold.
import { Environment } from '@marcbachmann/cel-js';
import { isRecord } from './finding.ts';
import type { Located, Segments } from './finding.ts';
import type { Rule, SchemaData } from './schema.ts';
import { memberSchema } from './structure.ts';

type Program = (context: { readonly self: unknown }) => unknown;

const environment = new Environment({ unlistedVariablesAreDyn: false }).registerVariable('self', 'dyn');
const programs = new Map<string, Program>();

/** What to say of a rule that cannot be evaluated: it happens only on values that break the schema. */
export type OnFailure = 'report' | 'ignore';

/** Every rule of `schema` that `value` breaks, at the path that the API server reports. */
export function celErrors(value: unknown, schema: SchemaData, onFailure: OnFailure): Located[] {
  return walk(toCel(value, schema), schema, onFailure, []);
}

function walk(value: unknown, schema: SchemaData, onFailure: OnFailure, at: Segments): Located[] {
  const own = (schema['x-kubernetes-validations'] ?? []).flatMap((rule) => evaluate(rule, value, onFailure, at));
  return [...own, ...inner(value, schema, onFailure, at)];
}

function inner(value: unknown, schema: SchemaData, onFailure: OnFailure, at: Segments): Located[] {
  if (Array.isArray(value)) {
    const { items } = schema;
    if (items === undefined) return [];
    return value.flatMap((element: unknown, index) => walk(element, items, onFailure, [...at, index]));
  }
  if (!isRecord(value)) return [];
  return Object.entries(value).flatMap(([name, member]) => {
    const known = memberSchema(schema, name);
    return known === undefined ? [] : walk(member, known, onFailure, [...at, name]);
  });
}

function evaluate(rule: Rule, value: unknown, onFailure: OnFailure, at: Segments): Located[] {
  try {
    if (programOf(rule.rule)({ self: value }) === true) return [];
  } catch (error) {
    if (onFailure === 'ignore') return [];
    const cause = error instanceof Error ? error.message : String(error);
    return [{ stage: 'cel', at, type: 'Invalid', message: `rule cannot be evaluated: ${cause}` }];
  }
  const below = rule.fieldPath === undefined ? [] : rule.fieldPath.split('.').slice(1);
  return [{ stage: 'cel', at: [...at, ...below], type: 'Invalid', message: rule.message }];
}

function programOf(rule: string): Program {
  const known = programs.get(rule);
  if (known !== undefined) return known;
  const program = environment.parse(rule) as Program;
  programs.set(rule, program);
  return program;
}

/** Integers of the schema are CEL ints, which JavaScript has as BigInt. */
function toCel(value: unknown, schema: SchemaData | undefined): unknown {
  if (Array.isArray(value)) return value.map((element: unknown) => toCel(element, schema?.items));
  if (isRecord(value)) {
    const members = Object.entries(value).map(([name, member]) => [name, toCel(member, memberSchema(schema, name))]);
    return Object.fromEntries(members) as unknown;
  }
  return schema?.type === 'integer' && Number.isSafeInteger(value) ? BigInt(value as number) : value;
}
