// Limiter, wiring of a sidecar: what stands before and beside the judging stages there. In: settings and what is in
// effect; out: the front door, and what passes on requests that nobody claims.
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import type { RuntimeInForce } from './config/config-applier.ts';
import type { Configured } from './config/configured.ts';
import { FrontDoor, type Handling } from './front/front-door.ts';
import { ownServerOf } from './front/own-server.ts';
import { Splices } from './front/splices.ts';
import type { UnclaimedModels } from './health/unclaimed-models.ts';
import type { LimiterMetrics } from './metrics.ts';
import { OwnServer } from './proxy/own-server.ts';
import { Unclaimed } from './proxy/unclaimed.ts';
import type { RequestRecord } from './record/request-record.ts';
import type { LimiterSettings } from './settings.ts';

/** Once an object is in effect: how long connections that were spliced before it may send what cannot be judged. */
const UNJUDGED_GRACE_MS = 60_000;

export interface SidecarParts {
  readonly settings: LimiterSettings;
  readonly inForce: () => RuntimeInForce;
  readonly configured: Configured;
  readonly metrics: LimiterMetrics;
  readonly unclaimedModels: UnclaimedModels;
  readonly log: Logger;
  readonly clock: Clock;
}

export class Sidecar {
  readonly frontDoor: FrontDoor;
  /** Absent: the pod has no server. */
  readonly unclaimed: Unclaimed | undefined;
  readonly #parts: SidecarParts;
  readonly #splices: Splices;

  constructor(parts: SidecarParts) {
    this.#parts = parts;
    const nowMs = (): number => parts.clock.monotonicMs();
    this.#splices = new Splices({ metrics: parts.metrics, nowMs, graceMs: UNJUDGED_GRACE_MS });
    this.frontDoor = new FrontDoor({
      server: ownServerOf(parts.settings.upstream),
      isOpen: () => this.isOpen,
      whenDecided: () => parts.configured.whenDecided(),
      splices: this.#splices,
      connectTimeoutMs: parts.settings.connectTimeoutMs,
      firstBytesTimeoutMs: parts.settings.requestHeadersTimeoutMs,
      onHandled: (handling) => {
        this.#count(handling);
      },
      log: parts.log,
      nowMs,
    });
    this.unclaimed = this.#createUnclaimed();
  }

  /** Nothing is in effect, and that is no reason to refuse: everything passes untouched. */
  get isOpen(): boolean {
    const { inForce, configured, settings } = this.#parts;
    if (inForce().set.size > 0 || configured.state === 'waiting') return false;
    return configured.state === 'configured' || settings.unconfiguredPolicy === 'Pass';
  }

  /** Spliced connections with something in flight. */
  get busy(): number {
    return this.#splices.busy;
  }

  /** Observes requests. What the server refuses runs no model: a name that does not exist needs no limit. */
  recorded({ unclaimedModel, status }: RequestRecord): void {
    const { unclaimedModels, clock } = this.#parts;
    if (unclaimedModel === undefined || status === undefined || status >= 400) return;
    unclaimedModels.passed(unclaimedModel, clock.monotonicMs());
  }

  #count(handling: Handling): void {
    const { configured, metrics } = this.#parts;
    const isKnown = handling !== 'spliced' || configured.state === 'configured';
    metrics.connectionHandled(isKnown ? handling : 'spliced_unconfigured');
  }

  #createUnclaimed(): Unclaimed | undefined {
    const { settings, inForce } = this.#parts;
    const { upstream: url, connectTimeoutMs, upstreamIdleTimeoutMs: idleTimeoutMs, requestTimeoutMs } = settings;
    if (url === undefined) return undefined;
    const server = new OwnServer({ url, connectTimeoutMs, idleTimeoutMs });
    return new Unclaimed({
      server,
      inForce,
      isOpen: () => this.isOpen,
      requestTimeoutMs,
      splices: this.#splices,
    });
  }
}
