// Controller: how limiters find the leader. Input: whether this process leads. Output: the label that the Service for
// limiters selects, on the pod of the leader and on no other pod.
import type { Logger } from '../../lib/log.ts';
import { hasStatus, type Kube } from '../kube/kube-api.ts';
import { RESOURCES, type Pod } from '../kube/kube-types.ts';
import { DONE, WorkQueue, type WorkOutcome } from '../kube/work-queue.ts';

export const LEADER_LABEL = 'weir.dev/leader';

export interface LeaderLabelSettings {
  /** Not fenced: a label of its own can be taken off at any time. */
  readonly kube: Pick<Kube, 'list' | 'patch'>;
  /** Sends only while the lease is held. */
  readonly fenced: Pick<Kube, 'patch'>;
  readonly namespace: string;
  readonly podName: string;
  readonly isLeader: () => boolean;
  readonly log: Logger;
}

export class LeaderLabel {
  readonly #settings: LeaderLabelSettings;
  readonly #queue: WorkQueue;

  constructor(settings: LeaderLabelSettings) {
    this.#settings = settings;
    const { log } = settings;
    const work = (): Promise<WorkOutcome> => this.#makeTrue();
    this.#queue = new WorkQueue({
      name: 'leader label',
      workers: 1,
      log,
      baseBackoffMs: 100,
      maxBackoffMs: 2000,
      work,
    });
  }

  /** Also takes off what an earlier process of this pod left. */
  start(): void {
    this.#queue.add('label');
    this.#queue.start();
  }

  /** Leadership was taken or lost. */
  refresh(): void {
    this.#queue.add('label');
  }

  /** Takes the label off, if that is to be had soon. */
  async stop(): Promise<void> {
    await this.#queue.stop();
    await this.#set(this.#settings.kube, this.#settings.podName, null).catch(() => undefined);
  }

  async #makeTrue(): Promise<WorkOutcome> {
    const { kube, fenced, namespace, podName, isLeader } = this.#settings;
    const { items } = await kube.list<Pod>(RESOURCES.pods, { namespace, labelSelector: `${LEADER_LABEL}=true` });
    const labelled = items.map(({ metadata }) => metadata.name);
    if (!isLeader()) {
      if (labelled.includes(podName)) await this.#set(kube, podName, null);
      return DONE;
    }
    // First away from the others: a limiter that finds nobody tries again, one that finds a follower too, but later.
    for (const name of labelled) if (name !== podName) await this.#set(fenced, name, null);
    if (!labelled.includes(podName)) await this.#set(fenced, podName, 'true');
    return DONE;
  }

  async #set(kube: Pick<Kube, 'patch'>, podName: string, value: string | null): Promise<void> {
    const change = { metadata: { labels: { [LEADER_LABEL]: value } } };
    try {
      await kube.patch<Pod>(RESOURCES.pods, this.#settings.namespace, podName, change);
    } catch (error) {
      if (!hasStatus(error, 404)) throw error;
    }
  }
}
