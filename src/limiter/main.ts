// Limiter, wiring: settings -> a running limiter. The order of a request is in proxy/proxy.ts; here is who knows whom, and
// the order of starting and stopping.
import { systemClock, type Clock } from '../lib/clock.ts';
import { createLogger, type Logger } from '../lib/log.ts';
import type { Target, WindowRule } from '../contract/limiter-config.ts';
import { adminHandler } from './admin.ts';
import { ConfigApplier, type AppliedChange, type InForce } from './config-applier.ts';
import { Configured } from './configured.ts';
import { Decider } from './decide.ts';
import { listen, type HttpListener } from './http-listener.ts';
import { LimiterMetrics } from './metrics.ts';
import { Dialer } from './proxy/dialer.ts';
import { Forwarder } from './proxy/forwarder.ts';
import { Proxy } from './proxy/proxy.ts';
import { Upstreams } from './proxy/upstream.ts';
import type { LimiterSettings, ListenAddress } from './settings.ts';
import { WindowCalendar } from './store/calendar-window.ts';
import { MemoryStore } from './store/memory-store.ts';

/** Settlements that a store did not take are sent again this often. */
const RETRY_SETTLEMENTS_MS = 1_000;

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
  /** A number in [0, 1). */
  readonly random?: () => number;
}
