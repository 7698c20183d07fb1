// Limiter, proxy: what the stages of a request need of their limiter. Types alone.
import type { Target } from '../../contract/limiter-config.ts';
import type { Clock } from '../../lib/clock.ts';
import type { RuntimeInForce } from '../config/config-applier.ts';
import type { Configured } from '../config/configured.ts';
import type { Decider } from '../decide/decide.ts';
import type { InternalErrors } from '../internal-errors.ts';
import type { LimiterMetrics } from '../metrics.ts';
import type { RecordObserver } from '../record/request-record.ts';
import type { BodyBudget } from '../request/body-budget.ts';
import type { BodyBounds } from '../request/body.ts';
import type { Forwarder } from './forwarder.ts';
import type { Unclaimed } from './unclaimed.ts';

export interface ProxyOptions {
  readonly inForce: () => RuntimeInForce;
  readonly configured: Configured;
  readonly decider: Decider;
  readonly forwarder: Forwarder;
  /** Must not throw. */
  readonly metrics: Pick<LimiterMetrics, 'requestsInFlight' | 'corsAsked'>;
  /** Called once for every request, when it has ended. Must not throw. */
  readonly observed: RecordObserver;
  readonly errors: InternalErrors;
  readonly clock: Clock;
  /** The server of the own pod. */
  readonly ownTarget: Target | undefined;
  /** Of a sidecar: what nobody claims. */
  readonly unclaimed: Unclaimed | undefined;
  readonly unconfiguredPolicy: 'Pass' | 'Refuse';
  readonly bodyBounds: BodyBounds;
  readonly bodyBudget: BodyBudget;
  /** From a request's headers to the end of its body. */
  readonly requestTimeoutMs: number;
  /** A number in [0, 1): chooses among weighted targets. */
  readonly random: () => number;
}
