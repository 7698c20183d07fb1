// CRD: the verdict of the API server, offline; in: manifests as text or data, out: every finding with its field path,
// and the object as it would be stored.
import { celErrors } from './cel.ts';
import { isRecord, formatPath, show } from './finding.ts';
import type { Finding, FindingType, Located } from './finding.ts';
import { API_VERSION, GROUP, KINDS, kindNamed } from './kinds/kinds.ts';
import type { Kind } from './kinds/kinds.ts';
import { readDocuments } from './manifest-text.ts';
import type { TextDocument } from './manifest-text.ts';
import { metadataErrors, metadataFields } from './kinds/metadata.ts';
import { schemaErrors } from './schema-errors.ts';
import type { SchemaData } from './schema.ts';
import { prune, unknownField, unknownFields } from './structure.ts';
import type { WeirObject } from './types.ts';

export type { Finding, FindingType, Stage } from './finding.ts';

/** The verdict on one document. */
export interface ValidationResult {
  /** Line on which the document begins, from 1; 1 for objects that were not read from text. */
  readonly line: number;
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
  /** true: an object of another group, which Weir does not judge. */
  readonly foreign: boolean;
  /** Everything that is wrong; empty when the API server would accept it. */
  readonly findings: readonly Finding[];
  /** The object without unknown fields, nulls and status, when it has no finding. `namespace` may be missing. */
  readonly object?: WeirObject;
  /** The same when it violates CEL rules at most: it has the types of the schema. */
  readonly shaped?: WeirObject;
  /** Line of a path like `spec.rateLimiting.limits[0].name`, for findings of later stages. */
  lineOf(path: string): number | undefined;
}

/** Every finding in a manifest: YAML or JSON text, or an object that was parsed already. */
export function validateManifest(manifest: unknown): Finding[] {
  if (typeof manifest !== 'string') return [...judgeObject(manifest).findings];
  const verdicts = judgeText(manifest);
  if (verdicts.length > 0) return verdicts.flatMap(({ findings }) => findings);
  return [{ stage: 'decode', path: '', type: 'Unreadable', message: 'contains no object', line: 1 }];
}

/** The verdict on every document of a text. Empty documents are omitted. */
export function judgeText(text: string): ValidationResult[] {
  return readDocuments(text).map((document) => {
    const { kind, found, shaped } = judge(document.value, document.findings.length > 0);
    const lined = found.map((one) => toFinding(one, document.lineOf(one.at)));
    const findings = [...document.findings, ...(document.value === undefined ? [] : lined)];
    return verdict(document.value, kind, findings, shaped, document);
  });
}

/** The verdict on an object that was parsed already. */
export function judgeObject(value: unknown): ValidationResult {
  const { kind, found, shaped } = judge(value, false);
  return verdict(
    value,
    kind,
    found.map((one) => toFinding(one)),
    shaped,
  );
}

/** Deeper than any object of ours, and shallow enough to walk. */
const MAX_DEPTH = 100;

/** Whether a value has more than `levels` levels; a value that contains itself has. */
function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((member) => isDeeper(member, levels - 1));
}

interface Judgement {
  readonly kind: Kind | 'foreign' | undefined;
  readonly found: readonly Located[];
  /** Set when it violates CEL rules at most. */
  readonly shaped?: WeirObject;
}

function judge(value: unknown, isBroken: boolean): Judgement {
  if (!isRecord(value)) {
    return { kind: undefined, found: [decode([], 'Unreadable', `must be an object, not ${show(value)}`)] };
  }
  if (isDeeper(value, MAX_DEPTH)) {
    return { kind: undefined, found: [decode([], 'Unreadable', `is nested more than ${MAX_DEPTH} levels deep`)] };
  }
  const { apiVersion, kind: name } = value;
  if (typeof apiVersion !== 'string' || apiVersion === '') {
    return { kind: undefined, found: [decode(['apiVersion'], 'Unreadable', `must be ${API_VERSION}`)] };
  }
  if (typeof name !== 'string' || name === '') {
    return { kind: undefined, found: [decode(['kind'], 'Unreadable', `must be ${kindNames()}`)] };
  }
  if (apiVersion.split('/')[0] !== GROUP) return { kind: 'foreign', found: [] };
  if (apiVersion !== API_VERSION) {
    return { kind: undefined, found: [decode(['apiVersion'], 'Unreadable', `must be ${API_VERSION}`)] };
  }
  const kind = kindNamed(name);
  if (kind === undefined) {
    return { kind, found: [decode(['kind'], 'Unreadable', `must be ${kindNames()}, not ${show(name)}`)] };
  }
  return judgeKind(value, kind, isBroken);
}

function judgeKind(value: Record<string, unknown>, kind: Kind, isBroken: boolean): Judgement {
  const stored = prune({ spec: value['spec'] }, rootSchema(kind));
  const schema = schemaErrors(stored, rootSchema(kind));
  const found = [
    ...decodeErrors(value, kind),
    ...metadataErrors(value['metadata']),
    ...schema,
    ...celErrors(stored, rootSchema(kind), schema.length > 0 ? 'ignore' : 'report'),
  ];
  if (isBroken || found.some(({ stage }) => stage !== 'cel')) return { kind, found };
  const { spec } = stored as Pick<WeirObject, 'spec'>;
  const metadata = withoutNulls(value['metadata'] as Record<string, unknown>);
  return { kind, found, shaped: { apiVersion: API_VERSION, kind: kind.kind, metadata, spec } as unknown as WeirObject };
}

function decodeErrors(value: Record<string, unknown>, kind: Kind): Located[] {
  const extra = Object.keys(value).filter((name) => !ROOT_FIELDS.includes(name));
  return [
    ...extra.map((name) => unknownField([name])),
    ...metadataFields(value['metadata']),
    ...unknownFields(value['spec'], kind.spec, ['spec']),
    ...unknownFields(value['status'], kind.status, ['status']),
  ];
}

const ROOT_FIELDS: readonly string[] = ['apiVersion', 'kind', 'metadata', 'spec', 'status'];
const roots = new Map<Kind, SchemaData>();

/** The schema of an object: its spec. The status of a manifest is dropped, its metadata judged elsewhere. */
function rootSchema(kind: Kind): SchemaData {
  const known = roots.get(kind);
  if (known !== undefined) return known;
  const root: SchemaData = {
    type: 'object',
    description: kind.description,
    required: ['spec'],
    properties: { spec: kind.spec },
  };
  roots.set(kind, root);
  return root;
}

function withoutNulls(metadata: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(metadata).filter(([, value]) => value !== null));
}

function verdict(
  value: unknown,
  kind: Judgement['kind'],
  findings: readonly Finding[],
  shaped: WeirObject | undefined,
  document?: TextDocument,
): ValidationResult {
  const root = isRecord(value) ? value : {};
  const metadata = isRecord(root['metadata']) ? root['metadata'] : {};
  const text = (field: unknown) => (typeof field === 'string' ? field : '');
  const namespace = text(metadata['namespace']);
  return {
    line: document?.line ?? 1,
    apiVersion: text(root['apiVersion']),
    kind: text(root['kind']),
    ...(namespace === '' ? {} : { namespace }),
    name: text(metadata['name']),
    foreign: kind === 'foreign',
    findings,
    ...(shaped === undefined ? {} : { shaped }),
    ...(shaped === undefined || findings.length > 0 ? {} : { object: shaped }),
    lineOf: (path) => document?.lineOf(parsePath(path)),
  };
}

/** The reverse of formatPath; names that contain a dot or bracket are ambiguous. */
function parsePath(path: string): (string | number)[] {
  return [...path.matchAll(/\[(\d+)\]|([^.[\]]+)/g)].map(([, index, name]) =>
    index === undefined ? (name ?? '') : Number(index),
  );
}

function toFinding(located: Located, line?: number): Finding {
  const { at, ...rest } = located;
  return { ...rest, path: formatPath(at), ...(line === undefined ? {} : { line }) };
}

function decode(at: readonly string[], type: FindingType, message: string): Located {
  return { stage: 'decode', at, type, message };
}

function kindNames(): string {
  return KINDS.map(({ kind }) => kind).join(' or ');
}
