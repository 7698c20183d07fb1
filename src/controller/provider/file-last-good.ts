// Controller: the last good forms of a standalone operator. Input: forms that became good. Output: one JSON file,
// whole or not at all, read at the next start. No secret is in a form.
import { rename, writeFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import type { Logger } from '../../lib/log.ts';
import { errorCode, messageOf } from '../../lib/thrown.ts';
import type { LastGood } from '../../reconcile/types.ts';
import { MemoryLastGood } from './memory-last-good.ts';
import type { StoredObject } from '../kube/kube-types.ts';

export class FileLastGood extends MemoryLastGood {
  readonly #path: string;
  readonly #log: Logger;
  #writing: Promise<void> = Promise.resolve();
  #isPlanned = false;

  /** A file that cannot be read is said and forgotten: the present forms are good again as soon as they compile. */
  constructor(path: string, log: Logger) {
    super(readForms(path, log));
    this.#path = path;
    this.#log = log;
  }

  override save(object: StoredObject, lastGood: LastGood): void {
    super.save(object, lastGood);
    this.#plan();
  }

  override forget(object: StoredObject): void {
    super.forget(object);
    this.#plan();
  }

  override async stop(): Promise<void> {
    await this.#writing;
  }

  /** Many changes in a moment are one write, never two at a time. */
  #plan(): void {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    this.#writing = this.#writing.then(async () => {
      await new Promise((resolve) => setImmediate(resolve));
      this.#isPlanned = false;
      await this.#write();
    });
  }

  async #write(): Promise<void> {
    const temporary = `${this.#path}.tmp`;
    try {
      await writeFile(temporary, JSON.stringify(this.entries()), { mode: 0o600 });
      await rename(temporary, this.#path);
    } catch (error) {
      this.#log.error('last good forms not kept', { path: this.#path, error: messageOf(error) });
    }
  }
}

function readForms(path: string, log: Logger): [string, LastGood][] {
  try {
    const forms: unknown = JSON.parse(readFileSync(path, 'utf8'));
    return Array.isArray(forms) ? forms.filter(isForm) : [];
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') log.warn('last good forms not read', { path, error: messageOf(error) });
    return [];
  }
}

function isForm(value: unknown): value is [string, LastGood] {
  if (!Array.isArray(value) || typeof value[0] !== 'string') return false;
  const form: unknown = value[1];
  return typeof form === 'object' && form !== null && 'spec' in form && 'generation' in form;
}
