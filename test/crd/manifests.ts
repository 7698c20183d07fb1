// Tests: valid manifests of both kinds, as they were written; in: examples, docs, the corpus and generated ones, out:
// objects.
import { globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import fc from 'fast-check';
import { readDocuments } from '../../src/crd/manifest-text.ts';
import { judgeObject } from '../../src/crd/validate.ts';
import { loadCorpus } from './corpus.ts';
import { mutate, validManifests } from './mutation.ts';

export interface Manifest {
  /** Where it comes from. */
  readonly source: string;
  readonly kind: string;
  readonly spec: Readonly<Record<string, unknown>>;
}

const ROOT = new URL('../../', import.meta.url).pathname;
const GENERATED = 160;
const SEED = 20_261_201;

/** Every valid manifest that people are shown: examples, README, docs, the corpus. */
export function writtenManifests(): Manifest[] {
  const examples = globSync(['examples/**/*.yaml', 'test/crd/examples/*.yaml'], { cwd: ROOT }).sort();
  const pages = ['README.md', ...globSync('docs/**/*.md', { cwd: ROOT }).sort()];
  const texts = [
    ...examples.map((path) => ({ source: path, text: readFileSync(ROOT + path, 'utf8') })),
    ...pages.flatMap((path) =>
      blocksOf(readFileSync(ROOT + path, 'utf8')).map((text, index) => ({ source: `${path}#${index}`, text })),
    ),
    ...loadCorpus().map(({ name, text }) => ({ source: `corpus/${name}`, text })),
  ];
  return texts.flatMap(({ source, text }) =>
    readDocuments(text).flatMap(({ value }) => accepted(value, basename(source))),
  );
}

/** Valid manifests that nobody wrote: the same ones each time. */
export function generatedManifests(): Manifest[] {
  const bases = validManifests();
  const step = fc.tuple(fc.nat(4096), fc.nat(64), fc.nat(65_535));
  const change = fc.tuple(fc.nat(bases.length - 1), fc.array(step, { minLength: 1, maxLength: 6 }));
  const samples = fc.sample(change, { seed: SEED, numRuns: GENERATED * 12 });
  return samples
    .map(([base, steps]) => mutate(bases[base], steps))
    .flatMap((value, index) => accepted(value, `generated ${index}`))
    .slice(0, GENERATED);
}

function blocksOf(page: string): string[] {
  return [...page.matchAll(/^```yaml\n([\s\S]*?)^```/gm)].map(([, block]) => block!);
}

/** The object when the API server admits it. kubectl itself applies a null again each time, whatever the kind. */
function accepted(value: unknown, source: string): Manifest[] {
  const verdict = judgeObject(value);
  if (verdict.object === undefined || hasNull(value)) return [];
  const { kind, spec } = value as Manifest;
  return [{ source, kind, spec }];
}

function hasNull(value: unknown): boolean {
  if (value === null) return true;
  return typeof value === 'object' && Object.values(value).some(hasNull);
}
