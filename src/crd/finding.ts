// CRD: one finding of offline validation; in: a place in a manifest and what is wrong there, out: its path and message.

/** What refuses: strict decoding, the structural schema, or a CEL rule. */
export type Stage = 'decode' | 'schema' | 'cel';

/** The types of the API server (`Required` for its FieldValueRequired), and those of decoding. */
export type FindingType =
  | 'Syntax'
  | 'DuplicateField'
  | 'UnknownField'
  | 'Unreadable'
  | 'Required'
  | 'TypeInvalid'
  | 'NotSupported'
  | 'TooLong'
  | 'TooMany'
  | 'Duplicate'
  | 'Invalid';

/** One error in a manifest. */
export interface Finding {
  readonly stage: Stage;
  /** As the API server writes it: `spec.rateLimiting.limits[0].name`; empty for the document as a whole. */
  readonly path: string;
  readonly type: FindingType;
  readonly message: string;
  /** Line in the source text, from 1; absent for objects that were not parsed from text. */
  readonly line?: number;
}

/** The way from the root of an object to a value: names and indices. */
export type Segments = readonly (string | number)[];

/** A finding before its path is written out. */
export interface Located extends Omit<Finding, 'path' | 'line'> {
  readonly at: Segments;
}

/** Writes a path as the API server does. */
export function formatPath(at: Segments): string {
  return at
    .map((step) => (typeof step === 'number' ? `[${step}]` : `.${step}`))
    .join('')
    .replace(/^\./, '');
}

const MAX_SHOWN = 64;

/** A value as messages show it: JSON, cut after 64 characters. */
export function show(value: unknown): string {
  const json = JSON.stringify(value) as string | undefined;
  if (json === undefined) return 'undefined';
  return json.length > MAX_SHOWN ? `${json.slice(0, MAX_SHOWN)}…` : json;
}

/** Whether a value is a JSON object. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
