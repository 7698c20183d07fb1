// CLI, demo, manifests: reads a folder of manifests, points their targets at the stand-in server and their buckets at
// memory, writes them to a folder that the operator watches, and changes one amount there while everything runs.
import { globSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { isObjectKind, OBJECT_KINDS, type ObjectKind } from '../../contract/limiter-config.ts';
import { type Document, isMap, isSeq, parseAllDocuments, type YAMLMap } from 'yaml';

/** One object of the folder. `describe()` names it as kubectl does. */
export interface DemoObject {
  readonly kind: ObjectKind;
  readonly namespace: string;
  readonly name: string;
  readonly spec: Readonly<Record<string, unknown>>;
}

/** A change that the demo made: what is said to the user. `object` is as it is after it. */
export interface DemoEdit {
  readonly object: DemoObject;
  readonly changes: readonly { readonly path: string; readonly from: number; readonly to: number }[];
}

/** Amounts of the short form. */
const AMOUNT_PATHS = [
  ['rateLimiting', 'shared', 'maxTokens'],
  ['rateLimiting', 'global', 'maxTokens'],
  ['rateLimiting', 'perUser', 'maxTokens'],
] as const;

/** The folder that the operator watches, and the documents in it. */
export class DemoManifests {
  readonly #folder: string;
  readonly #files = new Map<string, Document[]>();

  constructor(source: string, folder: string, upstream: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true });
    for (const path of globSync(join(source, '*.{yaml,yml,json}')).sort()) {
      const documents = parseAllDocuments(readFileSync(path, 'utf8'));
      if (!Array.isArray(documents)) continue;
      for (const document of documents) redirect(document, upstream);
      this.#files.set(basename(path), documents);
      this.#write(basename(path));
    }
    if (this.#files.size === 0)
      throw new Error(`no manifests in ${source}: put *.yaml files with ${OBJECT_KINDS.join(' or ')} objects there`);
  }

  /** Every object of Weir, in file order. */
  objects(): DemoObject[] {
    return [...this.#files.values()]
      .flat()
      .map(objectOf)
      .filter((object) => object !== undefined);
  }

  /** Doubles every amount of the first object that has one (1 and 0 become 2) and saves its file. */
  raiseLimits(): DemoEdit | undefined {
    for (const [file, documents] of this.#files) {
      for (const document of documents) {
        const changes = raise(document);
        const object = objectOf(document);
        if (changes.length === 0 || object === undefined) continue;
        this.#write(file);
        return { object, changes };
      }
    }
    return undefined;
  }

  #write(file: string): void {
    const text = (this.#files.get(file) ?? []).map((document) => document.toString()).join('');
    // As editors do: written beside, then moved over, so that the operator never reads half a file.
    const temporary = join(this.#folder, `.${file}.tmp`);
    writeFileSync(temporary, text);
    renameSync(temporary, join(this.#folder, file));
  }
}

function objectOf(document: Document): DemoObject | undefined {
  const object = document.toJS() as Partial<DemoObject> & { metadata?: { namespace?: string; name?: string } };
  const name = object.metadata?.name;
  if (name === undefined || !isObjectKind(object.kind)) return undefined;
  return { kind: object.kind, namespace: object.metadata?.namespace ?? 'default', name, spec: object.spec ?? {} };
}

function redirect(document: Document, upstream: string): void {
  if (objectOf(document) === undefined) return;
  document.setIn(['spec', 'targets'], document.createNode([{ url: upstream }]));
  document.deleteIn(['spec', 'rateLimiting', 'redis']);
  const rules = document.getIn(['spec', 'rules']);
  if (isSeq(rules)) for (const rule of rules.items) if (isMap(rule)) rule.delete('targets');
}

function raise(document: Document): DemoEdit['changes'] {
  const spec = document.get('spec');
  if (objectOf(document) === undefined || !isMap(spec)) return [];
  return amountPaths(spec).flatMap((path) => {
    const from = spec.getIn(path);
    if (typeof from !== 'number') return [];
    const to = Math.max(2, from * 2);
    spec.setIn(path, to);
    return [{ path: `spec.${path.join('.')}`, from, to }];
  });
}

function amountPaths(spec: YAMLMap): (string | number)[][] {
  const limits = spec.getIn(['rateLimiting', 'limits']);
  const count = isSeq(limits) ? limits.items.length : 0;
  const inLimits = Array.from({ length: count }, (_, index) => [
    ['rateLimiting', 'limits', index, 'bucket', 'maxTokens'],
    ['rateLimiting', 'limits', index, 'bucket', 'burst'],
    ['rateLimiting', 'limits', index, 'window', 'limit'],
  ]).flat();
  return [...inLimits, ...AMOUNT_PATHS.map((path) => [...path])];
}
