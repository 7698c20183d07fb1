// Stage: the cluster by hand. Input: a subcommand and a folder. Output: programs built, a control plane up or down, or its kubeconfig on standard output.
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { attach, up } from './control-plane.ts';
import { cacheFolder } from './program-cache.ts';
import { chooseCluster, obtainProgram } from './programs.ts';
import { programNames } from './recipes.ts';

const usage = `Usage: node test/cluster/cli.ts <command> [--folder DIR] [--reset] [--audit]

  build        build the programs that are missing into the cache; prints the state of each and seconds
  up           bring up etcd and the API server on loopback and leave them running
  down         end them; their folder stays
  kubeconfig   print the path of the administrator's kubeconfig

  --folder DIR   where the control plane keeps everything (default .run/cluster)
  --reset        with up: begin with empty data
  --audit        with up: write DIR/audit.log

Environment: KUBEBUILDER_ASSETS (etcd and kube-apiserver of your own), WEIR_CLUSTER_CACHE (root of the cache).
`;

class UsageError extends Error {}

interface Arguments {
  readonly folder: string;
  readonly reset: boolean;
  readonly audit: boolean;
}

const commands: Record<string, (given: Arguments) => Promise<void>> = {
  build: async () => {
    print(`cache ${cacheFolder()}`);
    for (const name of programNames) {
      const found = await obtainProgram(name, { log: print });
      if (found.kind === 'unavailable') throw new Error(`${found.reason}; ${found.remedy}`);
      print(`${name}: ${found.origin}, ${found.seconds} s, ${found.path}`);
    }
  },
  up: async ({ folder, reset, audit }) => {
    const begin = performance.now();
    const choice = await chooseCluster({ log: print, environment: { ...process.env, WEIR_TEST_KUBECONFIG: '' } });
    if (choice.kind !== 'local')
      throw new Error(choice.kind === 'unavailable' ? `${choice.reason}; ${choice.remedy}` : '');
    const plane = await up({ folder, programs: choice.programs, guarded: false, reset, audit });
    const seconds = (performance.now() - begin) / 1000;
    print(`up in ${seconds.toFixed(1)} s at ${plane.server}`);
    print(`etcd ${plane.etcd.pid() ?? 'ended'}, kube-apiserver ${plane.apiServer.pid() ?? 'ended'}`);
    print(`export KUBECONFIG=${plane.kubeconfig}`);
  },
  down: async ({ folder }) => {
    const plane = await attach(folder);
    await plane?.down();
    print(plane ? `down: ${plane.folder}` : `nothing was ever up in ${folder}`);
  },
  kubeconfig: async ({ folder }) => {
    const plane = await attach(folder);
    if (!plane) throw new Error(`nothing was ever up in ${folder}; run up first`);
    print(plane.kubeconfig);
  },
};

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function parse(): { command: (given: Arguments) => Promise<void>; given: Arguments } {
  const options = {
    folder: { type: 'string', default: '.run/cluster' },
    reset: { type: 'boolean', default: false },
    audit: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  } as const;
  try {
    const { values, positionals } = parseArgs({ options, allowPositionals: true });
    if (values.help) {
      process.stdout.write(usage);
      process.exit(0);
    }
    const [name = '', ...rest] = positionals;
    const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
    if (!command || rest.length > 0)
      throw new UsageError(name ? `unknown command: ${positionals.join(' ')}` : 'no command');
    return { command, given: { folder: resolve(values.folder), reset: values.reset, audit: values.audit } };
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${usage}`);
    process.exit(2);
  }
}

const { command, given } = parse();
try {
  await command(given);
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}
