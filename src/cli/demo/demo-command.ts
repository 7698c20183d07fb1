// CLI: `weir demo`. Input: a folder of manifests (the package's own by default). Output: Weir on this machine in a
// minute, with traffic, refusals and an edit while it runs; exit code 0 when every count agrees with the upstream's.
import { Command } from 'commander';
import { fileURLToPath } from 'node:url';
import { OBJECT_KINDS } from '../../contract/limiter-config.ts';
import { runDemo } from './story.ts';
import { flag } from '../flags/flags.ts';
import { terminationSignal } from '../termination.ts';

const OWN_MANIFESTS = fileURLToPath(new URL('../../../examples/demo', import.meta.url));

interface DemoFlags {
  readonly manifests: string;
  readonly stay: boolean;
}

/** `weir demo`: resolves when it has been told, or with --stay when it is stopped. */
export function demoCommand(): Command {
  return new Command('demo')
    .description(
      'Show Weir on this machine: no cluster, no Redis. Starts servers, sends traffic, changes a limit, ends.',
    )
    .addOption(
      flag('--manifests <folder>', 'WEIR_DEMO_DIR', `your own ${OBJECT_KINDS.join(' and ')} manifests`).default(
        OWN_MANIFESTS,
        "the package's examples/demo",
      ),
    )
    .addOption(flag('--stay', 'WEIR_DEMO_STAY', 'keep the servers up and print requests to try').default(false))
    .action(run);
}

async function run({ manifests, stay }: DemoFlags): Promise<void> {
  const agrees = await runDemo(manifests, stay ? terminationSignal() : undefined);
  if (!agrees) process.exitCode = 1;
}
