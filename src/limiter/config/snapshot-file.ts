// Limiter: the last good snapshot on disk. In: the resources in effect; out: one checksummed file, replaced as a
// whole, from which a limiter serves before it has reached the operator.
import { createHash } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Logger } from '../../lib/log.ts';
import { messageOf } from '../../lib/thrown.ts';

/** One resource as it is kept: `json` is the text that the operator sent. */
export interface KeptResource {
  readonly name: string;
  readonly version: string;
  readonly json: string;
  /** Values of the secrets that the text names, by `<name>/<key>`; absent: none. */
  readonly secrets?: readonly (readonly [string, string])[];
}

interface FileContent {
  readonly formatVersion: number;
  /** Hex SHA-256 of the JSON text of `resources`. */
  readonly checksum: string;
  readonly resources: readonly KeptResource[];
}

const FORMAT_VERSION = 1;
/** The operator hears of a config before the file is made: making it takes longer than putting the config in effect. */
const BEFORE_MS = 25;

/**
 * The file at `path`. It holds the values of secrets, or a restart without an operator would lose them: only its
 * owner can read it.
 */
export class SnapshotFile {
  readonly #path: string;
  readonly #log: Logger;
  readonly #pauseMs: number;
  #pending: (() => readonly KeptResource[]) | undefined;
  #writer: Promise<void> | undefined;
  #isBroken = false;
  #isFlushing = false;
  #wake: () => void = () => undefined;

  /** `pauseMs`: between two writes; changes in between, or shortly after the first, are written together. */
  constructor(path: string, log: Logger, pauseMs = 200) {
    this.#path = path;
    this.#log = log;
    this.#pauseMs = pauseMs;
  }

  /**
   * Reads the file. A damaged one, or one of another format, is set aside as `<path>.corrupt` and counts as none.
   * @returns the resources (perhaps none), or undefined when there is no usable file. Never rejects.
   */
  async load(): Promise<readonly KeptResource[] | undefined> {
    let text: string;
    try {
      text = await readFile(this.#path, 'utf8');
    } catch (error) {
      if (!isMissing(error))
        this.#log.error('snapshot file cannot be read', { path: this.#path, error: messageOf(error) });
      return undefined;
    }
    const parsed = parseSnapshot(text);
    if (typeof parsed !== 'string') return parsed;
    const setAside = `${this.#path}.corrupt`;
    this.#log.error('snapshot file is damaged: renamed and not used', {
      path: this.#path,
      reason: parsed,
      setAside,
    });
    await rename(this.#path, setAside).catch((error: unknown) => {
      this.#log.error('snapshot file cannot be renamed', { path: this.#path, error: messageOf(error) });
    });
    return undefined;
  }

  /**
   * Writes what `resources` gives when its turn comes; calls in the meantime are one write of the newest. Never
   * throws.
   */
  save(resources: () => readonly KeptResource[]): void {
    this.#pending = resources;
    this.#writer ??= this.#write();
  }

  /** Resolves when all that was saved is on disk, or could not be written. */
  async flush(): Promise<void> {
    this.#isFlushing = true;
    this.#wake();
    await this.#writer;
    this.#isFlushing = false;
  }

  async #write(): Promise<void> {
    await this.#pause(BEFORE_MS);
    while (this.#pending !== undefined) {
      const resources = this.#pending;
      this.#pending = undefined;
      try {
        await replaceFile(this.#path, formatSnapshot(resources()));
        this.#isBroken = false;
      } catch (error) {
        if (!this.#isBroken) {
          this.#log.error('snapshot file cannot be written', { path: this.#path, error: messageOf(error) });
        }
        this.#isBroken = true;
      }
      await this.#pause(this.#pauseMs);
    }
    this.#writer = undefined;
  }

  #pause(ms: number): Promise<void> {
    if (this.#isFlushing) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms).unref();
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** The text of a snapshot file. */
export function formatSnapshot(resources: readonly KeptResource[]): string {
  const list = JSON.stringify(resources.map(({ name, version, json, secrets }) => ({ name, version, json, secrets })));
  return `{"formatVersion":${FORMAT_VERSION},"checksum":"${checksumOf(list)}","resources":${list}}\n`;
}

/** The reverse of {@link formatSnapshot}; a string says why the text cannot be used. */
export function parseSnapshot(text: string): readonly KeptResource[] | string {
  let content: Partial<FileContent> | null;
  try {
    content = JSON.parse(text) as Partial<FileContent> | null;
  } catch {
    return 'not JSON';
  }
  if (content?.formatVersion !== FORMAT_VERSION) return `not of format ${FORMAT_VERSION}`;
  const { checksum, resources } = content;
  if (!Array.isArray(resources) || !resources.every(isKept)) return 'resources are not readable';
  if (checksum !== checksumOf(JSON.stringify(resources))) return 'the checksum does not match';
  return resources;
}

/** Puts `text` at `path` as a whole or not at all, also when the machine stops in the middle. */
async function replaceFile(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.tmp`;
  await rm(temporary, { force: true });
  try {
    await writeDurably(temporary, text);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  const folder = await open(dirname(path), 'r');
  await folder.sync().finally(() => folder.close());
}

async function writeDurably(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

function isKept(value: unknown): value is KeptResource {
  if (typeof value !== 'object' || value === null) return false;
  const { name, version, json, secrets = [] } = value as Partial<Record<keyof KeptResource, unknown>>;
  return [name, version, json].every(isText) && Array.isArray(secrets) && secrets.every(isPair);
}

function isText(value: unknown): boolean {
  return typeof value === 'string';
}

function isPair(value: unknown): boolean {
  return Array.isArray(value) && value.length === 2 && value.every(isText);
}

function checksumOf(list: string): string {
  return createHash('sha256').update(list).digest('hex');
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
