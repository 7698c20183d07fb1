// Controller: this process as a candidate. Input: where the Lease is, and what must be done before leading. Output: a
// leadership, a door to the API server that writes only under it, and the label by which limiters find the leader.
import type { Logger } from '../../lib/log.ts';
import type { ElectionTiming } from './election-rules.ts';
import type { Kube } from '../kube/kube-api.ts';
import { LeaderElection, processIdentity, type ElectionObserver, type LeaseNotes } from './leader-election.ts';
import { LeaderLabel } from './leader-label.ts';
import type { Leadership } from './leadership.ts';
import { PreparedLeadership } from './prepared-leadership.ts';
import { WriteFence } from '../kube/write-fence.ts';

export interface CandidacySettings extends ElectionTiming {
  /** Where the Lease and the pod of this process are. */
  readonly namespace: string;
  readonly leaseName: string;
  /** Absent: this process is in no pod, and limiters know its address. */
  readonly podName?: string | undefined;
}

export interface CandidacyParts {
  readonly kube: Kube;
  readonly log: Logger;
  readonly observer: ElectionObserver;
  readonly notes?: LeaseNotes;
  /** Called when the Lease was taken; leading begins when it resolves. */
  readonly prepare: () => Promise<void>;
}

/** How long writes in progress may take when this process is stopped. */
const QUIET_MS = 1000;

export class Candidacy {
  readonly leadership: Leadership;
  /** What is written by this is sent only while this process leads. */
  readonly writes: Kube;
  readonly #election: LeaderElection;
  readonly #fence: WriteFence;
  readonly #label: LeaderLabel | undefined;

  constructor(settings: CandidacySettings, { kube, log, observer, notes, prepare }: CandidacyParts) {
    const { podName, namespace } = settings;
    const identity = processIdentity(podName);
    this.#election = new LeaderElection({
      ...{ ...settings, kube, identity, log, observer },
      ...(notes === undefined ? {} : { notes }),
    });
    this.leadership = new PreparedLeadership(this.#election, prepare, log);
    const isLeader = (): boolean => this.leadership.isLeader();
    this.#fence = new WriteFence(isLeader, serverTimeoutMs(settings));
    this.writes = kube.fenced(this.#fence);
    if (podName !== undefined) {
      this.#label = new LeaderLabel({ kube, fenced: this.writes, namespace, podName, isLeader, log });
      this.leadership.onChange(() => this.#label?.refresh());
    }
  }

  start(): void {
    this.#election.start();
    this.#label?.start();
  }

  /** Ends for good, and hands over to another at once if nothing is in the way. */
  async resign(): Promise<void> {
    const release = this.#election.release(() => this.#fence.whenQuiet(QUIET_MS));
    await Promise.all([release, this.#label?.stop()]);
  }
}

/**
 * A write that left in time may wait in the API server. It gives it up in two thirds of the time that lies between
 * the last moment at which the holder writes and the first at which another takes the Lease.
 */
export function serverTimeoutMs({ leaseDurationMs, renewDeadlineMs }: ElectionTiming): number {
  return ((leaseDurationMs - renewDeadlineMs) * 2) / 3;
}
