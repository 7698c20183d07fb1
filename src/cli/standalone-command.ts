// CLI: `weir standalone`. Input: a folder of manifests and flags. Output: operator and limiter in one process, with
// the same code and the same push between them as on a cluster; buckets in memory unless a Redis is named.
import { Command, type Option } from 'commander';
import { randomBytes } from 'node:crypto';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OBJECT_KINDS } from '../contract/limiter-config.ts';
import { TlsFolderError } from '../controller/certificates/certificate-folder.ts';
import { runOperator } from '../controller/main.ts';
import type { OperatorSettings, RunningOperator } from '../controller/settings.ts';
import type { ListenAddress } from '../lib/http/http-listener.ts';
import { createLogger, type Logger, type LogLevel } from '../lib/log.ts';
import { ConfigClient } from '../limiter/config/config-client.ts';
import { EVERYWHERE } from '../limiter/egress/egress.ts';
import { processNet } from '../limiter/internal-errors.ts';
import { runLimiter, type RunningLimiter } from '../limiter/main.ts';
import { LimiterMetrics } from '../limiter/metrics.ts';
import { LIMITER_DEFAULTS } from '../limiter/settings.ts';
import { flag, listOf, LOG_LEVELS, parseEgress, parseHostPort, parseListen } from './flags/flags.ts';
import { terminationSignal, whenAborted } from './termination.ts';

interface StandaloneFlags {
  readonly manifests: string;
  readonly listen: ListenAddress;
  readonly decisionListen: ListenAddress;
  readonly adminListen: ListenAddress;
  readonly operatorAdminListen: ListenAddress;
  readonly stateDir: string;
  readonly defaultRedis?: string;
  readonly egressAllow: readonly string[];
  readonly logLevel: LogLevel;
}

const ANY_LOOPBACK_PORT: ListenAddress = { host: '127.0.0.1', port: 0 };

/** `weir standalone`: resolves when it was told to stop and has drained. */
export function standaloneCommand(): Command {
  const command = new Command('standalone')
    .description('Operator and limiter in one process, from a folder of manifests: no cluster, no Redis needed.')
    .addOption(manifestsFlag())
    .addOption(listenFlag('--listen', 'WEIR_LISTEN', 8080, 'where traffic is taken'))
    .addOption(listenFlag('--decision-listen', 'WEIR_DECISION_LISTEN', 8081, 'the decision API'))
    .addOption(listenFlag('--admin-listen', 'WEIR_ADMIN_LISTEN', 9090, 'admin port of the limiter'))
    .addOption(
      listenFlag(
        '--operator-admin-listen',
        'WEIR_OPERATOR_ADMIN_LISTEN',
        18_001,
        'admin port of the operator, with /status',
      ),
    )
    .addOption(flag('--state-dir <folder>', 'WEIR_STATE_DIR', 'certificate, token and last snapshot').default('.weir'))
    .addOption(
      flag('--default-redis <host:port>', 'WEIR_DEFAULT_REDIS', 'where buckets live (default: in memory)').argParser(
        parseHostPort,
      ),
    )
    .addOption(
      flag('--egress-allow <targets>', 'WEIR_EGRESS_ALLOW', 'CIDRs, hosts and *.example.com that may be dialled')
        .default([], 'everywhere')
        .argParser(listOf(parseEgress)),
    )
    .addOption(flag('--log-level <level>', 'WEIR_LOG_LEVEL', 'how much to log').choices(LOG_LEVELS).default('warn'));
  return command.action((flags: StandaloneFlags) => run(command, flags));
}

function manifestsFlag(): Option {
  return flag(
    '--manifests <folder>',
    'WEIR_MANIFESTS',
    `folder of ${OBJECT_KINDS.join(' and ')} manifests, watched`,
  ).makeOptionMandatory();
}

function listenFlag(name: string, env: string, port: number, what: string): Option {
  return flag(`${name} <host:port>`, env, what)
    .default({ host: '127.0.0.1', port }, `127.0.0.1:${port}`)
    .argParser(parseListen);
}

async function run(command: Command, flags: StandaloneFlags): Promise<void> {
  if (statSync(flags.manifests, { throwIfNoEntry: false })?.isDirectory() !== true) {
    command.error(`error: --manifests: "${flags.manifests}" is not a folder`);
  }
  const told = terminationSignal();
  let operator: RunningOperator | undefined;
  let limiter: RunningLimiter | undefined;
  let release: (() => void) | undefined;
  try {
    mkdirSync(flags.stateDir, { recursive: true, mode: 0o700 });
    const token = randomBytes(32).toString('base64url');
    operator = await runOperator(operatorSettings(flags, token), told);
    const parts = { logger: createLogger('limiter', flags.logLevel), metrics: new LimiterMetrics() };
    limiter = await startLimiter(flags, token, operator, parts);
    release = processNet(parts.logger, parts.metrics);
    print(`traffic   ${urlOf(limiter.addresses.traffic)}`);
    print(
      `admin     ${urlOf(limiter.addresses.admin)}   operator http://${flags.operatorAdminListen.host}:${operator.adminPort}/status`,
    );
    await whenAborted(told);
  } catch (error) {
    if (error instanceof TlsFolderError) command.error(`error: ${error.message}`);
    if (!told.aborted) throw error;
  } finally {
    await limiter?.close();
    await operator?.stop();
    release?.();
  }
}

function operatorSettings(flags: StandaloneFlags, token: string): OperatorSettings {
  return {
    source: {
      kind: 'files',
      folder: flags.manifests,
      token,
      print,
      lastGoodFile: join(flags.stateDir, 'last-good.json'),
    },
    pushListen: ANY_LOOPBACK_PORT,
    adminListen: flags.operatorAdminListen,
    tlsDir: join(flags.stateDir, 'tls'),
    tlsNames: [],
    defaultRedis:
      flags.defaultRedis === undefined ? undefined : { address: flags.defaultRedis, namespaces: [], acl: false },
    defaultMemory: flags.defaultRedis === undefined,
    // On a laptop the manifests are the user's own.
    egressAllow: flags.egressAllow.length > 0 ? flags.egressAllow : EVERYWHERE,
    logLevel: flags.logLevel,
  };
}

function startLimiter(
  flags: StandaloneFlags,
  token: string,
  operator: RunningOperator,
  parts: { readonly logger: Logger; readonly metrics: LimiterMetrics },
): Promise<RunningLimiter> {
  const tokenFile = join(flags.stateDir, 'token');
  writeFileSync(tokenFile, token, { mode: 0o600 });
  const source = new ConfigClient({
    operator: `127.0.0.1:${operator.pushPort}`,
    caFile: operator.caFile,
    tokenFile,
    self: { nodeId: 'standalone', version: 'standalone' },
    log: parts.logger,
  });
  return runLimiter(
    {
      ...LIMITER_DEFAULTS,
      id: 'standalone',
      source,
      listen: flags.listen,
      adminListen: flags.adminListen,
      decisionListen: flags.decisionListen,
    },
    parts,
  );
}

function urlOf({ host, port }: ListenAddress): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
