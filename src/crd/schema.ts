// CRD: the vocabulary in which both kinds are written; in: a description and bounds, out: plain JSON schema data with a
// TypeScript type attached, so that the CRD, the offline validator and the types come from one text.

/** A CEL rule. `self` is the value the rule stands on; it must hold; the API server reports `message` otherwise. */
export interface Rule {
  readonly rule: string;
  readonly message: string;
  /** Path below the value that the error is reported at: `.tool`. */
  readonly fieldPath?: string;
}

/** What the absence of a field means: a fixed value, or a rule in words ("the value of maxTokens"). */
export type Default = { readonly value: unknown } | { readonly words: string };

/** A structural schema as the API server takes it, and `whenAbsent`, which is for readers and is not emitted. */
export interface SchemaData {
  readonly type: 'object' | 'array' | 'string' | 'integer' | 'boolean';
  readonly description: string;
  readonly properties?: Readonly<Record<string, SchemaData>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: SchemaData;
  readonly minProperties?: number;
  readonly maxProperties?: number;
  readonly items?: SchemaData;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly enum?: readonly string[];
  readonly pattern?: string;
  readonly format?: 'int32' | 'int64' | 'date-time';
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly whenAbsent?: Default;
  readonly 'x-kubernetes-list-type'?: 'atomic' | 'set' | 'map';
  readonly 'x-kubernetes-list-map-keys'?: readonly string[];
  readonly 'x-kubernetes-validations'?: readonly Rule[];
}

declare const shape: unique symbol;

/** Schema data that knows the TypeScript type of the values it admits. */
export interface Schema<T> extends SchemaData {
  readonly [shape]?: T;
}

/** The type of the values that a schema admits, as they were written. */
export type Infer<S> = S extends Schema<infer T> ? T : never;

type Fields = Readonly<Record<string, SchemaData>>;
type Flatten<T> = { [K in keyof T]: T[K] };
type ObjectOf<R extends Fields, O extends Fields> = Flatten<
  { readonly [K in keyof R]: Infer<R[K]> } & { readonly [K in keyof O]?: Infer<O[K]> }
>;

/** The largest integer of the API: exact in JavaScript also after a few additions. */
export const MAX_INTEGER = 1_000_000_000_000;

export interface TextBounds {
  readonly min?: number;
  readonly max: number;
  /** RE2, searched as the API server does: anchor it. */
  readonly pattern?: string;
  readonly rules?: readonly Rule[];
}

/** A string of `min` (1 when absent) to `max` characters. */
export function text(description: string, bounds: TextBounds): Schema<string> {
  const min = bounds.min ?? 1;
  return {
    type: 'string',
    description,
    ...(min > 0 ? { minLength: min } : {}),
    maxLength: bounds.max,
    ...(bounds.pattern === undefined ? {} : { pattern: bounds.pattern }),
    ...rulesOf(bounds.rules),
  };
}

/** One of some words. */
export function choice<const V extends string>(
  description: string,
  values: readonly V[],
  rules?: readonly Rule[],
): Schema<V> {
  return { type: 'string', description, enum: values, ...rulesOf(rules) };
}

/** An integer of `minimum` to `maximum`, both included. */
export function integer(description: string, minimum: number, maximum: number = MAX_INTEGER): Schema<number> {
  const format = minimum >= -(2 ** 31) && maximum < 2 ** 31 ? 'int32' : 'int64';
  return { type: 'integer', format, description, minimum, maximum };
}

export function flag(description: string): Schema<boolean> {
  return { type: 'boolean', description };
}

/**
 * A schema whose field means `value` when it is absent. The API server does not fill it in: the compiler reads it so.
 */
export function withDefault<T>(schema: Schema<T>, value: T): Schema<T> {
  return { ...schema, whenAbsent: { value } };
}

/** A schema whose field means something else than one fixed value when it is absent: `words` say what. */
export function withDefaultWords<T>(schema: Schema<T>, words: string): Schema<T> {
  return { ...schema, whenAbsent: { words } };
}

/** A default as people read it, without a full stop. */
export function defaultText(absent: Default): string {
  if ('words' in absent) return absent.words;
  return Array.isArray(absent.value) ? absent.value.join(', ') : String(absent.value);
}

/** An object with fields that must be there and fields that may be. Unknown fields are refused (strict) or pruned. */
export function object<R extends Fields, O extends Fields>(
  description: string,
  required: R,
  optional: O,
  rules?: readonly Rule[],
): Schema<ObjectOf<R, O>> {
  const names = Object.keys(required);
  return {
    type: 'object',
    description,
    ...(names.length > 0 ? { required: names } : {}),
    properties: { ...required, ...optional },
    ...rulesOf(rules),
  };
}

/** An object without fields: its presence says it all (`user: {}`). */
export function marker(description: string): Schema<Readonly<Record<string, never>>> {
  return { type: 'object', description };
}

/** A map from names to values, with `min` (0 when absent) to `max` entries. */
export function mapOf<T>(
  description: string,
  value: Schema<T>,
  bounds: { readonly min?: number; readonly max: number },
): Schema<Readonly<Record<string, T>>> {
  return {
    type: 'object',
    description,
    additionalProperties: value,
    ...(bounds.min === undefined ? {} : { minProperties: bounds.min }),
    maxProperties: bounds.max,
  };
}

/** A list that is replaced as a whole by server-side apply. */
export function list<T>(
  description: string,
  items: Schema<T>,
  bounds: { readonly min?: number; readonly max: number },
): Schema<readonly T[]> {
  return listOf(description, items, bounds, { 'x-kubernetes-list-type': 'atomic' });
}

/** A list without duplicates; its elements are scalars. */
export function setOf<T extends string>(
  description: string,
  items: Schema<T>,
  bounds: { readonly min?: number; readonly max: number },
): Schema<readonly T[]> {
  return listOf(description, items, bounds, { 'x-kubernetes-list-type': 'set' });
}

/** A list whose elements are told apart by `key`, which is unique in it. */
export function listMap<T>(
  description: string,
  key: keyof T & string,
  items: Schema<T>,
  bounds: { readonly min?: number; readonly max: number },
): Schema<readonly T[]> {
  return listOf(description, items, bounds, {
    'x-kubernetes-list-type': 'map',
    'x-kubernetes-list-map-keys': [key],
  });
}

/** The rule that exactly one of some fields is set. */
export function exactlyOne(fields: readonly string[]): Rule {
  const present = fields.map((field) => `has(self.${field})`).join(', ');
  return { rule: `[${present}].exists_one(x, x)`, message: `exactly one of ${inWords(fields)} must be set` };
}

/** "a", "a or b", "a, b or c". */
export function inWords(names: readonly string[]): string {
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} or ${names[names.length - 1] ?? ''}`;
}

type ListKind = Pick<SchemaData, 'x-kubernetes-list-type' | 'x-kubernetes-list-map-keys'>;

function listOf<T>(
  description: string,
  items: Schema<T>,
  bounds: { readonly min?: number; readonly max: number },
  kind: ListKind,
): Schema<readonly T[]> {
  const min = bounds.min === undefined ? {} : { minItems: bounds.min };
  return { type: 'array', description, items, ...min, maxItems: bounds.max, ...kind };
}

function rulesOf(rules: readonly Rule[] | undefined): Pick<SchemaData, 'x-kubernetes-validations'> {
  return rules === undefined || rules.length === 0 ? {} : { 'x-kubernetes-validations': rules };
}
