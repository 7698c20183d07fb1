// Release: the places that name the version of this release. Usage: node scripts/release-version.ts [VERSION]. With a
// version it writes it into all of them; without one it prints the version, and fails when the places disagree.
import { readFileSync, writeFileSync } from 'node:fs';

interface Place {
  readonly file: string;
  /** Group 1 is the text before the version, up to it. */
  readonly pattern: RegExp;
}

const VERSION = String.raw`\d+\.\d+\.\d+(?:-[0-9a-z.]+)?`;
const IMAGES = new RegExp(String.raw`(\bweir(?:-init)?:)${VERSION}`, 'g');

/** A file with several mentions has them all changed. */
export const PLACES: readonly Place[] = [
  { file: 'package.json', pattern: new RegExp(`("version": ")${VERSION}`) },
  { file: 'package-lock.json', pattern: new RegExp(String.raw`("name": "weir",\s+"version": ")${VERSION}`, 'g') },
  { file: 'deploy/helm/Chart.yaml', pattern: new RegExp(`(^(?:version|appVersion): )${VERSION}`, 'gm') },
  { file: 'docs/openapi.yaml', pattern: new RegExp(`(^ {2}version: )${VERSION}`, 'm') },
  { file: 'Dockerfile', pattern: new RegExp(`(^ARG VERSION=)${VERSION}`, 'gm') },
  { file: 'Dockerfile', pattern: IMAGES },
  { file: 'docs/install.md', pattern: IMAGES },
  { file: 'examples/chat.yaml', pattern: IMAGES },
];

/** Every version that a place names. @throws Error for a place where none is found */
export function namedVersions({ file, pattern }: Place): string[] {
  const all = new RegExp(pattern, pattern.flags.includes('g') ? pattern.flags : `${pattern.flags}g`);
  const found = [...readFileSync(file, 'utf8').matchAll(all)].map((match) => match[0].slice(match[1]?.length ?? 0));
  if (found.length === 0) throw new Error(`${file} names no version where ${String(pattern)} expects one`);
  return found;
}

function write(version: string): void {
  for (const { file, pattern } of PLACES) {
    const text = readFileSync(file, 'utf8').replace(pattern, (_match, before: string) => `${before}${version}`);
    writeFileSync(file, text);
  }
}

function main(wanted: string | undefined): void {
  if (wanted !== undefined) {
    if (!new RegExp(`^${VERSION}$`).test(wanted)) throw new Error(`"${wanted}" is not a version such as 1.2.3`);
    write(wanted);
  }
  const versions = new Map(PLACES.flatMap((place) => namedVersions(place).map((version) => [version, place.file])));
  if (versions.size > 1) {
    throw new Error(`versions differ: ${[...versions].map(([version, file]) => `${version} in ${file}`).join(', ')}`);
  }
  console.log([...versions.keys()][0]);
}

if (import.meta.main) main(process.argv[2]);
