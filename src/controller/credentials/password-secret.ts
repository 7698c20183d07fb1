// Controller: the password of a Redis that belongs to this release. Input: a Secret of the operator's own namespace,
// as it is watched. Output: the password in it; the Secret is created with a random one when it is missing, so that
// no manifest has to hold it.
import { randomBytes } from 'node:crypto';
import type { Logger } from '../../lib/log.ts';
import { Informer } from '../kube/informer.ts';
import { hasStatus, type Kube } from '../kube/kube-api.ts';
import { pickMeta, RESOURCES, type Secret } from '../kube/kube-types.ts';
import { PART_OF_WEIR } from '../kube/own-labels.ts';
import { DONE, WorkQueue, type WorkOutcome } from '../kube/work-queue.ts';

export interface PasswordSecretSettings {
  readonly kube: Pick<Kube, 'list' | 'watch' | 'create'>;
  readonly namespace: string;
  readonly name: string;
  readonly log: Logger;
}

const KEY = 'password';
const PASSWORD_BYTES = 32;
/** After a create that lost against another operator's; the watch brings what won. */
const CONFLICT_MS = 200;

export class PasswordSecret {
  readonly #settings: PasswordSecretSettings;
  readonly #informer: Informer<Secret>;
  readonly #queue: WorkQueue;
  readonly #found = Promise.withResolvers<undefined>();
  readonly #listeners: ((password: string) => void)[] = [];
  /** The last that was read: a Secret that was deleted is created again with it. */
  #password: string | undefined;

  constructor(settings: PasswordSecretSettings) {
    this.#settings = settings;
    const { kube, namespace, name, log } = settings;
    this.#informer = new Informer({
      kube,
      type: RESOURCES.secrets,
      namespaces: [namespace],
      fieldSelector: `metadata.name=${name}`,
      trim: ({ metadata, data = {} }) => ({
        metadata: pickMeta(metadata, 'namespace', 'uid', 'resourceVersion'),
        data,
      }),
      log,
    });
    this.#queue = new WorkQueue({ name: 'redis password', workers: 1, log, work: () => this.#createIfMissing() });
    this.#informer.onChange(({ after }) => {
      if (after === undefined) this.#queue.add(KEY);
      else this.#read(after);
    });
  }

  /** Calls `listener` with each new password, the first one included. */
  onChange(listener: (password: string) => void): void {
    this.#listeners.push(listener);
  }

  /** Resolves when a password is known; a Secret without one is waited for. */
  async start(): Promise<void> {
    this.#informer.start();
    await this.#informer.whenSynced();
    this.#queue.start();
    this.#queue.add(KEY);
    await this.#found.promise;
  }

  async stop(): Promise<void> {
    this.#found.resolve(undefined);
    await this.#queue.stop();
    await this.#informer.stop();
  }

  #read({ data = {} }: Secret): void {
    const { namespace, name, log } = this.#settings;
    const password = Buffer.from(data[KEY] ?? '', 'base64')
      .toString('utf8')
      .replace(/(\r?\n)+$/, '');
    if (password === '') {
      log.error('redis password refused: the key "password" is missing or empty', { secret: `${namespace}/${name}` });
      return;
    }
    if (password === this.#password) return;
    this.#password = password;
    this.#found.resolve(undefined);
    for (const listener of this.#listeners) listener(password);
  }

  async #createIfMissing(): Promise<WorkOutcome> {
    const { kube, namespace, name, log } = this.#settings;
    if (this.#informer.get(`${namespace}/${name}`) !== undefined) return DONE;
    const password = this.#password ?? randomBytes(PASSWORD_BYTES).toString('base64url');
    const body: Secret = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name, namespace, labels: PART_OF_WEIR },
      type: 'Opaque',
      data: { [KEY]: Buffer.from(password).toString('base64') },
    };
    try {
      this.#informer.accept(await kube.create(RESOURCES.secrets, namespace, body));
      log.info('redis password created', { secret: `${namespace}/${name}` });
      return DONE;
    } catch (error) {
      if (!hasStatus(error, 409)) throw error;
      return { kind: 'again', afterMs: CONFLICT_MS };
    }
  }
}
