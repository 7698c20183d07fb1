// Limiter, beside the request path: who is told what happens, and the nets under it. In: a logger, metrics, a clock;
// out: the same, unable to throw, and the observers that listeners and upstreams report to.
import type { Clock } from '../lib/clock.ts';
import { attempt, guarded } from '../lib/guarded.ts';
import type { ListenOptions } from '../lib/http/http-listener.ts';
import type { Logger } from '../lib/log.ts';
import type { UpstreamHealth } from './health/upstream-health.ts';
import { InternalErrors } from './internal-errors.ts';
import type { LimiterMetrics } from './metrics.ts';
import type { UpstreamObserver } from './proxy/forwarder.ts';
import type { RecordObserver } from './record/request-record.ts';
import { faultAnswer } from './refusal/fault-answer.ts';
import type { LimiterSettings } from './settings.ts';

export type ListenerName = 'traffic' | 'decision' | 'admin';

type ListenBounds = Pick<
  LimiterSettings,
  'maxHeaderBytes' | 'maxHeaders' | 'requestHeadersTimeoutMs' | 'keepAliveTimeoutMs'
>;

/** Nothing in here throws: an observer that fails costs no request. */
export class Observation {
  readonly log: Logger;
  readonly metrics: LimiterMetrics;
  readonly errors: InternalErrors;
  readonly #clock: Clock;

  constructor(log: Logger, metrics: LimiterMetrics, clock: Clock) {
    this.#clock = clock;
    this.log = guarded(log, () => undefined);
    this.errors = new InternalErrors({
      log: this.log,
      clock,
      onError: (place) => {
        metrics.internalError(place);
      },
    });
    this.metrics = guarded(metrics, (error) => {
      this.errors.note('metrics', error);
    });
  }

  /** Bounds of a listener, the form of its faults, and where they are counted. */
  listenOptions(listener: ListenerName, bounds: ListenBounds): ListenOptions {
    const { maxHeaderBytes, maxHeaders, requestHeadersTimeoutMs, keepAliveTimeoutMs } = bounds;
    return {
      maxHeaderBytes,
      maxHeaders,
      keepAliveTimeoutMs,
      headersTimeoutMs: requestHeadersTimeoutMs,
      ...(listener === 'traffic' ? { answerTo: faultAnswer } : {}),
      onFault: (code) => {
        this.metrics.httpFault(listener, code);
      },
      onThrow: (error, requestId) => {
        this.errors.note(listener === 'decision' ? 'decision_api' : listener, error, { requestId });
      },
    };
  }

  /** The metrics and `others` as one observer of requests: one that fails keeps no other from its record. */
  recordObserver(others: readonly RecordObserver[]): RecordObserver {
    return (record) => {
      this.metrics.recorded(record);
      for (const other of others) {
        attempt(
          () => {
            other(record);
          },
          (error) => {
            this.errors.note('observer', error);
          },
        );
      }
    };
  }

  upstreamObserver(health: UpstreamHealth): UpstreamObserver {
    const observer: UpstreamObserver = {
      answered: (object, url) => {
        health.answered(object, url);
      },
      unreachable: (object, url, trouble) => {
        health.unreachable(object, url, this.#clock.monotonicMs(), trouble);
      },
      faulted: (kind) => {
        this.metrics.upstreamFault(kind);
      },
      threw: (error) => {
        this.errors.note('relay', error);
      },
    };
    return guarded(observer, (error) => {
      this.errors.note('observer', error);
    });
  }
}
