// Controller: when a status is written. Input: the status that each object should have. Output: as few writes as tell
// the truth in time: none when nothing changed, one per object and second, at once after an edit, by the leader only.
import type { Condition } from '../../crd/types.ts';
import type { ObjectStatus } from '../../reconcile/types.ts';
import type { Logger } from '../../lib/log.ts';
import type { StoredObject } from '../kube/kube-types.ts';
import type { Leadership } from '../election/leadership.ts';
import type { StatusSink, WriteResult } from '../provider/provider.ts';
import { DONE, WorkQueue, type WorkOutcome } from '../kube/work-queue.ts';

export interface StatusSubmission {
  /** The version that the status was computed from; no other is written to. */
  readonly object: StoredObject;
  readonly status: ObjectStatus;
  /** Told as Events once the status is written. */
  readonly changedReasons: readonly Condition[];
}

export interface StatusWriterSettings {
  readonly sink: Pick<StatusSink, 'write'>;
  readonly leadership: Leadership;
  readonly log: Logger;
  /** The object has changed since it was read: compute its status again. */
  readonly onOutdated: (name: string) => void;
  /** false: not before `recheck`. A status must not promise what a crash would take back. Default: always true. */
  readonly mayWrite?: (object: StoredObject) => boolean;
  readonly onWrite?: (result: WriteResult | 'failed') => void;
  /** Called with the conditions whose reason changed, once they are written. */
  readonly onChanged?: (name: string, object: StoredObject, changed: readonly Condition[]) => void;
  readonly workers?: number;
  readonly minIntervalMs?: number;
  /** After an edit limiters get this long to acknowledge, so that one write says both. */
  readonly settleMs?: number;
  /**
   * Until then (monotonic ms) only edits are written, and those only if they count no fewer limiters than the object
   * says: limiters need a moment to come back to a new operator or a new leader.
   */
  readonly quietUntilMs?: () => number;
}

interface Pending extends StatusSubmission {
  readonly isEdit: boolean;
  readonly settleByMs: number;
  readonly dueMs: number;
}

/** Keeps the newest submission of each object until it is written or no longer true. */
export class StatusWriter {
  readonly #settings: StatusWriterSettings;
  readonly #minIntervalMs: number;
  readonly #settleMs: number;
  readonly #pending = new Map<string, Pending>();
  /** Monotonic ms. */
  readonly #writtenAt = new Map<string, number>();
  readonly #inFlight = new Set<string>();
  readonly #queue: WorkQueue;

  constructor(settings: StatusWriterSettings) {
    this.#settings = settings;
    this.#minIntervalMs = settings.minIntervalMs ?? 1000;
    this.#settleMs = settings.settleMs ?? 250;
    this.#queue = new WorkQueue({
      name: 'status',
      workers: settings.workers ?? 16,
      log: settings.log,
      baseBackoffMs: 200,
      maxBackoffMs: 10_000,
      work: (name) => this.#work(name),
    });
  }

  get depth(): number {
    return this.#pending.size;
  }

  start(): void {
    this.#queue.start();
  }

  async stop(): Promise<void> {
    await this.#queue.stop();
  }

  /** A write of this object is under way: what the watch brings now may be our own. */
  isWriting(name: string): boolean {
    return this.#inFlight.has(name);
  }

  submit(name: string, submission: StatusSubmission): void {
    const nowMs = performance.now();
    const before = this.#pending.get(name);
    const isEdit = before?.isEdit === true || isCausedByEdit(submission);
    const settleByMs = before?.isEdit === true ? before.settleByMs : nowMs + this.#settleMs;
    const dueMs = isEdit ? (awaitsAcks(submission.status) ? settleByMs : nowMs) : this.#laterMs(name, nowMs);
    const pending = { ...submission, isEdit, settleByMs, dueMs };
    this.#pending.set(name, pending);
    this.#queue.addAfter(name, this.#waitMs(pending));
  }

  /** What kept the status from being written may be over. */
  recheck(name: string): void {
    if (this.#pending.has(name)) this.#queue.add(name);
  }

  /** The object says the right thing already. */
  cancel(name: string): void {
    this.#pending.delete(name);
  }

  /** The object is gone. */
  forget(name: string): void {
    this.#pending.delete(name);
    this.#writtenAt.delete(name);
  }

  #laterMs(name: string, nowMs: number): number {
    return Math.max(nowMs, (this.#writtenAt.get(name) ?? -Infinity) + this.#minIntervalMs);
  }

  /** The end of the quiet time may not be known yet: it is asked for again each second. */
  #waitMs(pending: Pending): number {
    const { isEdit, dueMs } = pending;
    const quietUntilMs = isEdit && !countsFewer(pending) ? 0 : (this.#settings.quietUntilMs?.() ?? 0);
    return Math.min(1000, Math.max(dueMs, quietUntilMs) - performance.now());
  }

  async #work(name: string): Promise<WorkOutcome> {
    const pending = this.#pending.get(name);
    if (pending === undefined || !this.#mayWrite(pending)) return DONE;
    const waitMs = this.#waitMs(pending);
    if (waitMs > 0) return { kind: 'again', afterMs: waitMs };
    const result = await this.#write(name, pending);
    if (result === 'written') this.#settings.onChanged?.(name, pending.object, pending.changedReasons);
    const isLatest = this.#pending.get(name) === pending;
    if (isLatest) this.#pending.delete(name);
    if (result === 'outdated') this.#settings.onOutdated(name);
    // A submission that came meanwhile was computed from the version before this write, so it would be refused.
    else if (!isLatest && this.#pending.has(name)) this.#settings.onOutdated(name);
    return DONE;
  }

  #mayWrite({ object }: Pending): boolean {
    const { leadership, mayWrite } = this.#settings;
    return leadership.isLeader() && mayWrite?.(object) !== false;
  }

  async #write(name: string, { object, status }: Pending): Promise<WriteResult> {
    const { sink, onWrite } = this.#settings;
    this.#inFlight.add(name);
    try {
      const result = await sink.write(object, status);
      if (result === 'written') this.#writtenAt.set(name, performance.now());
      onWrite?.(result);
      return result;
    } catch (error) {
      onWrite?.('failed');
      throw error;
    } finally {
      this.#inFlight.delete(name);
    }
  }
}

/** Limiters that are there have not all answered yet. */
function awaitsAcks({ limiters }: ObjectStatus): boolean {
  return limiters.desired > 0 && limiters.synced + limiters.rejected < limiters.desired;
}

function countsFewer({ object, status }: StatusSubmission): boolean {
  const { limiters } = (object.status ?? {}) as Partial<ObjectStatus>;
  return status.limiters.desired < (limiters?.desired ?? 0);
}

/** Whether more than the limiters' answers differs from what the object says. */
function isCausedByEdit({ object, status }: StatusSubmission): boolean {
  const said = (object.status ?? {}) as Partial<ObjectStatus>;
  if (said.observedGeneration !== status.observedGeneration || said.configVersion !== status.configVersion) return true;
  return ['Accepted', 'ResolvedRefs'].some((type) => reasonOf(said, type) !== reasonOf(status, type));
}

function reasonOf(status: Partial<ObjectStatus>, type: string): string | undefined {
  return status.conditions?.find((condition) => condition.type === type)?.reason;
}
