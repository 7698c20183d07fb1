// Limiter, beside the request path: counts what was decided. In: decisions and states; out: Prometheus text. Every
// label comes from a config or a fixed list, never from a caller; the series of a deleted object or limit vanish with
// it.
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { LimiterConfig } from '../contract/limiter-config.ts';
import { resourceName } from '../contract/limiter-config.ts';
import type { ErrorName } from '../lib/errors.ts';
import type { Decision } from './decide/decision.ts';
import type { Handling } from './front/front-door.ts';
import type { Direction } from './front/splice.ts';
import type { FaultPlace } from './internal-errors.ts';
import type { UpstreamFault } from './proxy/relay.ts';
import type { RequestRecord } from './record/request-record.ts';
import type { BodyBudget } from './request/body-budget.ts';
import type { StoreHooks } from './store/create-store.ts';

type Labels = Record<string, string>;

/** A counter whose series belong to objects; counts only for objects and limits that are in effect. */
class ObjectCounter {
  readonly #counter: Counter;
  readonly #series = new Map<string, Map<string, Labels>>();

  constructor(registry: Registry, name: string, help: string, labelNames: readonly string[]) {
    this.#counter = new Counter({ name, help, labelNames: ['object', ...labelNames], registers: [registry] });
  }

  add(object: string, labels: Labels, amount = 1): void {
    const all = { object, ...labels };
    const ofObject = this.#series.get(object) ?? new Map<string, Labels>();
    this.#series.set(object, ofObject.set(Object.values(labels).join('\u0000'), all));
    this.#counter.inc(all, amount);
  }

  /** Removes the series of `object` that `keep` does not want. */
  remove(object: string, keep: (labels: Labels) => boolean): void {
    const ofObject = this.#series.get(object);
    for (const [id, labels] of ofObject ?? []) {
      if (keep(labels)) continue;
      this.#counter.remove(labels);
      ofObject?.delete(id);
    }
    if (ofObject?.size === 0) this.#series.delete(object);
  }
}

/** How a decision is called in metrics. */
function outcomeOf(decision: Decision): string {
  if (decision.kind === 'allowed') return 'allowed';
  if (decision.kind === 'unavailable') return 'unavailable';
  return { exhausted: 'denied', blocked: 'blocked', 'too-large': 'too_large' }[decision.reason];
}

/** The one limit that decided; '' when the request passed. */
function limitOf(decision: Decision): string {
  if (decision.kind === 'allowed') return '';
  return decision.kind === 'denied' ? decision.by.limit.name : decision.limit.name;
}

/** All metrics of one limiter, in a registry of its own. */
export class LimiterMetrics {
  readonly registry = new Registry();
  readonly #limitsInForce = new Map<string, ReadonlySet<string>>();
  readonly #decisions = new ObjectCounter(
    this.registry,
    'weir_decisions_total',
    'Decisions by object, the limit that decided, outcome, and the failurePolicy that decided instead of the store.',
    ['limit', 'outcome', 'degraded'],
  );
  readonly #shadow = new ObjectCounter(
    this.registry,
    'weir_shadow_refusals_total',
    'Requests that a limit in Shadow would have refused.',
    ['limit'],
  );
  readonly #answers = new ObjectCounter(
    this.registry,
    'weir_answers_total',
    'Answers by object, status class and who gave them (limiter or upstream).',
    ['status', 'source'],
  );
  readonly #overflows = new ObjectCounter(
    this.registry,
    'weir_key_overflow_total',
    'Requests counted in the overflow bucket, because there were too many keys.',
    ['limit'],
  );
  readonly #perObject = [this.#decisions, this.#shadow, this.#answers, this.#overflows];
  readonly #unrouted = this.#counter('weir_unrouted_requests_total', 'Requests that no object claims.', ['outcome']);
  readonly #unclaimed = this.#counter(
    'weir_unclaimed_requests_total',
    'Requests for models that no route claims, which a sidecar forwarded without a limit, by endpoint.',
    ['endpoint'],
  );
  readonly #configChanges = this.#counter('weir_config_updates_total', 'Configs received by outcome.', ['outcome']);
  readonly #objects = this.#gauge('weir_objects', 'Objects that this limiter enforces.');
  readonly #inFlight = this.#gauge('weir_requests_in_flight', 'Requests being served.');
  readonly #connections = this.#counter(
    'weir_connections_total',
    'Connections of a sidecar by result: passed through to the server, served as HTTP, refused, or not accepted by the server.',
    ['handling'],
  );
  readonly #spliced = this.#gauge('weir_spliced_connections', 'Connections that are passed through now.');
  readonly #splicedBytes = this.#counter(
    'weir_spliced_bytes_total',
    'Bytes passed through; in: from clients, out: from the server.',
    ['direction'],
  );
  readonly #configured = this.#gauge('weir_configured', '1 once a snapshot was applied.');
  readonly #connected = this.#gauge('weir_operator_connected', '1 while the operator answers.');
  readonly #circuits = new Gauge({
    name: 'weir_store_circuit_open',
    help: '1 while the circuit breaker of this store endpoint is open.',
    labelNames: ['endpoint'],
    registers: [this.registry],
  });
  readonly #refused = new Gauge({
    name: 'weir_store_credentials_refused',
    help: '1 while this store endpoint rejects the credentials, or there are none for it.',
    labelNames: ['endpoint'],
    registers: [this.registry],
  });
  readonly #storeTrouble = this.#counter(
    'weir_store_trouble_total',
    'Settlements that were dropped, and keys with a wrong type or value.',
    ['kind'],
  );
  readonly #internalErrors = this.#counter('weir_internal_errors_total', 'Internal errors of the limiter.', ['place']);
  readonly #httpFaults = this.#counter(
    'weir_http_faults_total',
    'Requests that are not valid HTTP, by listener and error code.',
    ['listener', 'code'],
  );
  readonly #upstreamFaults = this.#counter(
    'weir_upstream_faults_total',
    'Responses of upstreams that were rejected, corrected or cut.',
    ['kind'],
  );
  readonly #corsQuestions = this.#counter(
    'weir_cors_questions_total',
    'Preflights sent to upstreams to learn whether a page may read a response of the limiter.',
    ['outcome'],
  );
  readonly #decisionSeconds = new Histogram({
    name: 'weir_decision_seconds',
    help: 'Time from reading the request to the decision.',
    buckets: [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1],
    registers: [this.registry],
  });

  /** Counts a decision on a request to an object; `seconds` is what deciding took. */
  decided(object: string, decision: Decision, seconds: number): void {
    this.#decisionSeconds.observe(seconds);
    const limits = this.#limitsInForce.get(object);
    if (limits === undefined) return;
    const limit = limitOf(decision);
    const degraded = decision.kind === 'denied' ? '' : (decision.degraded ?? '');
    if (limit === '' || limits.has(limit)) {
      this.#decisions.add(object, { limit, outcome: outcomeOf(decision), degraded });
    }
    for (const outcome of decision.outcomes) {
      if (outcome.limit.enforcement !== 'Shadow' || !outcome.state.over || !limits.has(outcome.limit.name)) continue;
      this.#shadow.add(object, { limit: outcome.limit.name });
    }
  }

  /** Counts a request that has ended. */
  recorded(record: RequestRecord): void {
    const { placing, object, decision, decisionMs = 0, status, source } = record;
    if (object !== undefined && decision !== undefined) this.decided(object, decision, decisionMs / 1000);
    if (placing !== 'object') this.#unrouted.inc({ outcome: placing });
    else if (object !== undefined && status !== undefined && source !== undefined) {
      this.#answered(object, status, source);
    }
    if (record.unclaimedModel !== undefined) this.#unclaimed.inc({ endpoint: record.endpoint });
  }

  #answered(object: string, status: number, source: 'limiter' | 'upstream'): void {
    if (!this.#limitsInForce.has(object)) return;
    this.#answers.add(object, { status: `${Math.floor(status / 100)}xx`, source });
  }

  /** The limiter's own code threw. */
  internalError(place: FaultPlace): void {
    this.#internalErrors.inc({ place });
  }

  /** A request was answered, or cut, before any handler saw it. */
  httpFault(listener: 'traffic' | 'decision' | 'admin', code: ErrorName): void {
    this.#httpFaults.inc({ listener, code });
  }

  /** An upstream's answer was not valid HTTP, or paused for too long. */
  upstreamFault(kind: UpstreamFault): void {
    this.#upstreamFaults.inc({ kind });
  }

  /** An upstream was asked what it grants a page; `skipped`: too many questions were open. */
  corsAsked(outcome: 'granted' | 'refused' | 'unanswered' | 'skipped'): void {
    this.#corsQuestions.inc({ outcome });
  }

  /** A caller's key was put into the overflow bucket of a limit. */
  overflowed(object: string, limit: string): void {
    if (this.#limitsInForce.get(object)?.has(limit) === true) this.#overflows.add(object, { limit });
  }

  /** What stores tell of their trouble; endpoints come from configs. */
  storeHooks(): Required<StoreHooks> {
    return {
      onCircuit: (endpoint, state) => {
        this.#circuits.set({ endpoint }, state === 'open' ? 1 : 0);
      },
      onCredentials: (endpoint, state) => {
        this.#refused.set({ endpoint }, state === 'refused' ? 1 : 0);
      },
      onSettlementsDropped: (count) => {
        this.#storeTrouble.inc({ kind: 'settlement_dropped' }, count);
      },
      onBroken: (keys) => {
        this.#storeTrouble.inc({ kind: 'broken_key' }, keys.length);
      },
    };
  }

  /** Whose figures are read together with the metrics. */
  watchBodies(budget: Pick<BodyBudget, 'heldBytes' | 'refusedBodies'>): void {
    new Gauge({
      name: 'weir_request_body_bytes',
      help: 'Bytes of request bodies in memory, as sent and as decoded.',
      registers: [this.registry],
      collect() {
        this.set(budget.heldBytes);
      },
    });
    new Counter({
      name: 'weir_request_body_over_capacity_total',
      help: 'Request bodies refused with 503, or dropped because they arrived slowly, when --body-budget was reached.',
      registers: [this.registry],
      collect() {
        this.reset();
        this.inc(budget.refusedBodies);
      },
    });
  }

  operatorConnected(isConnected: boolean): void {
    this.#connected.set(isConnected ? 1 : 0);
  }

  /** A connection of a sidecar was placed; `spliced_unconfigured`: before any configuration came. */
  connectionHandled(handling: Handling | 'spliced_unconfigured'): void {
    this.#connections.inc({ handling });
  }

  spliceOpened(): void {
    this.#spliced.inc();
  }

  spliceClosed(): void {
    this.#spliced.dec();
  }

  spliceBytes(direction: Direction, bytes: number): void {
    this.#splicedBytes.inc({ direction }, bytes);
  }

  requestsInFlight(count: number): void {
    this.#inFlight.set(count);
  }

  configUpdates(accepted: number, rejected: number): void {
    this.#configured.set(1);
    this.#configChanges.inc({ outcome: 'accepted' }, accepted);
    this.#configChanges.inc({ outcome: 'rejected' }, rejected);
  }

  /** An object is in effect in this form: series of limits that it no longer has are removed. */
  objectInForce(config: LimiterConfig): void {
    const limits = new Set(config.limits.map(({ name }) => name));
    this.#limitsInForce.set(resourceName(config), limits);
    this.#keepSeries(resourceName(config), limits);
  }

  /** An object is gone, and its series with it. */
  objectGone(object: string): void {
    this.#limitsInForce.delete(object);
    for (const counter of this.#perObject) counter.remove(object, () => false);
    this.#objects.set(this.#limitsInForce.size);
  }

  #keepSeries(object: string, limits: ReadonlySet<string>): void {
    const keep = ({ limit }: Labels): boolean => !limit || limits.has(limit);
    for (const counter of this.#perObject) counter.remove(object, keep);
    this.#objects.set(this.#limitsInForce.size);
  }

  #counter(name: string, help: string, labelNames: string[]): Counter {
    return new Counter({ name, help, labelNames, registers: [this.registry] });
  }

  #gauge(name: string, help: string): Gauge {
    return new Gauge({ name, help, registers: [this.registry] });
  }
}
