// CLI: `weir operator`. Input: flags, each also from the environment (WEIR_…). Output: a running operator that drains
// on SIGTERM and SIGINT; exit code 2 for flags that cannot be meant.
import { Command } from 'commander';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { OBJECT_KINDS } from '../contract/limiter-config.ts';
import type { CandidacySettings } from '../controller/election/candidacy.ts';
import { TlsFolderError } from '../controller/certificates/certificate-folder.ts';
import { DefaultRedisError } from '../controller/credentials/default-redis.ts';
import { timingProblem } from '../controller/election/election-rules.ts';
import { KubeconfigError } from '../controller/kube/kube.ts';
import { ELECTION_TIMING } from '../controller/election/leader-election.ts';
import { OperatorAborted, runOperator } from '../controller/main.ts';
import type { OperatorSettings } from '../controller/settings.ts';
import type { ListenAddress } from '../lib/http/http-listener.ts';
import type { LogLevel } from '../lib/log.ts';
import { messageOf } from '../lib/thrown.ts';
import { InjectionConfigError } from '../reconcile/injection/settings.ts';
import {
  certificateSettingsOf,
  complaintAboutFlags,
  withCertificateFlags,
  type CertificateFlags,
} from './flags/certificate-flags.ts';
import {
  complaintAboutRedis,
  defaultRedisOf,
  withDefaultRedisFlags,
  type DefaultRedisFlags,
} from './flags/default-redis-flags.ts';
import { flag, listOf, LOG_LEVELS, parseEgress, parseHost, parseListen, parseNamespace } from './flags/flags.ts';
import { parseDurationMs } from './flags/limiter-flags.ts';
import { freeStartMemory } from './start-memory.ts';
import { terminationSignal, whenAborted } from './termination.ts';
import {
  complaintAboutWebhook,
  webhookSettingsOf,
  withWebhookFlags,
  type WebhookFlags,
} from './flags/webhook-flags.ts';

interface OperatorFlags extends CertificateFlags, WebhookFlags, DefaultRedisFlags {
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly namespace: readonly string[];
  readonly pushListen: ListenAddress;
  readonly adminListen: ListenAddress;
  readonly tlsDir: string;
  readonly tlsSan: readonly string[];
  readonly clusterDomain?: string;
  readonly egressAllow: readonly string[];
  readonly weirCommand?: string;
  readonly logLevel: LogLevel;
  readonly ownNamespace?: string;
  readonly leaderElect: boolean;
  readonly podName?: string;
  readonly leaseName: string;
  readonly leaseDuration: number;
  readonly renewDeadline: number;
  readonly retryPeriod: number;
}

/** A setting is wrong, not the moment. */
const SETTING_ERRORS = [DefaultRedisError, KubeconfigError, TlsFolderError, InjectionConfigError];

/** `weir operator`: resolves when the operator was told to stop and has drained. */
export function operatorCommand(): Command {
  const command = new Command('operator')
    .description(
      `Watch ${OBJECT_KINDS.join(' and ')} objects, configure limiters, report in the status what is in force.`,
    )
    .addOption(flag('--kubeconfig <file>', 'WEIR_KUBECONFIG', 'default: $KUBECONFIG, ~/.kube/config, then in-cluster'))
    .addOption(flag('--context <name>', 'WEIR_CONTEXT', 'context of the kubeconfig (default: the current one)'))
    .addOption(
      flag('--namespace <names>', 'WEIR_NAMESPACE', 'namespaces to watch, repeated or with commas (default: all)')
        .default([], '')
        .argParser(listOf(parseNamespace)),
    )
    .addOption(
      flag('--push-listen <host:port>', 'WEIR_PUSH_LISTEN', 'where limiters fetch their configs (gRPC with TLS)')
        .default({ host: '127.0.0.1', port: 18_000 }, '127.0.0.1:18000')
        .argParser(parseListen),
    )
    .addOption(
      flag('--admin-listen <host:port>', 'WEIR_ADMIN_LISTEN', 'where /livez, /readyz and /metrics are served')
        .default({ host: '127.0.0.1', port: 18_001 }, '127.0.0.1:18001')
        .argParser(parseListen),
    )
    .addOption(
      flag(
        '--tls-dir <folder>',
        'WEIR_TLS_DIR',
        'tls.crt, tls.key and ca.crt of the push port; made when it is empty',
      ).default(join(homedir(), '.weir', 'tls'), '~/.weir/tls'),
    );
  const placed = withPolicyFlags(withElectionFlags(withPlaceFlags(command)));
  return withDefaultRedisFlags(withWebhookFlags(withCertificateFlags(placed))).action((flags: OperatorFlags) =>
    run(command, flags),
  );
}

function withPlaceFlags(command: Command): Command {
  return command
    .addOption(
      flag(
        '--own-namespace <name>',
        'WEIR_OWN_NAMESPACE',
        'where the operator runs; with it the CA is handed out (default: it runs outside)',
      ).argParser(parseNamespace),
    )
    .addOption(
      flag('--pod-name <name>', 'WEIR_POD_NAME', 'the pod of this operator, labelled while it leads').argParser(
        parseHost,
      ),
    );
}

function withElectionFlags(command: Command): Command {
  const { leaseDurationMs, renewDeadlineMs, retryPeriodMs } = ELECTION_TIMING;
  const duration = (flags: string, env: string, description: string, defaultMs: number): void => {
    const option = flag(flags, env, description).default(defaultMs, `${defaultMs / 1000}s`);
    command.addOption(option.argParser(parseDurationMs));
  };
  command
    .addOption(
      flag(
        '--leader-elect',
        'WEIR_LEADER_ELECT',
        'be one of several operators: only the holder of the Lease serves limiters',
      ).default(false),
    )
    .addOption(
      flag('--lease-name <name>', 'WEIR_LEASE_NAME', 'the Lease').default('weir-operator').argParser(parseHost),
    );
  duration(
    '--lease-duration <duration>',
    'WEIR_LEASE_DURATION',
    'the others take the Lease when it was not renewed for so long',
    leaseDurationMs,
  );
  duration(
    '--renew-deadline <duration>',
    'WEIR_RENEW_DEADLINE',
    'the holder gives up when it could not renew it for so long',
    renewDeadlineMs,
  );
  duration('--retry-period <duration>', 'WEIR_RETRY_PERIOD', 'how often it is renewed or looked at', retryPeriodMs);
  return command;
}

function withPolicyFlags(command: Command): Command {
  return command
    .addOption(
      flag('--tls-san <names>', 'WEIR_TLS_SAN', 'names and addresses by which limiters dial the push port')
        .default([], '')
        .argParser(listOf(parseHost)),
    )
    .addOption(
      flag(
        '--cluster-domain <domain>',
        'WEIR_CLUSTER_DOMAIN',
        'such as cluster.local (default: Services end in .svc)',
      ).argParser(parseHost),
    )
    .addOption(
      flag(
        '--egress-allow <targets>',
        'WEIR_EGRESS_ALLOW',
        'CIDRs, hosts and *.example.com that shared limiters may dial',
      )
        .default([], 'only Services of the object’s own namespace')
        .argParser(listOf(parseEgress)),
    )
    .addOption(
      flag('--weir-command <command>', 'WEIR_COMMAND', 'how users run weir, for commands in statuses (default: weir)'),
    )
    .addOption(flag('--log-level <level>', 'WEIR_LOG_LEVEL', 'how much to log').choices(LOG_LEVELS).default('info'));
}

async function run(command: Command, flags: OperatorFlags): Promise<void> {
  const complaint =
    complaintAboutFlags(flags, flags.ownNamespace) ?? complaintAboutWebhook(flags) ?? complaintAboutRedis(flags);
  if (complaint !== undefined) command.error(`error: ${complaint}`);
  const told = terminationSignal();
  const election = electionOf(command, flags);
  try {
    const operator = await runOperator({ ...settingsOf(flags), election }, told);
    freeStartMemory();
    await whenAborted(told);
    await operator.stop();
  } catch (error) {
    if (error instanceof OperatorAborted) return;
    if (SETTING_ERRORS.some((kind) => error instanceof kind)) command.error(`error: ${messageOf(error)}`);
    throw error;
  }
}

function settingsOf(flags: OperatorFlags): OperatorSettings {
  const { kubeconfig, context, namespace: namespaces, tlsSan: tlsNames, ...rest } = flags;
  const defaultRedis = defaultRedisOf(flags);
  const redisKeySecret = { namespace: flags.ownNamespace ?? 'weir-system', name: flags.redisAclSecret };
  return {
    ...rest,
    ...certificateSettingsOf(flags),
    ...webhookSettingsOf(flags),
    defaultRedis,
    redisKeySecret,
    tlsNames,
    source: { kind: 'cluster', kubeconfig, context, namespaces },
  };
}

function electionOf(command: Command, flags: OperatorFlags): CandidacySettings | undefined {
  if (!flags.leaderElect) return undefined;
  const { ownNamespace: namespace, podName, leaseName } = flags;
  if (namespace === undefined) command.error('error: --leader-elect needs --own-namespace, where the Lease is');
  const timing = {
    leaseDurationMs: flags.leaseDuration,
    renewDeadlineMs: flags.renewDeadline,
    retryPeriodMs: flags.retryPeriod,
  };
  const problem = timingProblem(timing);
  if (problem !== undefined) {
    command.error(`error: --lease-duration, --renew-deadline and --retry-period do not fit: ${problem}`);
  }
  return { namespace, podName, leaseName, ...timing };
}
