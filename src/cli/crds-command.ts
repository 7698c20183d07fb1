// CLI: `weir crds`, run by the chart before an install and an upgrade. Input: flags, a folder of
// CustomResourceDefinitions. Output: the API server serves them, exit code 0; else exit code 1 and why. What is there
// and wider stays.
import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { Command } from 'commander';
import { parse } from 'yaml';
import { installKinds, type KindObject } from '../controller/install/kind-installer.ts';
import { connectKube } from '../controller/kube/kube.ts';
import { createLogger } from '../lib/log.ts';
import { flag, parseSeconds } from './flags/flags.ts';

interface CrdsFlags {
  readonly kubeconfig?: string;
  readonly folder: string;
  readonly deadline: number;
}

/** `weir crds`: resolves when every kind of the folder is served. */
export function crdsCommand(): Command {
  return new Command('crds')
    .description('Install the kinds (CustomResourceDefinitions), or widen those that are there. None is ever narrowed.')
    .addOption(flag('--kubeconfig <file>', 'WEIR_KUBECONFIG', 'default: $KUBECONFIG, ~/.kube/config, then in-cluster'))
    .addOption(flag('--folder <path>', 'WEIR_CRDS', 'with *.yaml, such as deploy/crds').makeOptionMandatory())
    .addOption(
      flag('--deadline <seconds>', 'WEIR_DEADLINE', 'how long the API server may take to serve a kind')
        .default(60)
        .argParser(parseSeconds),
    )
    .action(run);
}

async function run({ kubeconfig, folder, deadline }: CrdsFlags): Promise<void> {
  const log = createLogger('crds');
  const kinds = readKinds(folder);
  const kube = connectKube({ kubeconfig });
  try {
    log.info('done', { ...(await installKinds(kube, kinds, deadline * 1000, log)) });
  } finally {
    await kube.close();
  }
}

/** @throws Error naming the file that is no CustomResourceDefinition, or the folder that has none */
function readKinds(folder: string): KindObject[] {
  const paths = globSync(join(folder, '*.yaml')).sort();
  if (paths.length === 0) throw new Error(`--folder ${folder}: no *.yaml in it`);
  return paths.map((path) => {
    // 1.1 is what the API server reads.
    const object = parse(readFileSync(path, 'utf8'), { version: '1.1' }) as KindObject | null;
    if (object?.kind === 'CustomResourceDefinition') return object;
    throw new Error(`--folder ${folder}: ${basename(path)} is not a CustomResourceDefinition`);
  });
}
