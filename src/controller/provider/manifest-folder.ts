// Controller: manifests in a folder. Input: files as people and editors leave them. Output: the objects that the API
// server would have accepted; where it would have rejected one, its last version stays, and the reason is reported
// with file and line.
import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import type { WeirObject } from '../../crd/types.ts';
import { judgeText, type ValidationResult } from '../../crd/validate.ts';
import { systemClock, type Clock } from '../../lib/clock.ts';
import { errorCode, messageOf } from '../../lib/thrown.ts';

/** Something in a manifest that the API server would refuse. */
export interface ManifestProblem {
  /** Path of the file below the folder. */
  readonly file: string;
  readonly line?: number;
  /** Field of the object; '' when the file as a whole is meant. */
  readonly path: string;
  readonly message: string;
}

/** An accepted object and where it stands. */
export interface Manifest {
  readonly object: WeirObject;
  readonly namespace: string;
  readonly file: string;
  readonly line: number;
}

interface FileState {
  /** Size, time and inode: what changes when a file is written or replaced. */
  readonly stamp: string;
  /** By `<kind>/<namespace>/<name>`. */
  readonly manifests: ReadonlyMap<string, Manifest>;
  readonly problems: readonly ManifestProblem[];
}

/** The folder cannot be read. */
export class ManifestFolderError extends Error {}

/** A larger file is not a manifest. */
const MAX_BYTES = 16 * 1024 * 1024;
/** Editors and sync tools rename a file away before they write the new one: so long a missing file is kept. */
const GONE_MS = 1000;
/** A file that changed more recently is looked at the next time. */
const STILL_MS = 50;
const EMPTY = 'empty ';
const IS_MANIFEST = /\.(ya?ml|json)$/i;
/** Backups, locks and half-written files of editors and of tools that replace files. */
const IS_TEMPORARY = /^[.#~_]|[~#]$|\.(swp|swx|tmp|bak|orig)(\.|$)/i;

export class ManifestFolder {
  readonly #folder: string;
  readonly #clock: Clock;
  #files = new Map<string, FileState>();
  /** Files that were there and are missing, since when (monotonic ms). */
  #missing = new Map<string, number>();

  constructor(folder: string, clock: Clock = systemClock) {
    this.#folder = folder;
    this.#clock = clock;
  }

  /** A file is missing and its objects are kept for now: read again soon. */
  get waitsForFiles(): boolean {
    return this.#missing.size > 0;
  }

  /**
   * Reads what changed since the last call. A file that goes is missed when it stayed away for a second.
   * @returns false when nothing did. @throws ManifestFolderError when the folder itself cannot be read.
   */
  async refresh(): Promise<boolean> {
    const names = await this.#list();
    const files = new Map<string, FileState>();
    let hasChanged = false;
    for (const name of names) {
      const before = this.#files.get(name);
      const now = await this.#look(name, before);
      if (now === undefined) continue;
      files.set(name, now);
      hasChanged ||= now !== before;
    }
    // By what was found, not by what was listed: a file may go in between, and then nothing tells of it again.
    this.#keepMissing(files);
    hasChanged ||= files.size !== this.#files.size;
    this.#files = new Map([...files].sort(([a], [b]) => (a < b ? -1 : 1)));
    return hasChanged;
  }

  /** Puts those files back that have not been away for long enough. */
  #keepMissing(files: Map<string, FileState>): void {
    const nowMs = this.#clock.monotonicMs();
    const missing = new Map<string, number>();
    for (const [name, state] of this.#files) {
      if (files.has(name)) continue;
      const sinceMs = this.#missing.get(name) ?? nowMs;
      if (nowMs - sinceMs >= GONE_MS) continue;
      missing.set(name, sinceMs);
      files.set(name, state);
    }
    this.#missing = missing;
  }

  /** The accepted objects by `<kind>/<namespace>/<name>`; of two with one name the first file counts. */
  manifests(): Map<string, Manifest> {
    const found = new Map<string, Manifest>();
    for (const { manifests } of this.#files.values()) {
      for (const [name, manifest] of manifests) if (!found.has(name)) found.set(name, manifest);
    }
    return found;
  }

  problems(): ManifestProblem[] {
    const owners = this.manifests();
    const twice = [...this.#files.values()].flatMap(({ manifests }) =>
      [...manifests].flatMap(([name, manifest]) => {
        const owner = owners.get(name);
        if (owner === undefined || owner === manifest) return [];
        const message = `${name} is already defined in ${owner.file}:${owner.line}, which is used`;
        return [{ file: manifest.file, line: manifest.line, path: 'metadata.name', message }];
      }),
    );
    return [...[...this.#files.values()].flatMap(({ problems }) => problems), ...twice];
  }

  async #list(): Promise<string[]> {
    try {
      const entries = await readdir(this.#folder, { recursive: true, withFileTypes: true });
      return entries
        .filter((entry) => !entry.isDirectory() && IS_MANIFEST.test(entry.name))
        .map((entry) => relative(this.#folder, join(entry.parentPath, entry.name)))
        .filter((path) => !path.split('/').some((part) => IS_TEMPORARY.test(part)))
        .sort();
    } catch (error) {
      throw new ManifestFolderError(`cannot read the manifests in ${this.#folder}: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  /** undefined: the file is gone again. A file that cannot be read keeps the objects that it had. */
  async #look(file: string, before: FileState | undefined): Promise<FileState | undefined> {
    const path = join(this.#folder, file);
    let stamp = '';
    try {
      const { size, mtimeMs, ino } = await stat(path);
      stamp = `${size} ${mtimeMs} ${ino}`;
      const known = before === undefined ? undefined : keptState(before, stamp, size, mtimeMs);
      if (known !== undefined) return known;
      if (size > MAX_BYTES) throw new Error(`larger than ${MAX_BYTES} bytes`);
      return judge(file, stamp, await readFile(path, 'utf8'), before);
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return undefined;
      const problem = { file, path: '', message: messageOf(error) };
      return { stamp, manifests: before?.manifests ?? new Map<string, Manifest>(), problems: [problem] };
    }
  }
}

/** The former state where it still holds: unchanged, changed a moment ago, or just emptied by an editor. */
function keptState(before: FileState, stamp: string, size: number, mtimeMs: number): FileState | undefined {
  if (before.stamp === stamp || isBeingWritten(mtimeMs)) return before;
  return size === 0 && !before.stamp.startsWith(EMPTY) ? { ...before, stamp: EMPTY + stamp } : undefined;
}

function judge(file: string, stamp: string, text: string, before: FileState | undefined): FileState {
  const former: ReadonlyMap<string, Manifest> = before?.manifests ?? new Map<string, Manifest>();
  const verdicts = judgeText(text);
  const own = verdicts.filter(({ foreign }) => !foreign);
  const manifests = new Map<string, Manifest>();
  for (const verdict of own) {
    const name = nameOf(verdict);
    const manifest = toManifest(file, verdict) ?? former.get(name);
    if (manifest !== undefined) manifests.set(name, manifest);
  }
  // A document without a kind or a name may have been any of the objects that were there.
  const isReadable = own.every(({ kind, name }) => kind !== '' && name !== '');
  const all = isReadable ? manifests : new Map([...former, ...manifests]);
  return { stamp, manifests: all, problems: verdicts.flatMap((verdict) => problemsOf(file, verdict)) };
}

function isBeingWritten(mtimeMs: number): boolean {
  const ageMs = Date.now() - mtimeMs;
  return ageMs >= 0 && ageMs < STILL_MS;
}

function toManifest(file: string, { object, line, namespace = 'default' }: ValidationResult): Manifest | undefined {
  return object === undefined ? undefined : { object, namespace, file, line };
}

function problemsOf(file: string, { findings }: ValidationResult): ManifestProblem[] {
  return findings.map(({ path, message, line }) => ({ file, path, message, ...(line === undefined ? {} : { line }) }));
}

function nameOf({ kind, namespace = 'default', name }: ValidationResult): string {
  return `${kind}/${namespace}/${name}`;
}

/** The same for the same object for ever, and for no other: standalone has nobody who gives out UIDs. */
export function stableUid(name: string): string {
  const hex = createHash('sha256').update(name).digest('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`, `a${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    '-',
  );
}
