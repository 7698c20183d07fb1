// Limiter: what a limiter process is told once, at its start. In: flags and environment (src/cli); out: typed settings.
import type { ListenAddress } from '../lib/http/http-listener.ts';
import type { ConfigSource } from './config/config-source.ts';

/** Everything `runLimiter` needs. All durations in ms, all sizes in bytes. */
export interface LimiterSettings {
  /** This limiter's name in logs, metrics and at the operator. */
  readonly id: string;
  /** sidecar: what no route claims is forwarded to `upstream`, uncounted. shared: what no route takes is 404. */
  readonly mode: 'sidecar' | 'shared';
  readonly listen: ListenAddress;
  readonly adminListen: ListenAddress;
  /** Absent: no decision API. */
  readonly decisionListen?: ListenAddress;
  /** One token per line, `name:token` or `token`; required where the decision API is not on loopback. */
  readonly decisionTokenFile?: string;
  /** Only who brings it may drain this limiter; absent: callers on loopback. */
  readonly drainToken?: string;
  /** Sidecar: the server of its own pod, `http://127.0.0.1:8000`; also the target of routes that name none. */
  readonly upstream?: string;
  readonly source: ConfigSource;
  /** Capabilities that this limiter pretends not to have. */
  readonly withoutCapabilities: readonly string[];
  readonly storeDeadlineMs: number;
  readonly unconfiguredPolicy: 'Pass' | 'Refuse';
  /** How long a limiter that never had a config waits for one. */
  readonly unconfiguredWaitMs: number;
  /** How long requests in flight may go on after SIGTERM. */
  readonly graceMs: number;
  readonly maxBodyBytes: number;
  /** Bound of all request bodies that are held at once, as sent and as decoded: 503 beyond it. */
  readonly bodyBudgetBytes: number;
  /** The longest pause in a request body that the limiter reads: 408 beyond it. */
  readonly bodyIdleTimeoutMs: number;
  /** Request line and headers together; more is 431. */
  readonly maxHeaderBytes: number;
  /** Header lines of a request; more is 431. */
  readonly maxHeaders: number;
  /** From the first byte of a request, or from a new connection, to the end of its headers. */
  readonly requestHeadersTimeoutMs: number;
  /** From a request's headers to the end of its body, where the limiter reads the body before it decides. */
  readonly requestTimeoutMs: number;
  /** How long a client's connection may wait for its next request. */
  readonly keepAliveTimeoutMs: number;
  readonly connectTimeoutMs: number;
  /** From the request sent to the upstream's headers. */
  readonly headersTimeoutMs: number;
  /** How long an answer may pause once it has begun; 0: as long as it likes. */
  readonly streamIdleTimeoutMs: number;
  /** How long an unused connection to an upstream is kept for the next request. */
  readonly upstreamIdleTimeoutMs: number;
  /** What may be dialled beside what the operator's Fleet resource allows: CIDRs, host names, `*.example.com`. */
  readonly egressAllow: readonly string[];
}

/** The defaults of every setting that has one. */
export const LIMITER_DEFAULTS = {
  mode: 'shared',
  listen: { host: '0.0.0.0', port: 8080 },
  adminListen: { host: '127.0.0.1', port: 9090 },
  decisionListen: { host: '127.0.0.1', port: 8081 },
  withoutCapabilities: [],
  storeDeadlineMs: 50,
  unconfiguredPolicy: 'Pass',
  unconfiguredWaitMs: 10_000,
  graceMs: 30_000,
  maxBodyBytes: 16 * 1024 * 1024,
  bodyBudgetBytes: 128 * 1024 * 1024,
  bodyIdleTimeoutMs: 30_000,
  maxHeaderBytes: 16 * 1024,
  maxHeaders: 100,
  requestHeadersTimeoutMs: 60_000,
  requestTimeoutMs: 300_000,
  // Longer than the idle timeouts of load balancers: the limiter is never the one to close a connection being reused.
  keepAliveTimeoutMs: 75_000,
  connectTimeoutMs: 5_000,
  headersTimeoutMs: 600_000,
  streamIdleTimeoutMs: 3_600_000,
  // Shorter than the keep-alive of common servers (uvicorn and Node: 5 s): the upstream is not the one to close first.
  upstreamIdleTimeoutMs: 4_000,
  egressAllow: [],
} as const satisfies Partial<LimiterSettings>;
