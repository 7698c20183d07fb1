// Stage: program cache, its builder. Input: the PATH. Output: a Go that is new enough, if need be fetched by an older
// one, or why there is none.
import { execFile } from 'node:child_process';
import { chmod, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { goVersions, type ProgramName } from './recipes.ts';

const run = promisify(execFile);

export interface Go {
  readonly program: string;
  /** Such as 1.24.11. */
  readonly version: string;
  /** To be added to the environment of every call. */
  readonly environment: Readonly<Record<string, string>>;
}

/** Without network and within a moment: true when `findGo` has something to start from. */
export async function hasGo(): Promise<boolean> {
  return (await goOnPath()) !== undefined;
}

/**
 * Undefined when no Go is on the PATH. Throws when there is one that is too old and the newer one cannot be fetched.
 */
export async function findGo(name: ProgramName, log: (line: string) => void): Promise<Go | undefined> {
  const found = await goOnPath();
  if (!found) return undefined;
  const { needed, fetched } = goVersions(name);
  if (isAtLeast(found.version, needed)) return { program: 'go', version: found.version, environment: local };
  log(`Go ${found.version} is older than ${needed}: fetching Go ${fetched} with it`);
  const root = await fetchToolchain(`v0.0.1-go${fetched}.${found.platform}`);
  return { program: join(root, 'bin', 'go'), version: fetched, environment: { ...local, GOROOT: root } };
}

/** Go never swaps itself for another version behind our back. */
const local = { GOTOOLCHAIN: 'local' };

async function goOnPath(): Promise<{ version: string; platform: string } | undefined> {
  try {
    const { stdout } = await go(['env', 'GOVERSION', 'GOHOSTOS', 'GOHOSTARCH']);
    const [version = '', os = '', architecture = ''] = stdout.trim().split('\n');
    return { version: version.replace(/^go/, ''), platform: `${os}-${architecture}` };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * Go's own releases are modules too, checked against the same public checksums; a Go of 2021 can already fetch them.
 * Modules carry no file modes, so the programs in it must be made executable.
 */
async function fetchToolchain(version: string): Promise<string> {
  const { stdout } = await go(['mod', 'download', '-json', `golang.org/toolchain@${version}`]);
  const { Dir: root } = JSON.parse(stdout) as { Dir: string };
  for (const folder of [join(root, 'bin'), join(root, 'pkg', 'tool')]) {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile());
    await Promise.all(files.map((entry) => chmod(join(entry.parentPath, entry.name), 0o755)));
  }
  return root;
}

async function go(args: readonly string[]): Promise<{ stdout: string }> {
  return await run('go', args, { cwd: tmpdir(), env: { ...process.env, ...local, GOFLAGS: '', GOWORK: 'off' } });
}

/** Compares the numbers of two versions; the letters of a pre-release do not count. */
export function isAtLeast(version: string, needed: string): boolean {
  const have = version.split('.').map((part) => Number.parseInt(part, 10));
  const want = needed.split('.').map((part) => Number.parseInt(part, 10));
  for (const [index, number] of want.entries()) {
    const difference = (have[index] ?? 0) - number;
    if (difference !== 0) return difference > 0;
  }
  return true;
}
