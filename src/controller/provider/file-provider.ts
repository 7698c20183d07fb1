// Controller: a folder as the source of objects (standalone). Input: manifests, watched. Output: the same feeds as a
// cluster gives, with UIDs and generations of our own; statuses are kept, printed and served.
import { watch, type FSWatcher } from 'node:fs';
import type { ObjectKind } from '../../contract/limiter-config.ts';
import { canonicalJson } from '../../contract/snapshot.ts';
import { byKind, KINDS } from '../../crd/kinds/kinds.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import { messageOf } from '../../lib/thrown.ts';
import type { ObjectStatus } from '../../reconcile/types.ts';
import { createStaticAuthenticator, type Authenticator } from '../push/authenticator.ts';
import { FileLastGood } from './file-last-good.ts';
import {
  objectKey,
  type CoreEvent,
  type EndpointSlice,
  type KubeObject,
  type Pod,
  type Service,
  type StoredObject,
} from '../kube/kube-types.ts';
import { MemoryLastGood } from './memory-last-good.ts';
import { ManifestFolder, stableUid, type Manifest, type ManifestProblem } from './manifest-folder.ts';
import { ObjectFeed } from '../kube/object-feed.ts';
import { objectsOf, type Provider, type SecretReader, type StatusSink, type WriteResult } from './provider.ts';
import { NO_SECRETS } from '../credentials/secret-watcher.ts';

export interface FileSettings {
  readonly folder: string;
  /** What limiters must bring. */
  readonly token: string;
  readonly log: Logger;
  /** Where last good forms survive a restart; absent: they do not. Its folder must be there. */
  readonly lastGoodFile?: string | undefined;
  /** One line for people on each change of a status or of what is wrong with the manifests. */
  readonly print?: ((line: string) => void) | undefined;
  /** A change is read when the folder has been still for this long, ms: editors write in several steps. */
  readonly stillMs?: number;
  /** Folders that tell nothing of their changes (network, mounted volumes) are looked at this often, ms. */
  readonly pollMs?: number;
  /** How long a file has been missing. */
  readonly clock?: Clock | undefined;
}

/** What `/status` shows. */
export interface StatusReport {
  readonly objects: readonly {
    readonly kind: string;
    readonly namespace: string;
    readonly name: string;
    readonly generation: number;
    readonly status: unknown;
  }[];
  readonly problems: readonly ManifestProblem[];
}

export class FileProvider implements Provider, StatusSink {
  readonly objects: Readonly<Record<ObjectKind, ObjectFeed<StoredObject>>>;
  readonly services: ObjectFeed<Service>;
  readonly pods: ObjectFeed<Pod>;
  readonly creationEvents: ObjectFeed<CoreEvent>;
  readonly namespaces: ObjectFeed<KubeObject>;
  readonly endpointSlices: ObjectFeed<EndpointSlice>;
  readonly secrets: SecretReader = NO_SECRETS;
  readonly lastGood: MemoryLastGood;
  readonly statusSink: StatusSink = this;
  readonly authenticate: Authenticator;
  readonly #settings: FileSettings;
  readonly #folder: ManifestFolder;
  #version = 0;
  #watcher: FSWatcher | undefined;
  #poll: NodeJS.Timeout | undefined;
  #debounce: NodeJS.Timeout | undefined;
  #reading: Promise<void> = Promise.resolve();
  #told = '';
  #isStopped = false;
  readonly #first = Promise.withResolvers<undefined>();

  constructor(settings: FileSettings) {
    const { log, folder, token } = settings;
    this.#settings = settings;
    this.#folder = new ManifestFolder(folder, settings.clock);
    this.objects = byKind(({ plural }) => new ObjectFeed<StoredObject>({ name: plural, log }));
    this.services = new ObjectFeed({ name: 'services', log });
    this.pods = new ObjectFeed({ name: 'pods', log });
    this.creationEvents = new ObjectFeed({ name: 'events', log });
    this.namespaces = new ObjectFeed({ name: 'namespaces', log });
    this.endpointSlices = new ObjectFeed({ name: 'endpointslices', log });
    this.authenticate = createStaticAuthenticator(token);
    const { lastGoodFile } = settings;
    this.lastGood = lastGoodFile === undefined ? new MemoryLastGood() : new FileLastGood(lastGoodFile, log);
  }

  start(): void {
    this.#reading = this.#begin();
  }

  /** Rejects with ManifestFolderError when the folder cannot be read at the start. */
  async whenReady(): Promise<void> {
    await this.#first.promise;
  }

  isReady(): boolean {
    return Object.values(this.objects).every(({ hasSynced }) => hasSynced);
  }

  waitsFor(): string[] {
    return this.isReady() ? [] : ['the folder of manifests'];
  }

  depths(): Record<string, number> {
    return {};
  }

  stats(): Record<string, { failures: number; handlerErrors: number; size: number }> {
    return Object.fromEntries(
      KINDS.map(({ kind, plural }) => {
        const { size, handlerErrors } = this.objects[kind];
        return [plural, { failures: 0, handlerErrors, size }];
      }),
    );
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#watcher?.close();
    clearInterval(this.#poll);
    clearTimeout(this.#debounce);
    await this.#reading;
    await this.lastGood.stop();
    const { objects, services, pods, namespaces, endpointSlices, creationEvents } = this;
    const feeds = [...Object.values(objects), services, pods, namespaces, endpointSlices, creationEvents];
    for (const feed of feeds) await feed.stop();
  }

  write(object: StoredObject, status: ObjectStatus): Promise<WriteResult> {
    const feed = this.objects[object.kind];
    const present = feed.get(objectKey(object));
    if (present === undefined) return Promise.resolve('gone');
    if (present.metadata.resourceVersion !== object.metadata.resourceVersion) return Promise.resolve('outdated');
    feed.replaceSilently({
      ...present,
      metadata: { ...present.metadata, resourceVersion: this.#nextVersion() },
      status,
    });
    this.#settings.print?.(lineOf(object, status));
    return Promise.resolve('written');
  }

  /** Events are for clusters: here the printed lines tell. */
  tell(): void {
    return;
  }

  statuses(): StatusReport {
    const objects = objectsOf(this).map(({ kind, metadata, status }) => {
      const { namespace, name, generation = 0 } = metadata;
      return { kind, namespace, name, generation, status: status ?? null };
    });
    return { objects, problems: this.#folder.problems() };
  }

  async #begin(): Promise<void> {
    try {
      await this.#folder.refresh();
    } catch (error) {
      this.#first.reject(error instanceof Error ? error : new Error(messageOf(error)));
      return;
    }
    this.#apply();
    this.lastGood.keepOnly(new Set(objectsOf(this).map(({ metadata }) => metadata.uid ?? '')));
    for (const feed of [...Object.values(this.objects), this.services, this.pods]) feed.hasSynced = true;
    this.#first.resolve(undefined);
    if (!this.#isStopped) this.#follow();
  }

  #follow(): void {
    const { folder, pollMs = 2000, log } = this.#settings;
    try {
      this.#watcher = watch(folder, { recursive: true }, () => {
        this.#touch();
      });
      this.#watcher.on('error', (error) => {
        log.warn('folder watch failed, polling continues', { folder, error: messageOf(error) });
        this.#watcher?.close();
      });
    } catch (error) {
      log.warn('folder cannot be watched, polling instead', { folder, error: messageOf(error) });
    }
    this.#poll = setInterval(() => {
      this.#read();
    }, pollMs);
  }

  #touch(): void {
    clearTimeout(this.#debounce);
    if (this.#isStopped) return;
    this.#debounce = setTimeout(() => {
      this.#read();
    }, this.#settings.stillMs ?? 100);
  }

  #read(): void {
    this.#reading = this.#reading.then(async () => {
      if (this.#isStopped) return;
      try {
        if (await this.#folder.refresh()) this.#apply();
        if (this.#folder.waitsForFiles) this.#touch();
      } catch (error) {
        this.#settings.log.error('manifests cannot be read, the last ones stay in use', { error: messageOf(error) });
      }
    });
  }

  #apply(): void {
    const manifests = this.#folder.manifests();
    const present = new Set<string>();
    for (const manifest of manifests.values()) {
      const { kind, metadata } = manifest.object;
      present.add(`${kind}/${manifest.namespace}/${metadata.name}`);
      this.#put(manifest);
    }
    for (const feed of Object.values(this.objects)) {
      for (const object of [...feed.values()]) {
        if (!present.has(`${object.kind}/${objectKey(object)}`)) feed.set(objectKey(object), undefined);
      }
    }
    this.#tellProblems();
  }

  #put({ object, namespace }: Manifest): void {
    const { kind, apiVersion, spec, metadata } = object;
    const key = `${namespace}/${metadata.name}`;
    const feed = this.objects[kind];
    const before = feed.get(key);
    const labels = metadata.labels ?? {};
    const isSameSpec = canonicalJson(before?.spec) === canonicalJson(spec);
    if (isSameSpec && canonicalJson(before?.metadata.labels) === canonicalJson(labels)) return;
    const identity = { name: metadata.name, namespace, uid: stableUid(`${kind}/${key}`), labels };
    const generation =
      before === undefined ? this.#firstGeneration(identity.uid, spec) : generationOf(before) + (isSameSpec ? 0 : 1);
    feed.set(key, {
      apiVersion,
      kind,
      metadata: { ...identity, generation, resourceVersion: this.#nextVersion() },
      spec,
      ...(before?.status === undefined ? {} : { status: before.status }),
    });
  }

  /** After a restart: that of the last good form when the spec is still the same, else one more. */
  #firstGeneration(uid: string, spec: unknown): number {
    const lastGood = this.lastGood.get(uid);
    if (lastGood === undefined) return 1;
    return lastGood.generation + (canonicalJson(lastGood.spec) === canonicalJson(spec) ? 0 : 1);
  }

  #tellProblems(): void {
    const problems = this.#folder.problems();
    const text = canonicalJson(problems);
    if (text === this.#told) return;
    this.#told = text;
    for (const { file, line, path, message } of problems) {
      this.#settings.log.error('manifest rejected, its last good version stays in use', {
        at: `${file}:${line ?? 1}`,
        path,
        error: message,
      });
      this.#settings.print?.(`${file}:${line ?? 1}: ${path === '' ? '' : `${path}: `}${message}`);
    }
  }

  #nextVersion(): string {
    this.#version += 1;
    return String(this.#version);
  }
}

function generationOf(object: StoredObject | undefined): number {
  return object?.metadata.generation ?? 0;
}

/** `<kind> default/chat generation 2: Ready 1/1` or the reason and message when it is not. */
function lineOf({ kind, metadata }: StoredObject, { conditions, limiters }: ObjectStatus): string {
  const ready = conditions.find(({ type }) => type === 'Ready');
  const state = ready?.status === 'True' ? 'Ready' : `${ready?.reason ?? 'Unknown'}: ${ready?.message ?? ''}`;
  return `${kind} ${objectKey({ metadata })} generation ${generationOf({ kind, metadata })}: ${state} (${limiters.summary} limiters)`;
}
