// Stage: the cluster by hand. Input: a subcommand and a folder. Output: programs built, a cluster up or down, images
// in it, or its kubeconfig on standard output.
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { attach, up } from './control-plane.ts';
import { downPersons, kubeconfigOfPersons, loadIntoPersons, upPersons } from './node/persons-cluster.ts';
import { buildProjectImages } from './node/project-images.ts';
import { cacheFolder } from './program-cache.ts';
import { chooseCluster, obtainProgram } from './programs.ts';
import { programNames } from './recipes.ts';

const usage = `Usage: node tools/node-cluster/cli.ts <command> [--node] [--folder DIR] [--reset] [--audit]

  build              build the programs that are missing into the cache; prints the state of each and seconds
  up                 bring up etcd and the API server on loopback and leave them running
  up --node          bring up a whole cluster with one node that runs pods (root, Linux), and write .run/cluster.env;
                     with WEIR_TEST_KUBECONFIG only the latter, for that cluster
  down [--node]      end it; with --node nothing of it is left on the machine
  kubeconfig [--node]  print the path of the administrator's kubeconfig
  image              build the project's images and the test images, and load them into the cluster of up --node
  build-images       build them only: tests load them into the cluster that they bring up
  load-image IMAGE   load an archive (docker save), or an image of this name that was built here, into that cluster

  --folder DIR   where the cluster keeps everything (default .run/cluster, with --node .run/node-cluster)
  --reset        with up: begin with empty data (with --node always)
  --audit        with up: write DIR/audit.log (with --node always, DIR/api/audit.log)

Environment: KUBEBUILDER_ASSETS (etcd and kube-apiserver of your own), WEIR_CLUSTER_CACHE (root of the cache).
`;

class UsageError extends Error {}

interface Arguments {
  readonly node: boolean;
  readonly folder: string;
  readonly reset: boolean;
  readonly audit: boolean;
  readonly rest: readonly string[];
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
  up: async (given) => {
    const begin = performance.now();
    if (given.node) await upPersons(given.folder, print);
    else await upControlPlane(given);
    print(`up after ${((performance.now() - begin) / 1000).toFixed(1)} s`);
  },
  down: async ({ node, folder }) => {
    if (node) {
      await downPersons(folder);
      print(`down: ${folder}`);
      return;
    }
    const plane = await attach(folder);
    await plane?.down();
    print(plane ? `down: ${plane.folder}` : `nothing was ever up in ${folder}`);
  },
  kubeconfig: async ({ node, folder }) => {
    const path = node ? await kubeconfigOfPersons(folder) : (await attach(folder))?.kubeconfig;
    if (path === undefined) throw new Error(`nothing is up in ${folder}; run up first`);
    print(path);
  },
  image: async ({ folder }) => {
    for (const image of await buildProjectImages(print)) {
      await loadIntoPersons(folder, image.name);
      print(`in the cluster: ${image.name}`);
    }
  },
  'build-images': async () => {
    for (const image of await buildProjectImages(print)) print(`built: ${image.name}`);
  },
  'load-image': async ({ folder, rest }) => {
    if (rest.length === 0) throw new Error('load-image needs the path of an archive, or the name of an image');
    for (const image of rest) print(`in the cluster: ${image}, from ${await loadIntoPersons(folder, image)}`);
  },
};
const takesRest = ['load-image'];

async function upControlPlane({ folder, reset, audit }: Arguments): Promise<void> {
  const choice = await chooseCluster({ log: print, environment: { ...process.env, WEIR_TEST_KUBECONFIG: '' } });
  if (choice.kind !== 'local')
    throw new Error(choice.kind === 'unavailable' ? `${choice.reason}; ${choice.remedy}` : '');
  const plane = await up({ folder, programs: choice.programs, guarded: false, reset, audit });
  print(`etcd ${plane.etcd.pid() ?? 'ended'}, kube-apiserver ${plane.apiServer.pid() ?? 'ended'}, ${plane.server}`);
  print(`export KUBECONFIG=${plane.kubeconfig}`);
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function parse(): { command: (given: Arguments) => Promise<void>; given: Arguments } {
  const options = {
    node: { type: 'boolean', default: false },
    folder: { type: 'string' },
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
    if (!command || (rest.length > 0 && !takesRest.includes(name)))
      throw new UsageError(name ? `unknown command: ${positionals.join(' ')}` : 'no command');
    const node = values.node || name.includes('image');
    return { command, given: { ...values, node, folder: folderOf(values.folder, node), rest } };
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${usage}`);
    process.exit(2);
  }
}

function folderOf(given: string | undefined, node: boolean): string {
  return resolve(given ?? (node ? '.run/node-cluster' : '.run/cluster'));
}

const { command, given } = parse();
try {
  await command(given);
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}
