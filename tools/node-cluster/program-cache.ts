// Stage: program cache. Input: the names of programs. Output: their paths in the cache folder of this version, built
// there by Go when they were missing.
import { spawn } from 'node:child_process';
import { access, constants, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { withLock } from './build-lock.ts';
import type { Go } from './go.ts';
import { kubernetesVersion, recipe, type ProgramName, type Recipe } from './recipes.ts';

/** Longer than the slowest build on a slow machine. */
const buildDeadlineMs = 40 * 60_000;

export interface CachedProgram {
  readonly path: string;
  /** False when this call built it. */
  readonly cached: boolean;
  /** What the build took, or 0. */
  readonly seconds: number;
}

/** One folder per version of Kubernetes; `WEIR_CLUSTER_CACHE` moves them all. */
export function cacheFolder(): string {
  const root = process.env['WEIR_CLUSTER_CACHE'] ?? join(homedir(), '.cache', 'weir-cluster');
  return join(root, kubernetesVersion());
}

/** Undefined when the program was never built, or from another recipe. */
export async function findInCache(name: ProgramName): Promise<string | undefined> {
  const { program, note } = cachePaths(name);
  try {
    await access(program, constants.X_OK);
    const { fingerprint } = JSON.parse(await readFile(note, 'utf8')) as BuildNote;
    return fingerprint === recipe(name).fingerprint ? program : undefined;
  } catch {
    return undefined;
  }
}

/** Builds at most once, also when several processes ask at the same time. */
export async function fromCacheOrBuild(name: ProgramName, go: Go, log: (line: string) => void): Promise<CachedProgram> {
  const ready = await findInCache(name);
  if (ready !== undefined) return { path: ready, cached: true, seconds: 0 };
  await mkdir(cacheFolder(), { recursive: true });
  // One lock for all programs: a build uses every core, and memory that two together may not find.
  return await withLock(join(cacheFolder(), '.building'), buildDeadlineMs, async () => {
    const builtMeanwhile = await findInCache(name);
    if (builtMeanwhile !== undefined) return { path: builtMeanwhile, cached: true, seconds: 0 };
    const plan = recipe(name);
    log(`building ${name} ${plan.version} with Go ${go.version}`);
    return await build(plan, go);
  });
}

interface BuildNote {
  readonly package: string;
  readonly version: string;
  readonly go: string;
  readonly seconds: number;
  readonly fingerprint: string;
}

/**
 * The note is taken away first and comes back last, so that it never speaks of another program than the one beside
 * it.
 */
async function build(plan: Recipe, go: Go): Promise<CachedProgram> {
  const { program, note } = cachePaths(plan.name);
  const draft = `${program}.${process.pid}.draft`;
  const begin = performance.now();
  try {
    await runGo(go, plan, draft);
    const seconds = Math.round((performance.now() - begin) / 100) / 10;
    const { package: source, version, fingerprint } = plan;
    const facts: BuildNote = { package: source, version, go: go.version, seconds, fingerprint };
    await rm(note, { force: true });
    await rename(draft, program);
    await writeFile(`${draft}.json`, JSON.stringify(facts, null, 2) + '\n');
    await rename(`${draft}.json`, note);
    return { path: program, cached: false, seconds };
  } finally {
    await rm(draft, { force: true });
  }
}

async function runGo(go: Go, plan: Recipe, output: string): Promise<void> {
  const args = ['build', '-trimpath', '-ldflags', plan.linkerFlags, '-o', output, plan.package];
  const env = { ...process.env, ...go.environment, CGO_ENABLED: '0', GOFLAGS: '-mod=readonly', GOWORK: 'off' };
  const child = spawn(go.program, args, { cwd: plan.folder, env, stdio: ['ignore', 'ignore', 'pipe'] });
  let complaint = '';
  child.stderr.setEncoding('utf8');
  child.stderr.on('data', (text: string) => {
    complaint = (complaint + text).slice(-4000);
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0) throw new Error(`go build ${plan.package} ended with ${code ?? 'a signal'}:\n${complaint.trim()}`);
}

function cachePaths(name: ProgramName): { program: string; note: string } {
  const program = join(cacheFolder(), name);
  return { program, note: `${program}.json` };
}
