// CLI: the flags of `weir limiter` that bound what clients and upstreams may do. Input: flags, each also from the
// environment (WEIR_…); output: checked sizes and durations, with the limiter's defaults.
import type { Command, Option } from 'commander';
import { LIMITER_DEFAULTS, type LimiterSettings } from '../../limiter/settings.ts';
import { flag, listOf, parseEgress } from './flags.ts';
import {
  parseBytes,
  parseDurationMs,
  parseDurationMsOrOff,
  parseHeaderBytes,
  parseHeaderCount,
} from './limiter-flags.ts';

/** Sizes in bytes, durations in ms. */
export interface BoundFlags {
  readonly maxBody: number;
  /** Absent: as much as {@link boundsOf} finds sensible. */
  readonly bodyBudget?: number;
  readonly bodyIdleTimeout: number;
  readonly maxHeaderBytes: number;
  readonly maxHeaders: number;
  readonly requestHeadersTimeout: number;
  readonly requestTimeout: number;
  readonly keepAliveTimeout: number;
  readonly connectTimeout: number;
  readonly headersTimeout: number;
  readonly streamIdleTimeout: number;
  readonly upstreamIdleTimeout: number;
  readonly egressAllow: readonly string[];
}

/** A flag with a duration; `text` is its default. */
export function durationFlag(flags: string, env: string, description: string, text: string): Option {
  return flag(flags, env, description).default(parseDurationMs(text), text).argParser(parseDurationMs);
}

/** Adds the flags. */
export function withBoundFlags(command: Command): void {
  withBodyFlags(command);
  withRequestFlags(command);
  withUpstreamFlags(command);
}

/** Bounds of request bodies. */
function withBodyFlags(command: Command): void {
  const { maxBodyBytes } = LIMITER_DEFAULTS;
  command
    .addOption(
      flag('--max-body <size>', 'WEIR_MAX_BODY', 'largest request body, as sent and as decoded')
        .default(maxBodyBytes, '16Mi')
        .argParser(parseBytes),
    )
    .addOption(
      flag(
        '--body-budget <size>',
        'WEIR_BODY_BUDGET',
        'all request bodies held at once, as sent and as decoded: else 503 (default: 128Mi, or four times --max-body)',
      ).argParser(parseBytes),
    )
    .addOption(
      durationFlag(
        '--body-idle-timeout <duration>',
        'WEIR_BODY_IDLE_TIMEOUT',
        'the longest pause in a request body that the limiter reads: else 408',
        '30s',
      ),
    );
}

/** Bounds of what else clients send. */
function withRequestFlags(command: Command): void {
  const { maxHeaderBytes, maxHeaders } = LIMITER_DEFAULTS;
  command
    .addOption(
      flag('--max-header-bytes <size>', 'WEIR_MAX_HEADER_BYTES', 'largest request line and headers together: else 431')
        .default(maxHeaderBytes, '16Ki')
        .argParser(parseHeaderBytes),
    )
    .addOption(
      flag('--max-headers <count>', 'WEIR_MAX_HEADERS', 'most header lines of a request: else 431')
        .default(maxHeaders)
        .argParser(parseHeaderCount),
    )
    .addOption(
      durationFlag(
        '--request-headers-timeout <duration>',
        'WEIR_REQUEST_HEADERS_TIMEOUT',
        'to send the request line and headers: else 408',
        '1m',
      ),
    )
    .addOption(
      durationFlag(
        '--request-timeout <duration>',
        'WEIR_REQUEST_TIMEOUT',
        'to send a body that the limiter reads: else 408',
        '5m',
      ),
    )
    .addOption(
      durationFlag(
        '--keep-alive-timeout <duration>',
        'WEIR_KEEP_ALIVE_TIMEOUT',
        "how long a client's connection may wait for its next request",
        '1m15s',
      ),
    );
}

/** Bounds of what upstreams do, and which there may be. */
function withUpstreamFlags(command: Command): void {
  command
    .addOption(durationFlag('--connect-timeout <duration>', 'WEIR_CONNECT_TIMEOUT', 'to connect to an upstream', '5s'))
    .addOption(
      durationFlag('--headers-timeout <duration>', 'WEIR_HEADERS_TIMEOUT', "until an upstream's answer begins", '10m'),
    )
    .addOption(
      flag(
        '--stream-idle-timeout <duration>',
        'WEIR_STREAM_IDLE_TIMEOUT',
        'how long an answer may pause once it has begun, or off',
      )
        .default(LIMITER_DEFAULTS.streamIdleTimeoutMs, '1h')
        .argParser(parseDurationMsOrOff),
    )
    .addOption(
      durationFlag(
        '--upstream-idle-timeout <duration>',
        'WEIR_UPSTREAM_IDLE_TIMEOUT',
        'how long an unused connection to an upstream is kept',
        '4s',
      ),
    )
    .addOption(
      flag('--egress-allow <targets>', 'WEIR_EGRESS_ALLOW', 'may be dialled beside what the operator allows')
        .default([], 'none')
        .argParser(listOf(parseEgress)),
    );
}

type Bounds = Pick<
  LimiterSettings,
  | 'maxBodyBytes'
  | 'bodyBudgetBytes'
  | 'maxHeaderBytes'
  | 'maxHeaders'
  | 'egressAllow'
  | `${'bodyIdle' | 'requestHeaders' | 'request' | 'keepAlive' | 'connect' | 'headers' | 'streamIdle' | 'upstreamIdle'}TimeoutMs`
>;

/** Which bounds do not go together; undefined: all of them do. */
export function complaintAboutBounds({
  maxBody,
  bodyBudget,
}: Pick<BoundFlags, 'maxBody' | 'bodyBudget'>): string | undefined {
  // A large body may use three quarters of the budget, and be there as sent and as decoded.
  if (bodyBudget === undefined || bodyBudget >= 3 * maxBody) return undefined;
  return `--body-budget ${bodyBudget} is less than three times --max-body ${maxBody}: raise it, or leave it out`;
}

/** The bounds as the limiter takes them. */
export function boundsOf(flags: BoundFlags): Bounds {
  return {
    maxBodyBytes: flags.maxBody,
    bodyBudgetBytes: flags.bodyBudget ?? Math.max(LIMITER_DEFAULTS.bodyBudgetBytes, 4 * flags.maxBody),
    bodyIdleTimeoutMs: flags.bodyIdleTimeout,
    maxHeaderBytes: flags.maxHeaderBytes,
    maxHeaders: flags.maxHeaders,
    requestHeadersTimeoutMs: flags.requestHeadersTimeout,
    requestTimeoutMs: flags.requestTimeout,
    keepAliveTimeoutMs: flags.keepAliveTimeout,
    connectTimeoutMs: flags.connectTimeout,
    headersTimeoutMs: flags.headersTimeout,
    streamIdleTimeoutMs: flags.streamIdleTimeout,
    upstreamIdleTimeoutMs: flags.upstreamIdleTimeout,
    egressAllow: flags.egressAllow,
  };
}
