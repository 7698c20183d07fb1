// Upgrade: the release before this one. In: the commit that previous-release.json names; out: its `weir`, built in a
// git worktree of its own and kept under .run, or its sources, or why it cannot be had.
import { execFile } from 'node:child_process';
import { access, mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { projectFolder } from '../stack/cluster-access.ts';

const run = promisify(execFile);
/** npm may have to fetch what that release depends on. */
const BUILD_DEADLINE_MS = 300_000;

export interface PreviousRelease {
  readonly version: string;
  /** Its executable. */
  readonly program: string;
}

export interface PreviousSources {
  readonly version: string;
  /** As the release has it: sources, chart, Dockerfile. */
  readonly folder: string;
}

export interface NoPreviousRelease {
  readonly missing: string;
}

/** Builds it once; a clone without that commit (a shallow one) has no previous release. */
export async function previousRelease(): Promise<PreviousRelease | NoPreviousRelease> {
  const sources = await previousSources();
  if ('missing' in sources) return sources;
  const { version, folder } = sources;
  if (!(await exists(join(folder, 'dist', '.whole')))) await build(folder);
  return { version, program: join(folder, 'bin', 'weir') };
}

/** A git worktree of its commit, made once. */
export async function previousSources(): Promise<PreviousSources | NoPreviousRelease> {
  const file = join(import.meta.dirname, 'previous-release.json');
  const { version, commit } = JSON.parse(await readFile(file, 'utf8')) as { version: string; commit: string };
  const folder = join(projectFolder, '.run', 'previous-release', commit);
  if (await exists(join(folder, '.git'))) return { version, folder };
  if (!(await hasCommit(commit))) {
    return { missing: `this clone lacks the commit of ${version}, ${commit}; to enable: git fetch --unshallow` };
  }
  await rm(folder, { recursive: true, force: true });
  await mkdir(join(folder, '..'), { recursive: true });
  await git(['worktree', 'prune']);
  await git(['worktree', 'add', '--detach', '--force', folder, commit]);
  return { version, folder };
}

/** The mark comes last: a build that was cut short is begun again. */
async function build(folder: string): Promise<void> {
  const options = { cwd: folder, timeout: BUILD_DEADLINE_MS, maxBuffer: 16 * 1024 * 1024 };
  await run('npm', ['ci', '--no-audit', '--no-fund'], options);
  await run('npm', ['run', 'build'], options);
  await run('touch', [join('dist', '.whole')], options);
}

async function hasCommit(commit: string): Promise<boolean> {
  return await git(['cat-file', '-e', `${commit}^{commit}`]).then(
    () => true,
    () => false,
  );
}

async function git(args: readonly string[]): Promise<void> {
  await run('git', args, { cwd: projectFolder, timeout: 60_000 });
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
