// Controller: who is the leader. Input: a Lease (coordination.k8s.io/v1) that all operators try to write. Output:
// whether this process holds it, by its own monotonic clock and from before each renewal was sent
// (docs/adr/leader-serves-limiters.md).
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../../lib/log.ts';
import { messageOf } from '../../lib/thrown.ts';
import {
  accepted,
  FOLLOWING,
  nextMove,
  observe,
  released,
  type ElectionState,
  type ElectionTiming,
  type Move,
} from './election-rules.ts';
import { hasStatus, type Kube } from '../kube/kube-api.ts';
import { RESOURCES, type Lease } from '../kube/kube-types.ts';
import type { Leadership } from './leadership.ts';

export interface ElectionSettings extends ElectionTiming {
  readonly kube: Pick<Kube, 'get' | 'create' | 'replace' | 'watch'>;
  readonly namespace: string;
  readonly leaseName: string;
  /** Unique to this process. */
  readonly identity: string;
  readonly log: Logger;
  readonly observer?: ElectionObserver;
  readonly notes?: LeaseNotes;
  readonly clock?: ElectionClock;
  /** In [0, 1); spreads attempts. */
  readonly random?: () => number;
}

export interface ElectionObserver {
  /** An attempt to write the Lease, answered after so long. */
  leaseWritten(ok: boolean, seconds: number): void;
  leadershipChanged(isLeader: boolean): void;
}

/** What is told by annotations of the Lease, beside who holds it. */
export interface LeaseNotes {
  /** Called with what was read or written, by the holder at each renewal. */
  read(annotations: Readonly<Record<string, string>>): void;
  /** What the holder adds. */
  wanted(): Readonly<Record<string, string>>;
}

export interface ElectionClock {
  monotonicMs(): number;
  wallMs(): number;
}

export const ELECTION_TIMING: ElectionTiming = {
  leaseDurationMs: 10_000,
  renewDeadlineMs: 7_000,
  retryPeriodMs: 2_000,
};

const CLOCK: ElectionClock = { monotonicMs: () => performance.now(), wallMs: () => Date.now() };
const SHORTEST_PAUSE_MS = 50;
const WATCH_SECONDS = 240;

/** `<pod>_<random>`: a pod that is started again is another holder, and the API server can compare the pod. */
export function processIdentity(podName: string | undefined): string {
  const random = Math.random().toString(36).slice(2, 10);
  return podName === undefined ? `${hostname()}_${process.pid}_${random}` : `${podName}_${random}`;
}

export class LeaderElection implements Leadership {
  readonly #settings: ElectionSettings;
  readonly #clock: ElectionClock;
  readonly #listeners: ((isLeader: boolean) => void)[] = [];
  readonly #stopping = new AbortController();
  #state: ElectionState = FOLLOWING;
  /** The machine may have slept, and the monotonic clock with it: the wall clock must agree. */
  #wallDeadlineMs = -Infinity;
  /** What listeners heard last. */
  #told = false;
  /** The Lease may have been changed by others since it was seen. */
  #mustRead = true;
  #failures = 0;
  #deadlineTimer: NodeJS.Timeout | undefined;
  #wake: () => void = () => undefined;
  #running: Promise<unknown> = Promise.resolve();

  constructor(settings: ElectionSettings) {
    this.#settings = settings;
    this.#clock = settings.clock ?? CLOCK;
  }

  isLeader(): boolean {
    if (this.#stopping.signal.aborted) return false;
    return this.#clock.monotonicMs() < this.#state.deadlineMs && this.#clock.wallMs() < this.#wallDeadlineMs;
  }

  deadlineMs(): number {
    return this.#state.deadlineMs;
  }

  onChange(listener: (isLeader: boolean) => void): void {
    this.#listeners.push(listener);
  }

  /** Begins to try for the Lease. */
  start(): void {
    this.#running = Promise.all([this.#run(), this.#watch()]);
  }

  /**
   * Stops for good. A Lease that is held is given back, so that another takes it at once: but only once `whenQuiet`
   * says that no write of this process is under way; otherwise it is left to run out.
   */
  async release(whenQuiet: () => Promise<boolean> = () => Promise.resolve(true)): Promise<void> {
    const wasLeader = this.isLeader();
    this.#stopping.abort();
    clearTimeout(this.#deadlineTimer);
    this.#wake();
    this.#tell(false);
    const [isQuiet] = await Promise.all([whenQuiet(), this.#running]);
    if (!wasLeader) return;
    if (isQuiet) await this.#giveBack();
    else this.#settings.log.warn('lease not released: a write is in progress');
  }

  /** What is there is read first: a renewal that was cut off may have arrived. */
  async #giveBack(): Promise<void> {
    const { kube, log, namespace, leaseName, identity } = this.#settings;
    const deadline = AbortSignal.timeout(1000);
    try {
      const lease = await kube.get<Lease>(RESOURCES.leases, namespace, leaseName, deadline);
      if (lease.spec?.holderIdentity !== identity) return;
      await kube.replace<Lease>(RESOURCES.leases, { ...lease, spec: released(lease, this.#now()) }, deadline);
      log.info('lease released', { lease: leaseName });
    } catch (error) {
      log.warn('lease not released', { lease: leaseName, error: messageOf(error) });
    }
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const woken = new Promise<void>((resolve) => (this.#wake = resolve));
      const waitMs = await this.#attempt();
      const timer = new AbortController();
      await Promise.race([woken, delay(waitMs, undefined, { signal: timer.signal }).catch(() => undefined)]);
      timer.abort();
    }
  }

  /** One look and at most one write. @returns how long to wait before the next, ms */
  async #attempt(): Promise<number> {
    try {
      if (this.#mustRead || !this.isLeader()) await this.#read();
      const { identity } = this.#settings;
      const move = nextMove(this.#state, identity, this.#settings, this.#clock.monotonicMs(), this.#now());
      if (move.kind === 'wait') return this.#spread(move.forMs);
      await this.#write(move);
      this.#failures = 0;
      return this.#spread(this.#settings.retryPeriodMs);
    } catch (error) {
      return this.#failed(error);
    }
  }

  async #read(): Promise<void> {
    const { kube, namespace, leaseName } = this.#settings;
    const lease = await kube
      .get<Lease>(RESOURCES.leases, namespace, leaseName, this.#deadline())
      .catch((error: unknown) => {
        if (hasStatus(error, 404)) return undefined;
        throw error;
      });
    this.#see(lease);
    this.#mustRead = false;
  }

  #see(lease: Lease | undefined): void {
    this.#state = observe(this.#state, lease, this.#clock.monotonicMs());
    const { seen } = this.#state;
    if (seen?.spec?.holderIdentity !== this.#settings.identity) this.#lose('another operator holds the lease');
  }

  async #write(move: Extract<Move, { kind: 'write' }>): Promise<void> {
    const { kube, namespace, leaseName, observer } = this.#settings;
    const { seen } = this.#state;
    const sentMs = this.#clock.monotonicMs();
    const sentWallMs = this.#clock.wallMs();
    const secondsSince = (): number => (this.#clock.monotonicMs() - sentMs) / 1000;
    let lease: Lease;
    try {
      lease = await (seen === undefined
        ? kube.create<Lease>(RESOURCES.leases, namespace, newLease(namespace, leaseName, move), this.#deadline())
        : kube.replace<Lease>(RESOURCES.leases, this.#noted({ ...seen, spec: move.spec }), this.#deadline()));
    } catch (error) {
      observer?.leaseWritten(false, secondsSince());
      this.#mustRead = true;
      throw error;
    }
    observer?.leaseWritten(true, secondsSince());
    if (move.isNew) this.#lose('a new term begins');
    this.#state = accepted(this.#state, lease, sentMs, this.#settings);
    this.#wallDeadlineMs = sentWallMs + this.#settings.renewDeadlineMs;
    this.#watchDeadline();
    if (!this.isLeader()) return;
    this.#tell(true);
    this.#settings.notes?.read(lease.metadata.annotations ?? {});
  }

  #noted(lease: Lease): Lease {
    const wanted = this.#settings.notes?.wanted() ?? {};
    if (Object.keys(wanted).length === 0) return lease;
    const annotations = { ...lease.metadata.annotations, ...wanted };
    return { ...lease, metadata: { ...lease.metadata, annotations } };
  }

  /** A refusal or no answer: looked at again soon, and while the Lease is held at once. */
  #failed(error: unknown): number {
    if (this.#stopping.signal.aborted) return 0;
    // Another was quicker, or the Lease was edited.
    const isRace = hasStatus(error, 409, 404);
    if (isRace && this.#failures === 0) {
      this.#failures += 1;
      return SHORTEST_PAUSE_MS * (1 + this.#random());
    }
    this.#failures += 1;
    const { log, leaseName, retryPeriodMs } = this.#settings;
    log.warn('lease not renewed', { lease: leaseName, failures: this.#failures, error: messageOf(error) });
    const longestMs = this.isLeader() ? retryPeriodMs / 2 : retryPeriodMs * 2;
    return this.#spread(Math.min(longestMs, 200 * 2 ** Math.min(this.#failures, 10)));
  }

  #watchDeadline(): void {
    clearTimeout(this.#deadlineTimer);
    const look = (): void => {
      const leftMs = this.#state.deadlineMs - this.#clock.monotonicMs();
      if (this.isLeader() && leftMs > 0) this.#deadlineTimer = setTimeout(look, leftMs).unref();
      else this.#lose('it was not renewed in time');
    };
    look();
  }

  #lose(why: string): void {
    clearTimeout(this.#deadlineTimer);
    this.#state = { ...this.#state, deadlineMs: -Infinity };
    if (this.#told) this.#settings.log.warn('leadership lost', { why });
    this.#tell(false);
  }

  #tell(isLeader: boolean): void {
    if (this.#told === isLeader) return;
    this.#told = isLeader;
    const { log, identity, leaseName, observer } = this.#settings;
    if (isLeader) log.info('leadership taken', { lease: leaseName, identity, transitions: this.#transitions() });
    observer?.leadershipChanged(isLeader);
    for (const listener of this.#listeners) listener(isLeader);
  }

  #transitions(): number {
    return this.#state.seen?.spec?.leaseTransitions ?? 0;
  }

  /** Only so that a Lease that was given back is taken at once: what counts is read again before it is written. */
  async #watch(): Promise<void> {
    const { kube, namespace, leaseName, identity, retryPeriodMs } = this.#settings;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        const events = kube.watch<Lease>(RESOURCES.leases, {
          namespace,
          fieldSelector: `metadata.name=${leaseName}`,
          resourceVersion: '',
          timeoutSeconds: WATCH_SECONDS,
          silenceMs: 90_000,
          signal,
        });
        for await (const { type, object } of events) {
          if (type !== 'BOOKMARK' && object.spec?.holderIdentity !== identity) this.#notice(object);
        }
      } catch (error) {
        this.#settings.log.debug('lease watch interrupted', { error: messageOf(error) });
      }
      await delay(this.#spread(retryPeriodMs), undefined, { signal }).catch(() => undefined);
    }
  }

  /** Somebody else wrote the Lease. */
  #notice({ spec }: Lease): void {
    this.#mustRead = true;
    if ((spec?.holderIdentity ?? '') === '' || this.isLeader()) this.#wake();
  }

  /** No request to the API server may outlast what is left of the Lease, nor keep a follower from looking again. */
  #deadline(): AbortSignal {
    const leftMs = this.#state.deadlineMs - this.#clock.monotonicMs();
    const longestMs = this.#settings.retryPeriodMs * 1.5;
    const forMs = leftMs > 0 ? Math.min(leftMs, longestMs) : longestMs;
    return AbortSignal.any([AbortSignal.timeout(Math.ceil(forMs)), this.#stopping.signal]);
  }

  #spread(ms: number): number {
    return Math.max(SHORTEST_PAUSE_MS, ms * (0.8 + this.#random() * 0.2));
  }

  #random(): number {
    return (this.#settings.random ?? Math.random)();
  }

  #now(): string {
    return new Date(this.#clock.wallMs()).toISOString().replace('Z', '000Z');
  }
}

function newLease(namespace: string, name: string, { spec }: Extract<Move, { kind: 'write' }>): Lease {
  return {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name, namespace, labels: { 'app.kubernetes.io/part-of': 'weir' } },
    spec,
  };
}
