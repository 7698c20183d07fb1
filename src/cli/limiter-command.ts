// CLI: `weir limiter`. Input: flags, each also from the environment (WEIR_…). Output: a running limiter that drains
// on SIGTERM and SIGINT; exit code 2 for invalid flags.
import { Command } from 'commander';
import { homedir, hostname } from 'node:os';
import { join } from 'node:path';
import { loadPushProtocol } from '../contract/push-protocol.ts';
import { createLogger, type Logger, type LogLevel } from '../lib/log.ts';
import { messageOf } from '../lib/thrown.ts';
import { ConfigClient } from '../limiter/config/config-client.ts';
import { isLoopback } from '../limiter/decision-api/decision-token.ts';
import { processNet } from '../limiter/internal-errors.ts';
import { runLimiter, type RunningLimiter } from '../limiter/main.ts';
import { LimiterMetrics } from '../limiter/metrics.ts';
import type { ListenAddress } from '../lib/http/http-listener.ts';
import { LIMITER_DEFAULTS, type LimiterSettings } from '../limiter/settings.ts';
import { flag, listOf, LOG_LEVELS, parseHost, parseHostPort, parseListen, parseNamespace } from './flags/flags.ts';
import { collectOldOften, freeStartMemory } from './start-memory.ts';
import { ownVersion } from './version.ts';
import { terminationSignal, whenAborted } from './termination.ts';
import {
  boundsOf,
  complaintAboutBounds,
  durationFlag,
  withBoundFlags,
  type BoundFlags,
} from './flags/limiter-bounds.ts';
import { parseBaseUrl, parseCapability, parseListenOrOff } from './flags/limiter-flags.ts';

const DEFAULT_OPERATORS: readonly string[] = ['127.0.0.1:18000'];

export interface LimiterFlags extends BoundFlags {
  readonly id?: string;
  readonly mode: LimiterSettings['mode'];
  readonly namespace: readonly string[];
  readonly listen: ListenAddress;
  readonly adminListen: ListenAddress;
  readonly decisionListen: ListenAddress | 'off';
  readonly decisionTokenFile?: string;
  readonly drainToken?: string;
  readonly upstream?: string;
  readonly operator: readonly string[];
  readonly operatorCa: string;
  readonly operatorName?: string;
  readonly tokenFile: string;
  readonly stateDir: string;
  readonly storeDeadline: number;
  readonly unconfiguredPolicy: LimiterSettings['unconfiguredPolicy'];
  readonly unconfiguredWait: number;
  readonly grace: number;
  readonly withoutCapability: readonly string[];
  readonly logLevel: LogLevel;
}

/** `weir limiter`: resolves when the limiter was told to stop and has drained. */
export function limiterCommand(): Command {
  const command = new Command('limiter').description(
    'Enforce limits: an HTTP proxy for models and MCP servers, and an API that decides for everything else.',
  );
  withListenFlags(command);
  withOperatorFlags(command);
  withTroubleFlags(command);
  withBoundFlags(command);
  return command.action((flags: LimiterFlags) => run(command, flags));
}

function withListenFlags(command: Command): void {
  const { mode, listen, adminListen, decisionListen } = LIMITER_DEFAULTS;
  command
    .addOption(flag('--id <name>', 'WEIR_ID', "this limiter's name at the operator (default: host name and port)"))
    .addOption(
      flag('--mode <mode>', 'WEIR_MODE', 'sidecar: forwards what no route claims; shared: answers it with 404')
        .choices(['sidecar', 'shared'])
        .default(mode),
    )
    .addOption(
      flag('--listen <host:port>', 'WEIR_LISTEN', 'where traffic comes in')
        .default(listen, textOf(listen))
        .argParser(parseListen),
    )
    .addOption(
      flag('--admin-listen <host:port>', 'WEIR_ADMIN_LISTEN', '/livez, /readyz, /metrics, /config_dump, /drain')
        .default(adminListen, textOf(adminListen))
        .argParser(parseListen),
    )
    .addOption(
      flag('--decision-listen <host:port>', 'WEIR_DECISION_LISTEN', 'the decision API, or off')
        .default(decisionListen, textOf(decisionListen))
        .argParser(parseListenOrOff),
    )
    .addOption(
      flag(
        '--decision-token-file <file>',
        'WEIR_DECISION_TOKEN_FILE',
        'bearer tokens of the decision API, one per line (name:token); needed where it is not on loopback',
      ),
    )
    .addOption(
      flag(
        '--drain-token <text>',
        'WEIR_DRAIN_TOKEN',
        'only who sends it as x-weir-drain-token may drain (default: callers on loopback)',
      ),
    )
    .addOption(
      flag(
        '--upstream <url>',
        'WEIR_UPSTREAM',
        'the server of the own pod: for routes without targets, and for what a sidecar forwards uncounted',
      ).argParser(parseBaseUrl),
    );
}

function withOperatorFlags(command: Command): void {
  const folder = join(homedir(), '.weir');
  command
    .addOption(
      flag(
        '--operator <host:port>',
        'WEIR_OPERATOR',
        "the operator's push port; several (repeated or with commas) are tried in turn",
      )
        .default(DEFAULT_OPERATORS, '127.0.0.1:18000')
        .argParser(parseOperators),
    )
    .addOption(
      flag(
        '--operator-ca <file>',
        'WEIR_OPERATOR_CA',
        "PEM file that the operator's certificate is checked against",
      ).default(join(folder, 'tls', 'ca.crt'), '~/.weir/tls/ca.crt'),
    )
    .addOption(
      flag(
        '--operator-name <name>',
        'WEIR_OPERATOR_NAME',
        "the name in the operator's certificate (default: its host)",
      ).argParser(parseHost),
    )
    .addOption(
      flag('--token-file <file>', 'WEIR_TOKEN_FILE', 'ServiceAccount token for the audience weir.dev').default(
        '/var/run/secrets/weir.dev/token',
      ),
    )
    .addOption(
      flag('--namespace <names>', 'WEIR_NAMESPACE', 'a shared limiter wants only these, repeated or with commas')
        .default([], 'all')
        .argParser(listOf(parseNamespace)),
    )
    .addOption(
      flag('--state-dir <folder>', 'WEIR_STATE_DIR', 'where the last good snapshot is kept; empty: nowhere').default(
        join(folder, 'limiter'),
        '~/.weir/limiter',
      ),
    )
    .addOption(
      flag('--without-capability <ids>', 'WEIR_WITHOUT_CAPABILITY', 'act as a limiter that lacks these, to try a NACK')
        .default([], 'none')
        .argParser(listOf(parseCapability)),
    );
}

/** The first one that is given replaces the default. */
function parseOperators(text: string, previous: readonly string[]): string[] {
  return listOf(parseHostPort)(text, previous === DEFAULT_OPERATORS ? [] : previous);
}

function withTroubleFlags(command: Command): void {
  command
    .addOption(
      durationFlag(
        '--store-deadline <duration>',
        'WEIR_STORE_DEADLINE',
        'the longest that a decision waits for Redis',
        '50ms',
      ),
    )
    .addOption(
      flag('--unconfigured-policy <policy>', 'WEIR_UNCONFIGURED_POLICY', 'without any configuration after the wait')
        .choices(['Pass', 'Refuse'])
        .default(LIMITER_DEFAULTS.unconfiguredPolicy),
    )
    .addOption(
      durationFlag(
        '--unconfigured-wait <duration>',
        'WEIR_UNCONFIGURED_WAIT',
        'how long to wait for a configuration',
        '10s',
      ),
    )
    .addOption(
      durationFlag('--grace <duration>', 'WEIR_GRACE', 'how long requests in flight may go on after SIGTERM', '30s'),
    )
    .addOption(flag('--log-level <level>', 'WEIR_LOG_LEVEL', 'how much to log').choices(LOG_LEVELS).default('info'));
}

async function run(command: Command, flags: LimiterFlags): Promise<void> {
  const complaint = complaintAboutLimiter(flags);
  if (complaint !== undefined) command.error(`error: ${complaint}`);
  const told = terminationSignal();
  const logger = createLogger('limiter', flags.logLevel);
  const metrics = new LimiterMetrics();
  let limiter: RunningLimiter;
  try {
    const settings = settingsOf(flags, logger, metrics);
    loadPushProtocol();
    freeStartMemory();
    collectOldOften();
    limiter = await runLimiter(settings, { logger, metrics });
  } catch (error) {
    if (isSettingError(error)) command.error(`error: ${messageOf(error)}`);
    throw error;
  }
  const release = processNet(logger, metrics);
  await whenAborted(told);
  await limiter.close();
  release();
}

/** What no flag can say alone. */
export function complaintAboutLimiter(flags: LimiterFlags): string | undefined {
  const { decisionListen, decisionTokenFile, id } = flags;
  if (decisionListen !== 'off' && !isLoopback(decisionListen.host) && decisionTokenFile === undefined) {
    const fix = 'give --decision-token-file, or listen on 127.0.0.1';
    return `--decision-listen ${textOf(decisionListen)} is not on loopback: ${fix}`;
  }
  const isId = id === undefined || /^[A-Za-z0-9][-A-Za-z0-9_.:]{0,252}$/.test(id);
  return isId ? complaintAboutBounds(flags) : '--id may hold letters, digits and -_.: only';
}

function settingsOf(flags: LimiterFlags, log: Logger, metrics: LimiterMetrics): LimiterSettings {
  const { decisionListen, decisionTokenFile, drainToken, upstream } = flags;
  const id = flags.id ?? `${hostname()}-${flags.listen.port}`;
  return {
    id,
    mode: flags.mode,
    listen: flags.listen,
    adminListen: flags.adminListen,
    ...(decisionListen === 'off' ? {} : { decisionListen }),
    ...(decisionTokenFile === undefined ? {} : { decisionTokenFile }),
    ...(drainToken === undefined ? {} : { drainToken }),
    ...(upstream === undefined ? {} : { upstream }),
    source: configClient(id, flags, log, metrics),
    withoutCapabilities: flags.withoutCapability,
    storeDeadlineMs: flags.storeDeadline,
    unconfiguredPolicy: flags.unconfiguredPolicy,
    unconfiguredWaitMs: flags.unconfiguredWait,
    graceMs: flags.grace,
    ...boundsOf(flags),
  };
}

function configClient(id: string, flags: LimiterFlags, log: Logger, metrics: LimiterMetrics): ConfigClient {
  const { operator, operatorCa: caFile, operatorName, tokenFile, stateDir, namespace } = flags;
  const namespaces = flags.mode === 'sidecar' ? undefined : namespace.length === 0 ? ['*'] : namespace;
  return new ConfigClient({
    operator,
    caFile,
    tokenFile,
    self: { nodeId: id, version: ownVersion(), ...(namespaces === undefined ? {} : { namespaces }) },
    log,
    observer: {
      connected: (isConnected) => {
        metrics.operatorConnected(isConnected);
      },
    },
    ...(operatorName === undefined ? {} : { serverName: operatorName }),
    ...(stateDir === '' ? {} : { snapshotPath: join(stateDir, `${id.replaceAll(':', '_')}.snapshot`) }),
  });
}

/** An address that this host has not, a file that is not there: a flag is wrong, not the moment. */
function isSettingError(error: unknown): boolean {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return code === 'EADDRNOTAVAIL' || code === 'ENOENT';
}

function textOf({ host, port }: ListenAddress): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}
