// CRD: reads manifests from text; in: YAML or JSON, out: for each document its value, its lines and what cannot be read.
import { LineCounter, isCollection, isMap, isNode, isScalar, parseAllDocuments } from 'yaml';
import type { Document, Pair, Tags } from 'yaml';
import type { Finding, Segments } from './finding.ts';
import { formatPath } from './finding.ts';

/** One document of a text. */
export interface TextDocument {
  /** Line on which it begins, from 1. */
  readonly line: number;
  /** undefined when the syntax is broken. */
  readonly value: unknown;
  /** Broken syntax and duplicate keys. */
  readonly findings: readonly Finding[];
  /** The line of a field, or of the nearest field around it that is there. */
  lineOf(at: Segments): number;
}

/**
 * Reads every document of a text; empty ones are left out. Words are read as the API server's YAML does: `yes` and `on`
 * are booleans, `22:00` and dates are texts.
 */
export function readDocuments(text: string): TextDocument[] {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, {
    version: '1.1',
    customTags: (tags) => tags.filter(isKnownWord),
    lineCounter: lines,
    prettyErrors: false,
    logLevel: 'silent',
    stringKeys: false,
  });
  if (!Array.isArray(documents)) return [];
  return documents.filter((document) => !isEmpty(document)).map((document) => readDocument(document, lines));
}

/** Tags of YAML 1.1 that the API server's reader does not have for plain words. */
const FOREIGN_TAGS = ['tag:yaml.org,2002:timestamp', 'tag:yaml.org,2002:binary', 'tag:yaml.org,2002:omap'];

function isKnownWord(tag: Tags[number]): boolean {
  if (typeof tag === 'string') return true;
  return tag.format !== 'TIME' && !FOREIGN_TAGS.includes(tag.tag);
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
  const findings = duplicateKeys(contents, [], lineAt);
  return { line, value: document.toJS({ maxAliasCount: 100 }) as unknown, findings, lineOf };
}

function duplicateKeys(node: unknown, at: Segments, lineAt: (offset: number) => number): Finding[] {
  if (!isCollection(node)) return [];
  if (!isMap(node)) return node.items.flatMap((item, index) => duplicateKeys(item, [...at, index], lineAt));
  const seen = new Set<string>();
  return node.items.flatMap((pair) => {
    const name = keyOf(pair);
    const here = [...at, name];
    const again = seen.has(name);
    seen.add(name);
    return [...(again ? [duplicateKey(pair, here, lineAt)] : []), ...duplicateKeys(pair.value, here, lineAt)];
  });
}

function duplicateKey(pair: Pair, at: Segments, lineAt: (offset: number) => number): Finding {
  const message = `key ${JSON.stringify(at[at.length - 1])} already set in map`;
  const line = lineAt(startOf(pair.key) ?? 0);
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
