// Controller: what the operator counts. Input: what its parts report. Output: Prometheus text. Labels are few and
// fixed: names of objects are in object-metrics.ts alone, and bounded there.
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { ObjectMetrics } from './object-metrics.ts';
import type { ElectionObserver } from './election/leader-election.ts';
import type { AdmissionObserver } from './webhook/injection-webhook.ts';
import type { PushObserver } from './push/push-session.ts';

/** Read when Prometheus asks. */
export interface Gauges {
  readonly queueDepth: () => Readonly<Record<string, number>>;
  readonly connectedLimiters: () => number;
  /** By feed. */
  readonly feeds: () => Readonly<
    Record<string, { readonly failures: number; readonly handlerErrors: number; readonly size: number }>
  >;
  readonly isLeader: () => boolean;
  /** Whether the injection config holds something else than what is in use. */
  readonly isInjectionFaulty: () => boolean;
}

const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export class OperatorMetrics implements PushObserver, AdmissionObserver, ElectionObserver {
  readonly registry = new Registry();
  readonly #reconciles = this.#counter('weir_reconciles_total', 'Reconciles of objects.', 'result');
  readonly #reconcileSeconds = this.#histogram('weir_reconcile_seconds', 'Duration of a reconcile, without writes.');
  readonly #pushSeconds = this.#histogram(
    'weir_push_latency_seconds',
    'Time from compiling a config to its acknowledgement by a limiter.',
  );
  readonly #rejected = this.#counter('weir_push_nacks_total', 'Resources that limiters refused (NACK).');
  readonly #sent = this.#counter('weir_push_resources_total', 'Resources and removals sent to limiters.', 'kind');
  readonly #reports = this.#counter('weir_limiter_reports_total', 'Reports of limiters about stores and upstreams.');
  readonly #statusWrites = this.#counter('weir_status_writes_total', 'Writes of statuses.', 'result');
  readonly #events = this.#counter(
    'weir_events_total',
    'Kubernetes Events of objects; dropped: the queue was full.',
    'result',
  );
  readonly #admissions = this.#counter('weir_admissions_total', 'Pods that the webhook reviewed.', 'result');
  readonly #admissionSeconds = this.#histogram('weir_admission_seconds', 'Duration of a review by the webhook.');
  readonly #leaseWrites = this.#counter('weir_lease_writes_total', 'Attempts to take or renew the lease.', 'result');
  readonly #leaseSeconds = this.#histogram('weir_lease_write_seconds', 'Duration of such an attempt.');
  readonly #leaderships = this.#counter(
    'weir_leadership_changes_total',
    'Times that this process took and lost the lease.',
    'to',
  );

  /** How the objects stand; absent before `watch`. */
  objects: ObjectMetrics | undefined;

  /** Registers what is read on demand; to be called once. */
  watch(gauges: Gauges): void {
    collectDefaultMetrics({ register: this.registry });
    this.objects = new ObjectMetrics(this.registry, gauges.isLeader);
    this.#gauge('weir_queue_depth', 'Keys in the work queue.', 'queue', gauges.queueDepth);
    this.#gauge('weir_connected_limiters', 'Connected limiters.', undefined, () => ({
      '': gauges.connectedLimiters(),
    }));
    this.#gauge('weir_is_leader', '1 while this process holds the lease.', undefined, () => ({
      '': gauges.isLeader() ? 1 : 0,
    }));
    this.#gauge(
      'weir_injection_config_faulty',
      '1: the injection config is invalid, and the last good one is in use.',
      undefined,
      () => ({ '': gauges.isInjectionFaulty() ? 1 : 0 }),
    );
    const feed = (pick: 'failures' | 'handlerErrors' | 'size') => (): Record<string, number> =>
      Object.fromEntries(Object.entries(gauges.feeds()).map(([name, stats]) => [name, stats[pick]]));
    this.#gauge('weir_watched_objects', 'Objects in the local copy.', 'type', feed('size'));
    this.#gauge('weir_watch_failures', 'Interrupted lists and watches since the start.', 'type', feed('failures'));
    this.#gauge('weir_handler_errors', 'Handlers that failed since the start.', 'type', feed('handlerErrors'));
  }

  reconciled(ok: boolean, seconds: number): void {
    this.#reconciles.inc({ result: ok ? 'ok' : 'failed' });
    this.#reconcileSeconds.observe(seconds);
  }

  statusWritten(result: string): void {
    this.#statusWrites.inc({ result });
  }

  eventTold(result: string): void {
    this.#events.inc({ result });
  }

  leaseWritten(ok: boolean, seconds: number): void {
    this.#leaseWrites.inc({ result: ok ? 'ok' : 'failed' });
    this.#leaseSeconds.observe(seconds);
  }

  leadershipChanged(isLeader: boolean): void {
    this.#leaderships.inc({ to: isLeader ? 'leader' : 'follower' });
  }

  admitted(result: string, seconds: number): void {
    this.#admissions.inc({ result });
    this.#admissionSeconds.observe(seconds);
  }

  acked(latencyMs: number): void {
    this.#pushSeconds.observe(latencyMs / 1000);
  }

  nacked(count: number): void {
    this.#rejected.inc(count);
  }

  reported(): void {
    this.#reports.inc();
  }

  sent(resources: number, removed: number): void {
    this.#sent.inc({ kind: 'resource' }, resources);
    this.#sent.inc({ kind: 'removal' }, removed);
  }

  #counter(name: string, help: string, ...labelNames: string[]): Counter {
    return new Counter({ name, help, labelNames, registers: [this.registry] });
  }

  #histogram(name: string, help: string): Histogram {
    return new Histogram({ name, help, buckets: SECONDS, registers: [this.registry] });
  }

  #gauge(name: string, help: string, label: string | undefined, read: () => Readonly<Record<string, number>>): void {
    new Gauge({
      name,
      help,
      labelNames: label === undefined ? [] : [label],
      registers: [this.registry],
      collect() {
        for (const [value, count] of Object.entries(read())) {
          if (label === undefined) this.set(count);
          else this.set({ [label]: value }, count);
        }
      },
    });
  }
}
