// CLI: `weir leave`, run by the chart before `helm uninstall`. Input: flags. Output: a text that says which objects
// exist and what holds without Weir, exit code 0; or why the uninstall is refused, exit code 1.
import { Command } from 'commander';
import { leave, type LeaveSettings } from '../controller/install/leave.ts';
import { connectKube } from '../controller/kube/kube.ts';
import { createLogger } from '../lib/log.ts';
import { flag, listOf, parseHost, parseNamespace, parseSeconds } from './flags/flags.ts';

interface LeaveFlags extends Omit<LeaveSettings, 'deadlineMs' | 'namespaces'> {
  readonly kubeconfig?: string;
  readonly namespace: readonly string[];
  readonly deadline: number;
}

/** `weir leave`: resolves when the release may go. */
export function leaveCommand(print: (text: string) => void = (text) => process.stdout.write(text)): Command {
  return new Command('leave')
    .description('Before an uninstall: report the objects that exist, and hand limits over to the limiters.')
    .addOption(flag('--kubeconfig <file>', 'WEIR_KUBECONFIG', 'default: $KUBECONFIG, ~/.kube/config, then in-cluster'))
    .addOption(
      flag('--own-namespace <name>', 'WEIR_OWN_NAMESPACE', 'where the operators run')
        .makeOptionMandatory()
        .argParser(parseNamespace),
    )
    .addOption(
      flag(
        '--namespace <names>',
        'WEIR_NAMESPACE',
        'namespaces that they watch, repeated or with commas (default: all)',
      )
        .default([], '')
        .argParser(listOf(parseNamespace)),
    )
    .addOption(flag('--lease <name>', 'WEIR_LEASE_NAME', 'their Lease').default('weir-operator').argParser(parseHost))
    .addOption(
      flag('--while-objects-exist <policy>', 'WEIR_WHILE_OBJECTS_EXIST', 'what to do then')
        .choices(['Warn', 'Refuse'])
        .default('Warn'),
    )
    .addOption(
      flag('--redis-of-release', 'WEIR_REDIS_OF_RELEASE', 'the default Redis is uninstalled, too').default(false),
    )
    .addOption(
      flag('--deadline <seconds>', 'WEIR_DEADLINE', 'how long the operator may take to hand limits over')
        .default(30)
        .argParser(parseSeconds),
    )
    .action((flags: LeaveFlags) => run(flags, print));
}

async function run(flags: LeaveFlags, print: (text: string) => void): Promise<void> {
  const { kubeconfig, deadline, namespace: namespaces, ...rest } = flags;
  const kube = connectKube({ kubeconfig });
  try {
    // helm shows all of it: nothing but what a person should read.
    const log = createLogger('leave', 'warn');
    const { report } = await leave(kube, { ...rest, namespaces, deadlineMs: deadline * 1000 }, log);
    if (report !== '') print(`${report}\n`);
  } finally {
    await kube.close();
  }
}
