// Controller: which namespace is meant by a name. Input: names of namespaces that have objects. Output: their UIDs,
// looked at again now and then: one that was deleted and made again is another.
import type { Logger } from '../../lib/log.ts';
import { hasStatus, type Kube } from '../kube/kube-api.ts';
import { RESOURCES, type KubeObject } from '../kube/kube-types.ts';
import { DONE, WorkQueue, type WorkOutcome } from '../kube/work-queue.ts';

const AGAIN_MS = 60_000;
const MISSING_AGAIN_MS = 2_000;

export class NamespaceUids {
  readonly #kube: Pick<Kube, 'get'>;
  readonly #uids = new Map<string, { uid?: string; readonly heard: PromiseWithResolvers<undefined> }>();
  readonly #listeners: ((namespace: string) => void)[] = [];
  readonly #queue: WorkQueue;

  constructor(kube: Pick<Kube, 'get'>, log: Logger) {
    this.#kube = kube;
    this.#queue = new WorkQueue({ name: 'namespaces', workers: 8, log, work: (name) => this.#look(name) });
    this.#queue.start();
  }

  want(namespace: string): void {
    if (this.#uids.has(namespace)) return;
    this.#uids.set(namespace, { heard: Promise.withResolvers() });
    this.#queue.add(namespace);
  }

  forget(namespace: string): void {
    this.#uids.get(namespace)?.heard.resolve(undefined);
    this.#uids.delete(namespace);
  }

  uidOf(namespace: string): string | undefined {
    return this.#uids.get(namespace)?.uid;
  }

  onChange(listener: (namespace: string) => void): void {
    this.#listeners.push(listener);
  }

  /** Resolves when the API server has answered for every namespace that is wanted now. */
  async whenKnown(): Promise<void> {
    await Promise.all([...this.#uids.values()].map(({ heard }) => heard.promise));
  }

  async stop(): Promise<void> {
    for (const { heard } of this.#uids.values()) heard.resolve(undefined);
    await this.#queue.stop();
  }

  async #look(namespace: string): Promise<WorkOutcome> {
    if (!this.#uids.has(namespace)) return DONE;
    const uid = await this.#ask(namespace);
    const known = this.#uids.get(namespace);
    if (known === undefined) return DONE;
    const isNews = uid !== undefined && known.uid !== uid;
    if (uid !== undefined) known.uid = uid;
    known.heard.resolve(undefined);
    if (isNews) for (const listener of this.#listeners) listener(namespace);
    return { kind: 'again', afterMs: uid === undefined ? MISSING_AGAIN_MS : AGAIN_MS };
  }

  /** Undefined: the namespace does not exist. */
  async #ask(namespace: string): Promise<string | undefined> {
    try {
      return (await this.#kube.get<KubeObject>(RESOURCES.namespaces, undefined, namespace)).metadata.uid;
    } catch (error) {
      if (hasStatus(error, 404)) return undefined;
      throw error;
    }
  }
}
