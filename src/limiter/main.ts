// Limiter, wiring: settings -> a running limiter. The order of a request is in proxy/proxy.ts; here is who knows
// whom, and the order of starting and stopping.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { systemClock, type Clock } from '../lib/clock.ts';
import { createLogger, type Logger } from '../lib/log.ts';
import type { Target, WindowRule } from '../contract/limiter-config.ts';
import { adminHandler, type AdminView, type DrainHold } from './admin.ts';
import { ConfigApplier, type AppliedChange, type RuntimeInForce } from './config/config-applier.ts';
import { Configured } from './config/configured.ts';
import { Decider } from './decide/decide.ts';
import { SharerCounts } from './decide/sharer-counts.ts';
import { DecisionApi } from './decision-api/decision-api.ts';
import { isLoopback, TokenFile } from './decision-api/decision-token.ts';
import { mayDial } from './egress/egress.ts';
import { HealthWatch } from './health/health-watch.ts';
import { UnclaimedModels } from './health/unclaimed-models.ts';
import { FirstContact } from './config/first-contact.ts';
import {
  listen,
  type HttpHandler,
  type HttpListener,
  type ListenAddress,
  type UpgradeHandler,
} from '../lib/http/http-listener.ts';
import { LimiterMetrics } from './metrics.ts';
import type { RecordObserver } from './record/request-record.ts';
import { Observation } from './observation.ts';
import { Dialer } from './proxy/dialer.ts';
import { Forwarder } from './proxy/forwarder.ts';
import { guardedLookup } from './egress/guarded-lookup.ts';
import { Proxy } from './proxy/proxy.ts';
import { Upstreams } from './proxy/upstream.ts';
import type { LimitSet } from './compile/runtime-object.ts';
import { readinessOf } from './readiness.ts';
import type { LimiterSettings } from './settings.ts';
import { UpstreamHealth } from './health/upstream-health.ts';
import { BodyBudget } from './request/body-budget.ts';
import { WindowCalendar } from './store/rule/calendar-window.ts';
import { Sidecar } from './sidecar.ts';
import { StoreRegistry } from './store/create-store.ts';
import type { Store } from './store/store.ts';

/** Connections that no object needs any more are closed this often. */
const HOUSEKEEPING_MS = 1_000;
/** How often a drain looks whether requests are in flight. */
const DRAIN_LOOK_MS = 50;

/** A limiter that serves. */
export interface RunningLimiter {
  /** With the ports that were really taken. */
  readonly addresses: {
    readonly traffic: ListenAddress;
    readonly admin: ListenAddress;
    readonly decision?: ListenAddress;
  };
  /** Turns readiness off; requests are still served. */
  drain(): void;
  /** Stops accepting, lets requests end within the grace period, settles, closes. Resolves when all is closed. */
  close(): Promise<void>;
}

/** What a test may put in the place of the real thing. */
export interface LimiterParts {
  readonly clock?: Clock;
  readonly logger?: Logger;
  readonly metrics?: LimiterMetrics;
  /** Called with every request of the proxy that has ended. */
  readonly observers?: readonly RecordObserver[];
  /** A number in [0, 1). */
  readonly random?: () => number;
  readonly firstContact?: FirstContact;
}

/**
 * Starts a limiter. Resolves once it listens and what was at hand of its configs is in force; an operator or a Redis
 * that is away is no error.
 * @throws Error for settings that cannot work (a port that is taken, a decision API without a token), naming the
 * setting
 */
export async function runLimiter(settings: LimiterSettings, parts: LimiterParts = {}): Promise<RunningLimiter> {
  const limiter = new Limiter(settings, parts);
  try {
    await limiter.start();
  } catch (error) {
    await limiter.close();
    throw error;
  }
  return limiter;
}

class Limiter implements RunningLimiter {
  readonly #settings: LimiterSettings;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #metrics: LimiterMetrics;
  readonly #seen: Observation;
  readonly #configured = new Configured();
  readonly #stores: StoreRegistry;
  readonly #firstContact: FirstContact;
  readonly #applier: ConfigApplier;
  readonly #sharers: SharerCounts;
  readonly #decider: Decider;
  readonly #upstreams: Upstreams;
  readonly #dialer: Dialer;
  readonly #upstreamHealth = new UpstreamHealth();
  readonly #unclaimed = new UnclaimedModels();
  readonly #health: HealthWatch;
  readonly #bodyBudget: BodyBudget;
  readonly #proxy: Proxy;
  readonly #sidecar: Sidecar | undefined;
  readonly #listeners: { traffic?: HttpListener; admin?: HttpListener; decision?: HttpListener } = {};
  #housekeeping: NodeJS.Timeout | undefined;
  #isStale = false;
  #isDraining = false;
  #inFlight = 0;
  #closed: Promise<void> | undefined;

  constructor(settings: LimiterSettings, parts: LimiterParts) {
    this.#settings = settings;
    this.#clock = parts.clock ?? systemClock;
    this.#firstContact = parts.firstContact ?? new FirstContact();
    const log = parts.logger ?? createLogger('limiter');
    this.#seen = new Observation(log, parts.metrics ?? new LimiterMetrics(), this.#clock);
    this.#log = this.#seen.log;
    this.#metrics = this.#seen.metrics;
    const ownTarget = settings.upstream === undefined ? undefined : { url: settings.upstream, weight: 1 };
    this.#stores = new StoreRegistry({
      deadlineMs: settings.storeDeadlineMs,
      clock: this.#clock,
      log: this.#log,
      hooks: this.#metrics.storeHooks(),
      // The own Redis of an object; a sidecar reaches no more than its pod does anyway.
      ...(settings.mode === 'sidecar' ? {} : { lookup: guardedLookup((address) => this.#mayDial(address)) }),
    });
    this.#applier = new ConfigApplier(
      {
        route: { mode: settings.mode, ...(ownTarget === undefined ? {} : { defaultTarget: ownTarget }) },
        withoutCapabilities: settings.withoutCapabilities,
        egressAllow: settings.egressAllow,
      },
      (inForce, applied) => {
        this.#onApplied(inForce, applied);
      },
    );
    this.#sharers = new SharerCounts(settings.mode, this.#applier.inForce);
    this.#decider = this.#createDecider();
    this.#upstreams = new Upstreams(settings);
    this.#dialer = new Dialer(ownTarget);
    this.#health = this.#createHealthWatch();
    this.#bodyBudget = new BodyBudget(settings.bodyBudgetBytes, () => this.#clock.monotonicMs());
    this.#metrics.watchBodies(this.#bodyBudget);
    this.#sidecar = settings.mode === 'sidecar' ? this.#createSidecar() : undefined;
    this.#proxy = this.#createProxy(ownTarget, parts);
  }

  get addresses(): RunningLimiter['addresses'] {
    const { traffic, admin, decision } = this.#listeners;
    if (traffic === undefined || admin === undefined) throw new Error('the limiter has not started');
    return {
      traffic: traffic.address,
      admin: admin.address,
      ...(decision === undefined ? {} : { decision: decision.address }),
    };
  }

  async start(): Promise<void> {
    const { listen: trafficAddress, adminListen, decisionListen, unconfiguredWaitMs } = this.#settings;
    const admin = adminHandler(this.#adminView());
    this.#listeners.admin = await listen(admin, adminListen, this.#seen.listenOptions('admin', this.#settings));
    if (decisionListen !== undefined) {
      const decisions = this.#decisionApi(decisionListen);
      const options = this.#seen.listenOptions('decision', this.#settings);
      this.#listeners.decision = await listen(decisions, decisionListen, options);
    }
    this.#configured.startWaiting(unconfiguredWaitMs, () => {
      this.#log.warn('no configuration came in time', { policy: this.#settings.unconfiguredPolicy });
    });
    await this.#settings.source.start((change) => this.#applier.apply(change));
    const take: HttpHandler = (request, response) => this.#take(request, response);
    const options = {
      ...this.#seen.listenOptions('traffic', this.#settings),
      front: this.#sidecar?.frontDoor,
      upgrades: this.#upgrades(),
    };
    this.#listeners.traffic = await listen(take, trafficAddress, options);
    this.#housekeeping = setInterval(() => {
      this.#keepHouse();
    }, HOUSEKEEPING_MS);
    this.#health.start();
    this.#log.info('limiter started', { id: this.#settings.id, mode: this.#settings.mode, ...this.addresses });
  }

  drain(): void {
    if (!this.#isDraining) this.#log.info('draining');
    this.#isDraining = true;
  }

  close(): Promise<void> {
    this.#closed ??= this.#stop();
    return this.#closed;
  }

  /** While it drains, no connection is kept for another request: callers go to other pods. */
  #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.#isDraining) response.shouldKeepAlive = false;
    this.#inFlight += 1;
    response.once('close', () => {
      this.#inFlight -= 1;
    });
    return this.#proxy.handle(request, response);
  }

  #upgrades(): UpgradeHandler {
    return {
      accepts: (request) => this.#proxy.mayUpgrade(request),
      take: (request, socket, head) => this.#proxy.upgrade(request, socket, head),
    };
  }

  async #drainAndWait({ delayMs, maxMs }: DrainHold): Promise<void> {
    const startMs = this.#clock.monotonicMs();
    this.drain();
    await delay(Math.min(delayMs, maxMs));
    while (this.#inFlight + (this.#sidecar?.busy ?? 0) > 0 && this.#clock.monotonicMs() - startMs < maxMs)
      await delay(DRAIN_LOOK_MS);
  }

  #mayDial(address: string): boolean {
    return mayDial(this.#applier.inForce.egress, address);
  }

  /** In this order: no new requests, those in flight end, their settlements go out, then what they needed is closed. */
  async #stop(): Promise<void> {
    this.drain();
    const { traffic, decision, admin } = this.#listeners;
    const { graceMs, source } = this.#settings;
    this.#configured.close();
    this.#firstContact.close();
    await Promise.all([traffic?.close(graceMs), decision?.close(graceMs)]);
    clearInterval(this.#housekeeping);
    this.#health.stop();
    await source.close();
    await this.#stores.close();
    await this.#upstreams.close();
    await admin?.close(0);
    this.#log.info('limiter stopped');
  }

  #createProxy(ownTarget: Target | undefined, { random = Math.random, observers = [] }: LimiterParts): Proxy {
    const settings = this.#settings;
    return new Proxy({
      inForce: () => this.#applier.inForce,
      configured: this.#configured,
      decider: this.#decider,
      forwarder: new Forwarder(this.#upstreams, this.#dialer, this.#seen.upstreamObserver(this.#upstreamHealth)),
      metrics: this.#metrics,
      observed: this.#seen.recordObserver([(record) => this.#sidecar?.recorded(record), ...observers]),
      errors: this.#seen.errors,
      clock: this.#clock,
      ownTarget,
      unclaimed: this.#sidecar?.unclaimed,
      unconfiguredPolicy: settings.unconfiguredPolicy,
      bodyBounds: { maxBytes: settings.maxBodyBytes, idleMs: settings.bodyIdleTimeoutMs },
      bodyBudget: this.#bodyBudget,
      requestTimeoutMs: settings.requestTimeoutMs,
      random,
    });
  }

  #createSidecar(): Sidecar {
    return new Sidecar({
      settings: this.#settings,
      inForce: () => this.#applier.inForce,
      configured: this.#configured,
      metrics: this.#metrics,
      unclaimedModels: this.#unclaimed,
      log: this.#log,
      clock: this.#clock,
    });
  }

  #createHealthWatch(): HealthWatch {
    return new HealthWatch({
      stores: () => this.#stores.byId(),
      upstreams: this.#upstreamHealth,
      unclaimed: this.#unclaimed,
      nowMs: () => this.#clock.monotonicMs(),
      onReport: (report) => {
        // The operator writes it into the status; a store tells its outage by a line of its own.
        this.#log.debug('trouble changed', { stores: report.stores.length, upstreams: report.upstreams.length });
        this.#settings.source.report?.(report);
      },
      onLooked: (serving) => {
        this.#sharers.looked(serving, this.#clock.monotonicMs());
      },
    });
  }

  #createDecider(): Decider {
    const calendar = new WindowCalendar();
    const storeOf = new WeakMap<LimitSet, Store>();
    return new Decider({
      storeFor: (set) => {
        const known = storeOf.get(set) ?? this.#stores.storeFor(set.store.use, set.store.secrets);
        storeOf.set(set, known);
        return known;
      },
      sharersOf: ({ name }) => this.#sharers.of(name),
      clock: this.#clock,
      windowEnd: (rule: WindowRule, at: number) => calendar.edges(rule, at).find((edge) => edge > at) ?? at,
      onFault: (error) => {
        this.#seen.errors.note('settle', error);
      },
      onOverflow: (set, limit) => {
        this.#metrics.overflowed(set.name, limit.config.name);
      },
    });
  }

  /** @throws Error when the listener is not on loopback and there is no token */
  #decisionApi({ host }: ListenAddress): HttpHandler {
    const { decisionTokenFile } = this.#settings;
    if (decisionTokenFile === undefined && !isLoopback(host)) {
      throw new Error(`the decision API on ${host} needs tokens: set decisionTokenFile, or listen on 127.0.0.1`);
    }
    const api = new DecisionApi({
      inForce: () => this.#applier.inForce,
      configured: this.#configured,
      decider: this.#decider,
      metrics: this.#metrics,
      errors: this.#seen.errors,
      requestTimeoutMs: this.#settings.requestTimeoutMs,
      clock: this.#clock,
      bodyBudget: this.#bodyBudget,
      bodyIdleMs: this.#settings.bodyIdleTimeoutMs,
      ...(decisionTokenFile === undefined ? {} : { tokens: new TokenFile(decisionTokenFile) }),
    });
    return (request, response) => api.handle(request, response);
  }

  #onApplied(inForce: RuntimeInForce, { compiled, removals, outcomes, isPartial }: AppliedChange): void {
    const updates = outcomes.map(({ name }) => name);
    this.#sharers.applied(inForce, compiled, updates, removals);
    for (const { config, resourceName, secrets } of compiled) {
      this.#upstreamHealth.forget(resourceName);
      this.#metrics.objectInForce(config);
      // Connected before the first request: a connection made within its deadline could be too late.
      if (config.limits.length > 0) this.#stores.renew(config, secrets);
    }
    for (const name of removals) {
      this.#metrics.objectGone(name);
      this.#decider.forget(name);
      this.#upstreamHealth.forget(name);
    }
    this.#unclaimed.forgetClaimed((model) => inForce.set.takesModel(model));
    const rejected = outcomes.filter((outcome) => !outcome.accepted);
    this.#metrics.configUpdates(outcomes.length - rejected.length, rejected.length);
    for (const { name: resource, version, message: reason } of rejected) {
      this.#log.warn('config rejected', { resource, version, reason });
    }
    this.#upstreams.prune((scope) => this.#dialer.isCurrent(scope, inForce));
    this.#isStale = true;
    if (!isPartial) this.#configured.markConfigured();
    this.#sidecar?.frontDoor.review();
    if (isPartial) return;
    this.#firstContact.begin(this.#stores.whenReached());
  }

  #keepHouse(): void {
    if (!this.#isStale) return;
    this.#isStale = false;
    this.#stores.keepOnly([...this.#applier.inForce.set.objects()].map(({ config }) => config));
  }

  #adminView(): AdminView {
    return {
      readiness: () =>
        readinessOf({
          isDraining: this.#isDraining,
          isListening: this.#listeners.traffic !== undefined,
          state: this.#configured.state,
          hasContact: this.#firstContact.isOver,
          unconfiguredPolicy: this.#settings.unconfiguredPolicy,
        }),
      metrics: () => this.#metrics.registry.metrics(),
      configDump: () => ({
        id: this.#settings.id,
        state: this.#configured.state,
        fleet: this.#applier.inForce.fleet,
        sharers: this.#sharers.all(),
        versions: Object.fromEntries(this.#applier.versions()),
        configs: [...this.#applier.inForce.set.objects()].map(({ config }) => config),
      }),
      drain: (hold) => this.#drainAndWait(hold),
      drainToken: this.#settings.drainToken,
    };
  }
}
