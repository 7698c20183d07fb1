// Controller: the Secrets that objects name, each followed by its name alone, because no right reaches further.
// Input: names, and what the API server answers, a refusal included. Output: what is known of each, and who must hear
// when that changes.
import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from '../../lib/log.ts';
import { messageOf } from '../../lib/thrown.ts';
import { CREDENTIAL_LABEL, USUAL_ACCOUNT } from '../../contract/names.ts';
import type { SecretFacts, SecretValue } from '../../reconcile/types.ts';
import { Informer, type InformerTiming } from '../kube/informer.ts';
import {
  hasStatus,
  KubeError,
  type Kube,
  type ListOptions,
  type ListPage,
  type WatchOptions,
} from '../kube/kube-api.ts';
import { pickMeta, RESOURCES, type KubeObject, type ResourceType, type Secret } from '../kube/kube-types.ts';
import type { SecretReader } from '../provider/provider.ts';
import { ReverseIndex } from '../kube/reverse-index.ts';

export interface SecretWatcherSettings {
  readonly kube: Pick<Kube, 'list' | 'watch'>;
  readonly log: Logger;
  readonly timing?: Partial<InformerTiming>;
  /** Secrets beyond these, and those that may be listed and not watched, are read again and again instead. */
  readonly mostWatches?: number;
  readonly pollMs?: number;
}

/** A refusal is asked about again after half a second, then more and more rarely: someone may grant the right. */
const TIMING: Partial<InformerTiming> = { baseBackoffMs: 500, maxBackoffMs: 15_000 };
const MOST_WATCHES = 1_000;
const POLL_MS = 30_000;
/** Secrets that are read at once. */
const MOST_LISTS = 16;
/** Beyond so many refusals each waits longer: all of them together ask 50 times per second. */
const MANY_REFUSALS = 200;
const PAUSE_PER_REFUSAL_MS = 20;

/** For an operator without a cluster. */
export const NO_SECRETS: SecretReader = {
  want: () => undefined,
  forget: () => undefined,
  factsOf: () => ({ state: 'absent', keys: new Set(), values: new Map() }),
  isKnown: () => true,
  whenKnown: () => Promise.resolve(),
  onChange: () => undefined,
};

const UNKNOWN: SecretFacts = { state: 'unknown', keys: new Set(), values: new Map() };

interface Followed {
  readonly informer: Informer<Secret>;
  /** Resolves with the first answer. */
  readonly heard: PromiseWithResolvers<undefined>;
  facts: SecretFacts;
}

/** One list and one watch per Secret that is named, however many objects name it. */
export class SecretWatcher implements SecretReader {
  readonly #settings: SecretWatcherSettings;
  readonly #kube: BoundedKube;
  readonly #wanted = new ReverseIndex();
  readonly #followed = new Map<string, Followed>();
  readonly #listeners: ((objects: Iterable<string>) => void)[] = [];
  readonly #stops = new Set<Promise<void>>();
  #failures = 0;

  constructor(settings: SecretWatcherSettings) {
    this.#settings = settings;
    this.#kube = new BoundedKube(settings, () => this.#refused());
  }

  want(object: string, secrets: readonly string[]): void {
    const before = this.#wanted.keysOf(object);
    if (!this.#wanted.set(object, secrets)) return;
    for (const key of secrets) if (!this.#followed.has(key)) this.#follow(key);
    for (const key of before) if (this.#wanted.namesOf(key).size === 0) this.#leave(key);
  }

  forget(object: string): void {
    this.want(object, []);
  }

  factsOf(namespace: string, name: string): SecretFacts {
    return this.#followed.get(`${namespace}/${name}`)?.facts ?? UNKNOWN;
  }

  isKnown(object: string): boolean {
    return this.#wanted.keysOf(object).every((key) => this.#followed.get(key)?.facts.state !== 'unknown');
  }

  async whenKnown(): Promise<void> {
    await Promise.all([...this.#followed.values()].map(({ heard }) => heard.promise));
  }

  onChange(listener: (objects: Iterable<string>) => void): void {
    this.#listeners.push(listener);
  }

  /** For metrics. */
  stats(): { readonly failures: number; readonly handlerErrors: number; readonly size: number } {
    return { failures: this.#failures, handlerErrors: 0, size: this.#followed.size };
  }

  async stop(): Promise<void> {
    for (const key of [...this.#followed.keys()]) this.#leave(key);
    await Promise.all(this.#stops);
  }

  #refused(): number {
    return [...this.#followed.values()].filter(({ facts }) => facts.state === 'forbidden').length;
  }

  #follow(key: string): void {
    const [namespace = '', name = ''] = key.split('/');
    const informer = new Informer<Secret>({
      kube: this.#kube,
      type: RESOURCES.secrets,
      namespaces: [namespace],
      fieldSelector: `metadata.name=${name}`,
      trim: trimSecret,
      log: this.#settings.log,
      timing: { ...TIMING, ...this.#settings.timing },
      onListed: () => {
        this.#learn(key, factsIn(informer.get(key), this.#valuesOf(key)));
      },
      onFailure: (error) => {
        this.#failed(key, error);
      },
    });
    informer.onChange(({ after }) => {
      this.#learn(key, factsIn(after, this.#valuesOf(key)));
    });
    this.#followed.set(key, { informer, heard: Promise.withResolvers(), facts: UNKNOWN });
    informer.start();
  }

  #leave(key: string): void {
    const followed = this.#followed.get(key);
    if (followed === undefined) return;
    this.#followed.delete(key);
    followed.heard.resolve(undefined);
    const stop = followed.informer.stop().finally(() => this.#stops.delete(stop));
    this.#stops.add(stop);
  }

  #valuesOf(key: string): SecretFacts['values'] {
    return this.#followed.get(key)?.facts.values ?? UNKNOWN.values;
  }

  #failed(key: string, error: unknown): void {
    this.#failures++;
    if (hasStatus(error, 410)) return;
    if (!hasStatus(error, 403)) {
      this.#settings.log.warn('secret cannot be read', { secret: key, error: messageOf(error) });
      return;
    }
    const account = accountIn(messageOf(error));
    const refusal = { state: 'forbidden', keys: new Set<string>(), values: this.#valuesOf(key) } as const;
    this.#learn(key, account === undefined ? refusal : { ...refusal, account });
  }

  #learn(key: string, facts: SecretFacts): void {
    const followed = this.#followed.get(key);
    if (followed === undefined) return;
    const isNews = !isSame(followed.facts, facts);
    followed.facts = facts;
    followed.heard.resolve(undefined);
    if (!isNews) return;
    this.#settings.log.info('secret', { secret: key, state: facts.state });
    for (const listener of this.#listeners) listener(this.#wanted.namesOf(key));
  }
}

/**
 * Lists in turn, not all at once; watches up to a number; beyond it, or where a watch is refused, lists again after a
 * while.
 */
class BoundedKube implements Pick<Kube, 'list' | 'watch'> {
  readonly #settings: SecretWatcherSettings;
  readonly #refused: () => number;
  readonly #waiting: (() => void)[] = [];
  #lists = 0;
  #watches = 0;

  constructor(settings: SecretWatcherSettings, refused: () => number) {
    this.#settings = settings;
    this.#refused = refused;
  }

  async list<T extends KubeObject>(type: ResourceType, options: ListOptions = {}): Promise<ListPage<T>> {
    const refused = this.#refused() - MANY_REFUSALS;
    if (refused > 0) await pause(refused * PAUSE_PER_REFUSAL_MS, undefined, { signal: options.signal });
    if (this.#lists >= MOST_LISTS) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#lists++;
    try {
      return await this.#settings.kube.list<T>(type, options);
    } finally {
      this.#lists--;
      this.#waiting.shift()?.();
    }
  }

  async *watch<T extends KubeObject>(type: ResourceType, options: WatchOptions) {
    const { kube, mostWatches = MOST_WATCHES, pollMs = POLL_MS } = this.#settings;
    if (this.#watches < mostWatches) {
      this.#watches++;
      try {
        yield* kube.watch<T>(type, options);
        return;
      } catch (error) {
        if (!hasStatus(error, 403)) throw error;
      } finally {
        this.#watches--;
      }
    }
    await pause(pollMs * (1 - Math.random() / 2), undefined, { signal: options.signal });
    throw new KubeError(410, 'Expired', 'to be listed again');
  }
}

/** What is kept of a Secret: of an unlabelled one nothing but that it is there. */
function trimSecret({ metadata, data = {} }: Secret): Secret {
  const read = pickMeta(metadata, 'namespace', 'uid', 'resourceVersion', 'labels');
  return isLabelled(metadata) ? { metadata: read, data } : { metadata: read };
}

function isLabelled({ labels = {} }: Secret['metadata']): boolean {
  return labels[CREDENTIAL_LABEL] === 'true';
}

/** `before`: values that were handed out. They stay when the Secret or a key goes, and go when the label goes. */
function factsIn(secret: Secret | undefined, before: SecretFacts['values']): SecretFacts {
  if (secret === undefined) return { state: 'missing', keys: new Set(), values: before };
  if (!isLabelled(secret.metadata)) return { state: 'unlabelled', keys: new Set(), values: new Map() };
  const { uid = '', resourceVersion = '' } = secret.metadata;
  const now = Object.entries(secret.data ?? {})
    .map(([key, text]) => [key, { uid, resourceVersion, value: decoded(text) }] as const)
    .filter(([, { value }]) => value !== '');
  return { state: 'found', keys: new Set(now.map(([key]) => key)), values: new Map([...before, ...now]) };
}

/** Without the line end that most ways to make a Secret from a file leave in it. */
function decoded(base64: string): string {
  return Buffer.from(base64, 'base64')
    .toString('utf8')
    .replace(/(\r?\n)+$/, '');
}

function isSame(a: SecretFacts, b: SecretFacts): boolean {
  if (a.state !== b.state || a.account !== b.account || a.keys.size !== b.keys.size) return false;
  if (a.values.size !== b.values.size) return false;
  return [...b.values].every(
    ([key, value]) => isSameValue(a.values.get(key), value) && a.keys.has(key) === b.keys.has(key),
  );
}

function isSameValue(a: SecretValue | undefined, b: SecretValue): boolean {
  return a?.uid === b.uid && a.resourceVersion === b.resourceVersion;
}

/**
 * The account that the API server refuses, when it is not the usual one: `User "system:serviceaccount:ns:name" cannot
 * …`.
 */
function accountIn(message: string): string | undefined {
  const match = /User "system:serviceaccount:([^":]+):([^":]+)"/.exec(message);
  const account = match === null ? undefined : `${match[1] ?? ''}/${match[2] ?? ''}`;
  return account === USUAL_ACCOUNT ? undefined : account;
}
