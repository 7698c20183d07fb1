// CLI: `weir cleanup`, run by the chart after `helm uninstall`. Input: flags. Output: what operators created while
// they ran is gone and statuses say so, exit code 0; else exit code 1 and what is left.
import { Command, InvalidArgumentError } from 'commander';
import { cleanUp, type CleanupSettings } from '../controller/install/cleanup.ts';
import { connectKube } from '../controller/kube/kube.ts';
import { createLogger } from '../lib/log.ts';
import { flag, listOf, parseHost, parseNamespace, parseSeconds } from './flags/flags.ts';

interface CleanupFlags extends Omit<CleanupSettings, 'deadlineMs' | 'namespaces'> {
  readonly kubeconfig?: string;
  readonly namespace: readonly string[];
  readonly deadline: number;
}

/** `weir cleanup`: resolves when everything is gone. */
export function cleanupCommand(): Command {
  return new Command('cleanup')
    .description(
      'After an uninstall: remove what operators created (Lease, Secrets, CA, last good forms), and set statuses to Unknown. The kinds stay.',
    )
    .addOption(flag('--kubeconfig <file>', 'WEIR_KUBECONFIG', 'default: $KUBECONFIG, ~/.kube/config, then in-cluster'))
    .addOption(
      flag('--own-namespace <name>', 'WEIR_OWN_NAMESPACE', 'where the operators ran')
        .makeOptionMandatory()
        .argParser(parseNamespace),
    )
    .addOption(
      flag(
        '--namespace <names>',
        'WEIR_NAMESPACE',
        'namespaces that they watched, repeated or with commas (default: all)',
      )
        .default([], '')
        .argParser(listOf(parseNamespace)),
    )
    .addOption(
      flag('--operator-pods <selector>', 'WEIR_OPERATOR_PODS', 'labels of the operators’ pods, which must have ended')
        .default('app.kubernetes.io/part-of=weir,app.kubernetes.io/component=operator')
        .argParser(parseSelector),
    )
    .addOption(flag('--lease <name>', 'WEIR_LEASE_NAME', 'their Lease').default('weir-operator').argParser(parseHost))
    .addOption(
      flag('--secrets <names>', 'WEIR_SECRETS', 'their Secrets, repeated or with commas')
        .default([], 'none')
        .argParser(listOf(parseHost)),
    )
    .addOption(
      flag('--config-map <name>', 'WEIR_CA_CONFIG_MAP', 'the CA, in each namespace')
        .default('weir-ca')
        .argParser(parseHost),
    )
    .addOption(
      flag('--redis-of-release', 'WEIR_REDIS_OF_RELEASE', 'the default Redis was uninstalled, too').default(false),
    )
    .addOption(
      flag('--deadline <seconds>', 'WEIR_DEADLINE', 'how long the operators’ pods may take to end')
        .default(90)
        .argParser(parseSeconds),
    )
    .action(run);
}

async function run({ kubeconfig, deadline, namespace: namespaces, ...flags }: CleanupFlags): Promise<void> {
  const log = createLogger('cleanup');
  const kube = connectKube({ kubeconfig });
  try {
    const removed = await cleanUp(kube, { ...flags, namespaces, deadlineMs: deadline * 1000 }, log);
    log.info('cleaned up', { ...removed });
  } finally {
    await kube.close();
  }
}

function parseSelector(text: string): string {
  if (/^[-A-Za-z0-9_./]+=[-A-Za-z0-9_.]+(,[-A-Za-z0-9_./]+=[-A-Za-z0-9_.]+)*$/.test(text)) return text;
  throw new InvalidArgumentError('expected labels, such as app.kubernetes.io/component=operator');
}
