// Controller: the injection config as a file (a mounted ConfigMap). Input: its path. Output: the present settings; a
// change is loaded within seconds; an invalid one is logged, and the last good one stays in use.
import { readFile } from 'node:fs/promises';
import type { Logger } from '../../lib/log.ts';
import { messageOf } from '../../lib/thrown.ts';
import {
  InjectionConfigError,
  parseInjectionConfig,
  type InjectionConfig,
} from '../../reconcile/injection/settings.ts';

/** A mounted ConfigMap changes by a link being replaced, of which no file system event can be relied on. */
const LOOK_EVERY_MS = 2_000;

export class InjectionConfigFile {
  readonly #path: string;
  readonly #log: Logger;
  #text = '';
  #config: InjectionConfig | undefined;
  #trouble = '';
  #timer: NodeJS.Timeout | undefined;

  constructor(path: string, log: Logger) {
    this.#path = path;
    this.#log = log;
  }

  /** Reads it and begins to follow it. @throws InjectionConfigError naming the file and what is wrong */
  async start(everyMs = LOOK_EVERY_MS): Promise<void> {
    try {
      this.#take(await readFile(this.#path, 'utf8'));
    } catch (error) {
      throw new InjectionConfigError(`injection config ${this.#path}: ${messageOf(error)}`, { cause: error });
    }
    this.#timer = setInterval(() => {
      void this.#look();
    }, everyMs);
  }

  /** Only to be asked once it was started. */
  current(): InjectionConfig {
    if (this.#config === undefined) throw new Error('the injection config has not been read yet');
    return this.#config;
  }

  /** Whether the file holds something else than what is in use. */
  get isFaulty(): boolean {
    return this.#trouble !== '';
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    try {
      const text = await readFile(this.#path, 'utf8');
      if (text !== this.#text) {
        this.#take(text);
        this.#log.info('injection config loaded', { file: this.#path });
      }
      this.#trouble = '';
    } catch (error) {
      const trouble = messageOf(error);
      if (trouble !== this.#trouble) {
        this.#log.error('injection config is invalid, the last good one stays in use', { file: this.#path, trouble });
      }
      this.#trouble = trouble;
    }
  }

  #take(text: string): void {
    this.#config = parseInjectionConfig(text);
    this.#text = text;
  }
}
