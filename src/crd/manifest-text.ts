// CRD: reads manifests from text; in: YAML or JSON, out: for each document its value, its lines and what cannot be
// parsed.
import { LineCounter, isCollection, isMap, isNode, isScalar, parseAllDocuments, visit } from 'yaml';
import type { Document, Pair } from 'yaml';
import type { Finding, Segments } from './finding.ts';
import { formatPath, isRecord } from './finding.ts';
import { wordTags } from './yaml-words.ts';

/** One document of a text, or one element of a list in it. */
export interface TextDocument {
  /** Line on which it begins, from 1. */
  readonly line: number;
  /** undefined after a syntax error. */
  readonly value: unknown;
  /** Syntax errors and duplicate keys. */
  readonly findings: readonly Finding[];
  /** The line of a field, or of the nearest field around it that is there. */
  lineOf(at: Segments): number;
}

/**
 * Reads every document of a text; empty ones are left out, and a list (`kubectl get -o yaml`) counts as its elements.
 * Words are read as the API server's YAML does: `yes` and `on` are booleans, `22:00` and dates are texts.
 */
export function readDocuments(text: string): TextDocument[] {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, {
    version: '1.1',
    customTags: wordTags,
    lineCounter: lines,
    prettyErrors: false,
    logLevel: 'silent',
    stringKeys: false,
  });
  if (!Array.isArray(documents)) return [];
  return documents
    .filter((document) => !isEmpty(document))
    .map((document) => readDocument(document, lines))
    .flatMap(elementsOf);
}

function isEmpty(document: Document.Parsed): boolean {
  const { contents } = document;
  return document.errors.length === 0 && (contents === null || (isScalar(contents) && contents.value === null));
}

function readDocument(document: Document.Parsed, lines: LineCounter): TextDocument {
  const lineAt = (offset: number) => lines.linePos(offset).line;
  const { contents } = document;
  const line = lineAt(contents?.range[0] ?? document.range[0]);
  const broken = document.errors.filter((error) => error.code !== 'DUPLICATE_KEY');
  const syntax = broken.map((error): Finding => {
    const message = error.message.replace(/\s+/g, ' ').trim();
    return { stage: 'decode', path: '', type: 'Syntax', message, line: lineAt(error.pos[0]) };
  });
  const lineOf = (at: Segments) => lineAt(offsetOf(contents, at, document.range[0]));
  if (syntax.length > 0) return { line, value: undefined, findings: syntax, lineOf };
  const strangers = unresolvedAliases(document, lineAt);
  if (strangers.length > 0) return { line, value: undefined, findings: strangers, lineOf };
  try {
    const findings = keyErrors(contents, [], lineAt);
    return { line, value: document.toJS({ maxAliasCount: 100 }) as unknown, findings, lineOf };
  } catch {
    const message = 'nested too deeply, or too many aliases';
    return { line, value: undefined, findings: [{ stage: 'decode', path: '', type: 'Syntax', message, line }], lineOf };
  }
}

/**
 * As kubectl splits a list: an element without a kind is of the kind that the list names. kubectl does not split a
 * list within a list.
 */
function elementsOf(document: TextDocument): TextDocument[] {
  const { value, findings } = document;
  const kind = isRecord(value) ? value['kind'] : undefined;
  const items = isRecord(value) ? value['items'] : undefined;
  if (!isRecord(value) || typeof kind !== 'string' || !kind.endsWith('List')) return [document];
  if (!Array.isArray(items) || items.length === 0) return [document];
  const { apiVersion } = value;
  const usual = kind === 'List' ? {} : { apiVersion, kind: kind.slice(0, -'List'.length) };
  const isOfAll = ({ path }: Finding): boolean => !path.startsWith('items[');
  return items.map((item: unknown, index) => {
    const before = `items[${index}]`;
    const own = findings
      .filter(({ path }) => path === before || path.startsWith(`${before}.`))
      .map((finding) => ({ ...finding, path: finding.path.slice(before.length + 1) }));
    return {
      line: document.lineOf(['items', index]),
      value: isRecord(item) ? { ...usual, ...item } : item,
      findings: index === 0 ? [...findings.filter(isOfAll), ...own] : own,
      lineOf: (at) => document.lineOf(['items', index, ...at]),
    };
  });
}

function unresolvedAliases(document: Document.Parsed, lineAt: (offset: number) => number): Finding[] {
  const found: Finding[] = [];
  visit(document, {
    Alias: (_key, alias) => {
      if (alias.resolve(document) !== undefined) return;
      const message = `unknown alias *${alias.source}`;
      found.push({ stage: 'decode', path: '', type: 'Syntax', message, line: lineAt(startOf(alias) ?? 0) });
    },
  });
  return found;
}

/** Duplicate keys, and keys that are not strings. */
function keyErrors(node: unknown, at: Segments, lineAt: (offset: number) => number): Finding[] {
  if (!isCollection(node)) return [];
  if (!isMap(node)) return node.items.flatMap((item, index) => keyErrors(item, [...at, index], lineAt));
  const seen = new Set<unknown>();
  return node.items.flatMap((pair): Finding[] => {
    const line = lineAt(startOf(pair.key) ?? 0);
    const value = isScalar(pair.key) ? pair.key.value : pair.key;
    if (value === null || typeof value === 'object') {
      return [{ stage: 'decode', path: formatPath(at), type: 'Syntax', message: 'a key must be a string', line }];
    }
    const here = [...at, keyOf(pair)];
    const again = seen.has(value);
    seen.add(value);
    return [...(again ? [duplicateKey(here, line)] : []), ...keyErrors(pair.value, here, lineAt)];
  });
}

function duplicateKey(at: Segments, line: number): Finding {
  const message = `key ${JSON.stringify(at[at.length - 1])} already set in map`;
  return { stage: 'decode', path: formatPath(at), type: 'DuplicateField', message, line };
}

function keyOf(pair: Pair): string {
  return isScalar(pair.key) ? String(pair.key.value) : String(pair.key);
}

function offsetOf(contents: unknown, at: Segments, start: number): number {
  let offset = startOf(contents) ?? start;
  let node = contents;
  for (const step of at) {
    const child = childOf(node, step);
    if (child === undefined) return offset;
    offset = startOf(child.place) ?? offset;
    node = child.value;
  }
  return offset;
}

/** The value at a step, and the node that shows where it is: its key in a map, itself in a list. */
function childOf(node: unknown, step: string | number): { place: unknown; value: unknown } | undefined {
  if (isMap(node)) {
    const pair = node.items.filter((item) => keyOf(item) === step).at(-1);
    return pair === undefined ? undefined : { place: pair.key, value: pair.value };
  }
  const item: unknown = isCollection(node) ? node.items[Number(step)] : undefined;
  return item === undefined ? undefined : { place: item, value: item };
}

function startOf(node: unknown): number | undefined {
  return isNode(node) ? node.range?.[0] : undefined;
}
