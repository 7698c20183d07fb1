// Limiter, wiring: settings -> a running limiter. The order of a request is in proxy/proxy.ts; here is who knows whom, and
// the order of starting and stopping.
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { systemClock, type Clock } from '../lib/clock.ts';
import { createLogger, type Logger } from '../lib/log.ts';
import type { Target, WindowRule } from '../contract/limiter-config.ts';
import { adminHandler, type AdminView, type DrainHold } from './admin.ts';
import { ConfigApplier, type AppliedChange, type InForce } from './config/config-applier.ts';
import { Configured } from './config/configured.ts';
import { Decider } from './decide/decide.ts';
import { SharerCounts } from './decide/sharer-counts.ts';
import { DecisionApi } from './decision-api/decision-api.ts';
import { isLoopback, TokenFile } from './decision-api/decision-token.ts';
import { mayDial } from './egress/egress.ts';
import { HealthWatch } from './health/health-watch.ts';
import { FirstContact } from './config/first-contact.ts';
import { listen, type HttpListener, type ListenAddress } from '../lib/http-listener.ts';
import { LimiterMetrics } from './metrics.ts';
import { Dialer } from './proxy/dialer.ts';
import { Forwarder, type UpstreamObserver } from './proxy/forwarder.ts';
import { guardedLookup } from './egress/guarded-lookup.ts';
import { Proxy } from './proxy/proxy.ts';
import { Upstreams } from './proxy/upstream.ts';
import type { RuntimeObject } from './compile/runtime-object.ts';
import type { LimiterSettings } from './settings.ts';
import { UpstreamHealth } from './health/upstream-health.ts';
import { WindowCalendar } from './store/rule/calendar-window.ts';
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
  /** A number in [0, 1). */
  readonly random?: () => number;
  readonly firstContact?: FirstContact;
}

/**
 * Starts a limiter. Resolves once it listens and what was at hand of its configs is in force; an operator or a Redis that
 * is away is no error.
 * @throws Error for settings that cannot work (a port that is taken, a decision API without a token), naming the setting
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
  readonly #configured = new Configured();
  readonly #stores: StoreRegistry;
  readonly #firstContact: FirstContact;
  readonly #applier: ConfigApplier;
  readonly #sharers: SharerCounts;
  readonly #decider: Decider;
  readonly #upstreams: Upstreams;
  readonly #dialer: Dialer;
  readonly #upstreamHealth = new UpstreamHealth();
  readonly #health: HealthWatch;
  readonly #proxy: Proxy;
  readonly #listeners: { traffic?: HttpListener; admin?: HttpListener; decision?: HttpListener } = {};
  #housekeeping: NodeJS.Timeout | undefined;
  #isStale = false;
  #isDraining = false;
  #inFlight = 0;
  #closed: Promise<void> | undefined;

  constructor(settings: LimiterSettings, parts: LimiterParts) {
    this.#settings = settings;
    this.#clock = parts.clock ?? systemClock;
    this.#metrics = parts.metrics ?? new LimiterMetrics();
    this.#firstContact = parts.firstContact ?? new FirstContact();
    this.#log = parts.logger ?? createLogger('limiter');
    const ownTarget: Target | undefined =
      settings.upstream === undefined ? undefined : { url: settings.upstream, weight: 1 };
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
    this.#upstreams = new Upstreams({ connectMs: settings.connectTimeoutMs, headersMs: settings.headersTimeoutMs });
    this.#dialer = new Dialer(ownTarget);
    this.#health = this.#createHealthWatch();
    this.#proxy = new Proxy({
      inForce: () => this.#applier.inForce,
      configured: this.#configured,
      decider: this.#decider,
      forwarder: new Forwarder(this.#upstreams, this.#dialer, this.#upstreamObserver()),
      metrics: this.#metrics,
      logger: this.#log,
      clock: this.#clock,
      mode: settings.mode,
      ownTarget,
      unconfiguredPolicy: settings.unconfiguredPolicy,
      maxBodyBytes: settings.maxBodyBytes,
      random: parts.random ?? Math.random,
    });
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
    this.#listeners.admin = await listen(adminHandler(this.#adminView()), adminListen);
    if (decisionListen !== undefined) {
      this.#listeners.decision = await listen(this.#decisionApi(decisionListen), decisionListen);
    }
    this.#configured.startWaiting(unconfiguredWaitMs, () => {
      this.#log.warn('no configuration came in time', { policy: this.#settings.unconfiguredPolicy });
    });
    await this.#settings.source.start((change) => this.#applier.apply(change));
    this.#listeners.traffic = await listen((request, response) => {
      this.#take(request, response);
    }, trafficAddress);
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
  #take(request: IncomingMessage, response: ServerResponse): void {
    if (this.#isDraining) response.shouldKeepAlive = false;
    this.#inFlight += 1;
    response.once('close', () => {
      this.#inFlight -= 1;
    });
    this.#proxy.handle(request, response);
  }

  async #drainAndWait({ delayMs, maxMs }: DrainHold): Promise<void> {
    const startMs = this.#clock.monotonicMs();
    this.drain();
    await delay(Math.min(delayMs, maxMs));
    while (this.#inFlight > 0 && this.#clock.monotonicMs() - startMs < maxMs) await delay(DRAIN_LOOK_MS);
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

  #upstreamObserver(): UpstreamObserver {
    return {
      answered: (object, url) => {
        this.#upstreamHealth.answered(object, url);
      },
      unreachable: (object, url) => {
        this.#upstreamHealth.unreachable(object, url, this.#clock.monotonicMs());
      },
    };
  }

  #createHealthWatch(): HealthWatch {
    return new HealthWatch({
      stores: () => this.#stores.byId(),
      upstreams: this.#upstreamHealth,
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
    const storeOf = new WeakMap<RuntimeObject, Store>();
    return new Decider({
      storeFor: (object) => {
        const known = storeOf.get(object) ?? this.#stores.storeFor(object.config, object.secrets);
        storeOf.set(object, known);
        return known;
      },
      sharersOf: (object) => this.#sharers.of(object),
      clock: this.#clock,
      windowEnd: (rule: WindowRule, at: number) => calendar.edges(rule, at).find((edge) => edge > at) ?? at,
      onOverflow: (object, limit) => {
        this.#metrics.overflowed(object.resourceName, limit.config.name);
      },
    });
  }

  /** @throws Error when the listener is not on loopback and there is no token */
  #decisionApi({ host }: ListenAddress): RequestListener {
    const { decisionTokenFile } = this.#settings;
    if (decisionTokenFile === undefined && !isLoopback(host)) {
      throw new Error(`the decision API on ${host} needs tokens: set decisionTokenFile, or listen on 127.0.0.1`);
    }
    const api = new DecisionApi({
      inForce: () => this.#applier.inForce,
      configured: this.#configured,
      decider: this.#decider,
      metrics: this.#metrics,
      logger: this.#log,
      clock: this.#clock,
      ...(decisionTokenFile === undefined ? {} : { tokens: new TokenFile(decisionTokenFile) }),
    });
    return (request, response) => {
      api.handle(request, response);
    };
  }

  #onApplied(inForce: InForce, { compiled, removals, outcomes, isPartial }: AppliedChange): void {
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
    const rejected = outcomes.filter((outcome) => !outcome.accepted);
    this.#metrics.configUpdates(outcomes.length - rejected.length, rejected.length);
    for (const { name: resource, version, message: reason } of rejected) {
      this.#log.warn('config rejected', { resource, version, reason });
    }
    this.#upstreams.prune((scope) => this.#dialer.isCurrent(scope, inForce));
    this.#isStale = true;
    if (isPartial) return;
    this.#configured.markConfigured();
    this.#firstContact.begin(this.#stores.whenReached());
  }

  #keepHouse(): void {
    if (!this.#isStale) return;
    this.#isStale = false;
    this.#stores.keepOnly([...this.#applier.inForce.set.objects()].map(({ config }) => config));
  }

  #adminView(): AdminView {
    return {
      readiness: () => this.#readiness(),
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

  #readiness(): { ready: boolean; reason: string } {
    if (this.#isDraining) return { ready: false, reason: 'draining' };
    // Configs come in before requests can: until then nobody must be sent here.
    if (this.#listeners.traffic === undefined) return { ready: false, reason: 'not listening yet' };
    const { state } = this.#configured;
    if (state === 'configured') {
      const { isOver } = this.#firstContact;
      return { ready: isOver, reason: isOver ? 'ok' : 'waiting for the first answer of a store' };
    }
    if (state === 'waiting') return { ready: false, reason: 'waiting for the first configuration' };
    const passes = this.#settings.unconfiguredPolicy === 'Pass';
    return { ready: passes, reason: `unconfigured: ${passes ? 'passing' : 'refusing'} all requests` };
  }
}
