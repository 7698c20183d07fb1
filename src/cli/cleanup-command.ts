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
      'Clean up after an uninstall: remove what the operator created (Lease, Secrets, CA, last good specs), and set statuses to Unknown. CustomResourceDefinitions stay.',
    )
    .addOption(flag('--kubeconfig <file>', 'WEIR_KUBECONFIG', 'default: $KUBECONFIG, ~/.kube/config, then in-cluster'))
    .addOption(
      flag('--own-namespace <name>', 'WEIR_OWN_NAMESPACE', 'namespace of the operator')
        .makeOptionMandatory()
        .argParser(parseNamespace),
    )
    .addOption(
      flag('--namespace <names>', 'WEIR_NAMESPACE', 'namespaces that it watched (default: all)')
        .default([], '')
        .argParser(listOf(parseNamespace)),
    )
    .addOption(
      flag('--operator-pods <selector>', 'WEIR_OPERATOR_PODS', "label selector of the operator's pods")
        .default('app.kubernetes.io/part-of=weir,app.kubernetes.io/component=operator')
        .argParser(parseSelector),
    )
    .addOption(
      flag('--lease <name>', 'WEIR_LEASE_NAME', "name of the operator's Lease")
        .default('weir-operator')
        .argParser(parseHost),
    )
    .addOption(
      flag('--secrets <names>', 'WEIR_SECRETS', "names of the operator's Secrets")
        .default([], 'none')
        .argParser(listOf(parseHost)),
    )
    .addOption(
      flag('--config-map <name>', 'WEIR_CA_CONFIG_MAP', 'name of the ConfigMap with the CA, in each namespace')
        .default('weir-ca')
        .argParser(parseHost),
    )
    .addOption(
      flag('--redis-of-release', 'WEIR_REDIS_OF_RELEASE', 'the default Redis was uninstalled too').default(false),
    )
    .addOption(
      flag('--deadline <seconds>', 'WEIR_DEADLINE', "how long to wait for the operator's pods to terminate")
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
  throw new InvalidArgumentError('expected a label selector, such as app.kubernetes.io/component=operator');
}
