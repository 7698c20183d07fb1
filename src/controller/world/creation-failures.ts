// Controller: why pods are not there. Input: the Events FailedCreate of what makes pods, and those makers. Output: by
// the labels that the pods would have had, the maker and the API server's words.
import type { Logger } from '../../lib/log.ts';
import type { Kube } from '../kube/kube-api.ts';
import { hasStatus } from '../kube/kube-api.ts';
import { pickMeta, RESOURCES, type CoreEvent, type Pod, type ResourceType, type Workload } from '../kube/kube-types.ts';
import type { Feed } from '../kube/object-feed.ts';
import { DONE, WorkQueue, type WorkOutcome } from '../kube/work-queue.ts';
import { selects } from '../push/visibility.ts';

/** Of all Events those that say that a pod could not be made. */
export const FAILED_CREATE = 'reason=FailedCreate';

export interface CreationFailure {
  /** `ReplicaSet chat-7d4b`. */
  readonly maker: string;
  /** What the API server said. */
  readonly words: string;
}

interface Maker {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly failure: CreationFailure;
  /** When it failed last, RFC 3339 in whole seconds. */
  readonly at: string;
}

export interface CreationFailuresSettings {
  readonly events: Feed<CoreEvent>;
  /** Absent: there is no cluster. */
  readonly kube: Pick<Kube, 'get'> | undefined;
  readonly log: Logger;
  /** Called when something else is known of pods with these labels. */
  readonly onChange: (namespace: string, labels: Readonly<Record<string, string>>) => void;
}

const MAKERS: Readonly<Record<string, ResourceType>> = {
  ReplicaSet: RESOURCES.replicaSets,
  StatefulSet: RESOURCES.statefulSets,
  DaemonSet: RESOURCES.daemonSets,
  Job: RESOURCES.jobs,
};
const MOST_MAKERS = 500;
const LONGEST_WORDS = 1000;
/** An Event stays for an hour; its maker may want no pods any more, or be gone. */
const LOOK_AGAIN_MS = 60_000;

export class CreationFailures {
  readonly #settings: CreationFailuresSettings;
  /** By `<namespace>/<kind>/<name>`. */
  readonly #makers = new Map<string, Maker>();
  readonly #events = new Map<string, CoreEvent>();
  readonly #queue: WorkQueue;

  /** To be made before the feed is started. */
  constructor(settings: CreationFailuresSettings) {
    this.#settings = settings;
    const { log, events } = settings;
    this.#queue = new WorkQueue({ name: 'creation failures', workers: 1, log, work: (key) => this.#work(key) });
    events.onChange(({ before, after }) => {
      const key = keyOf(after ?? before);
      if (key === undefined) return;
      if (after !== undefined && !isOlder(after, this.#events.get(key))) this.#events.set(key, after);
      if (after === undefined && this.#events.get(key)?.metadata.name === before?.metadata.name)
        this.#events.delete(key);
      this.#queue.add(key);
    });
  }

  start(): void {
    this.#queue.start();
  }

  async stop(): Promise<void> {
    await this.#queue.stop();
  }

  /**
   * Why what would make selected pods cannot; of several the one that failed last. A pod of the same maker that was
   * made since says that it can again. `podsOf`: the pods with all of these labels.
   */
  of(
    namespace: string,
    matchLabels: Readonly<Record<string, string>>,
    podsOf: (labels: Readonly<Record<string, string>>) => readonly Pod[],
  ): CreationFailure | undefined {
    let last: Maker | undefined;
    for (const maker of this.#makers.values()) {
      if (maker.namespace !== namespace || !selects(matchLabels, maker.labels)) continue;
      const isOver = podsOf(maker.labels).some(({ metadata }) => (metadata.creationTimestamp ?? '') > maker.at);
      if (!isOver && (last === undefined || last.at < maker.at)) last = maker;
    }
    return last?.failure;
  }

  async #work(key: string): Promise<WorkOutcome> {
    const event = this.#events.get(key);
    const maker = event === undefined ? undefined : await this.#find(key, event);
    this.#keep(key, maker);
    return maker === undefined ? DONE : { kind: 'again', afterMs: LOOK_AGAIN_MS };
  }

  #keep(key: string, maker: Maker | undefined): void {
    const before = this.#makers.get(key);
    this.#makers.delete(key);
    if (maker !== undefined) this.#makers.set(key, maker);
    const [oldest] = this.#makers.keys();
    if (this.#makers.size > MOST_MAKERS && oldest !== undefined) this.#makers.delete(oldest);
    const changed = maker ?? before;
    if (changed !== undefined && JSON.stringify(before) !== JSON.stringify(maker)) {
      this.#settings.onChange(changed.namespace, changed.labels);
    }
  }

  /** undefined: it is gone or wants no pods, or may not be read. */
  async #find(key: string, event: CoreEvent): Promise<Maker | undefined> {
    const [namespace = '', kind = '', name = ''] = key.split('/');
    const { kube } = this.#settings;
    const type = MAKERS[kind];
    if (kube === undefined || type === undefined) return undefined;
    const workload = await kube.get<Workload>(type, namespace, name).catch(absentWhenRefused);
    if (workload === undefined || wishOf(workload) === 0) return undefined;
    const labels = labelsOf(workload);
    return { namespace, labels, failure: { maker: `${kind} ${name}`, words: wordsOf(event) }, at: timeOf(event) };
  }
}

/** Of the pods that it makes. */
function labelsOf({ spec }: Workload): Readonly<Record<string, string>> {
  return spec?.template?.metadata?.labels ?? {};
}

/** How many pods it wants. */
function wishOf({ spec }: Workload): number {
  return spec?.replicas ?? spec?.parallelism ?? 1;
}

function absentWhenRefused(error: unknown): undefined {
  if (!hasStatus(error, 403, 404)) throw error;
}

/** Without the name of the pod, which is another each time: the same failure has the same words. */
export function wordsOf({ message = '' }: CoreEvent): string {
  return message
    .replace(/^.*?pods? "[^"]*" is forbidden: /s, '')
    .replace(/^Error creating: /, '')
    .slice(0, LONGEST_WORDS);
}

export function timeOf({ series, lastTimestamp, eventTime, metadata }: CoreEvent): string {
  const time = series?.lastObservedTime ?? lastTimestamp ?? eventTime ?? metadata.creationTimestamp ?? '';
  return time.replace(/\.\d+Z$/, 'Z');
}

function isOlder(event: CoreEvent, than: CoreEvent | undefined): boolean {
  return than !== undefined && timeOf(event) < timeOf(than);
}

function keyOf(event: CoreEvent | undefined): string | undefined {
  const { kind, name, namespace } = event?.involvedObject ?? {};
  if (kind === undefined || !Object.hasOwn(MAKERS, kind) || name === undefined || namespace === undefined)
    return undefined;
  return `${namespace}/${kind}/${name}`;
}

/** What the operator keeps of one. */
export function trimEvent({ metadata, involvedObject, message, ...event }: CoreEvent): CoreEvent {
  return {
    metadata: pickMeta(metadata, 'namespace', 'uid', 'resourceVersion'),
    ...(involvedObject === undefined ? {} : { involvedObject: pickInvolved(involvedObject) }),
    ...(message === undefined ? {} : { message: message.slice(0, 2 * LONGEST_WORDS) }),
    lastTimestamp: timeOf({ metadata, ...event }),
  };
}

function pickInvolved({
  kind,
  name,
  namespace,
}: NonNullable<CoreEvent['involvedObject']>): CoreEvent['involvedObject'] & object {
  return {
    ...(kind === undefined ? {} : { kind }),
    ...(name === undefined ? {} : { name }),
    ...(namespace === undefined ? {} : { namespace }),
  };
}
