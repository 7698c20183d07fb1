// Stage: node, its machine. Input: the folder of a cluster. Output: bridge and kernel settings in place, or
// everything that pods left on the machine taken away.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { readFile, readlink, rm, rmdir, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { serviceRange } from '../cluster-folder.ts';
import { waitFor } from '../wait.ts';
import { bridge, gateway, podNetwork } from './addresses.ts';
import { attempt, command } from './commands.ts';
import { removalScript } from './packet-rules.ts';

/** What the machine was like before; `down` puts it back. */
export interface MachineBefore {
  /** By path below /proc/sys. */
  readonly kernel: Readonly<Record<string, string>>;
  /** Network namespaces of somebody else's CNI. */
  readonly namespaces: readonly string[];
}

const needed = { 'net/ipv4/ip_forward': '1', 'net/bridge/bridge-nf-call-iptables': '1' };
/** The kubelet, kube-proxy and CNI set these on their own. */
const touched = [
  'net/ipv4/conf/all/route_localnet',
  'vm/overcommit_memory',
  'kernel/panic',
  'kernel/panic_on_oops',
  'kernel/keys/root_maxkeys',
  'kernel/keys/root_maxbytes',
];
const namespacesFolder = '/run/netns';
const kubeletFolder = '/var/lib/kubelet';

export async function machineBefore(): Promise<MachineBefore> {
  const kernel: Record<string, string> = {};
  for (const name of [...Object.keys(needed), ...touched]) {
    const value = await readFile(`/proc/sys/${name}`, 'utf8').catch(() => undefined);
    if (value !== undefined) kernel[name] = value.trim();
  }
  return { kernel, namespaces: cniNamespaces() };
}

/** Which folder's cluster is on this machine, as far as its bridge tells; undefined when there is no bridge. */
export function bridgeOwner(): string | undefined {
  try {
    return readFileSync(`/sys/class/net/${bridge}/ifalias`, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** The bridge is there before the first pod, because the node's own address is on it. */
export async function prepareMachine(folder: string): Promise<void> {
  await command('ip', ['link', 'add', bridge, 'type', 'bridge']);
  await command('ip', ['link', 'set', bridge, 'alias', folder]);
  const [, bits] = podNetwork.split('/');
  await command('ip', ['addr', 'add', `${gateway}/${bits}`, 'dev', bridge]);
  await command('ip', ['link', 'set', bridge, 'up']);
  // What kube-proxy has not diverted yet would leave by the default route, where a gateway may answer in the place of
  // a Service.
  await command('ip', ['route', 'add', serviceRange, 'dev', bridge]);
  await attempt('modprobe', ['br_netfilter']);
  for (const [name, value] of Object.entries(needed)) await writeFile(`/proc/sys/${name}`, value);
}

/**
 * Everything but the cluster's own processes: those of its pods, mounts, namespaces, links, rules, cgroups, settings.
 */
export async function cleanMachine(folder: string, before: MachineBefore | undefined): Promise<void> {
  await endPods();
  await unmountBelow(folder);
  await unmountBelow(kubeletFolder);
  for (const name of cniNamespaces()) {
    if (before?.namespaces.includes(name)) continue;
    await attempt('umount', ['-l', join(namespacesFolder, name)]);
    await rm(join(namespacesFolder, name), { force: true });
  }
  await attempt('ip', ['link', 'del', bridge]);
  for (const program of ['iptables', 'ip6tables']) await removePacketRules(program);
  await attempt('conntrack', ['-D', '--src', podNetwork]);
  await attempt('conntrack', ['-D', '--dst', podNetwork]);
  await removeCgroups();
  await removeStrayFiles(folder);
  for (const [name, value] of Object.entries(before?.kernel ?? {}))
    await writeFile(`/proc/sys/${name}`, value).catch(() => undefined);
}

/** Removing a folder below which something is mounted would remove what is mounted. */
export function mountsBelow(folder: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => (line.split(' ')[4] ?? '').replace(/\\040/g, ' '))
    .filter((path) => path === folder || path.startsWith(`${folder}/`));
}

async function unmountBelow(folder: string): Promise<void> {
  for (const path of mountsBelow(folder).reverse()) await attempt('umount', ['-l', path]);
  await waitFor(`no mounts below ${folder}`, () => (mountsBelow(folder).length === 0 ? true : undefined), {
    deadlineMs: 10_000,
  });
}

/** Every process in a pod is in a cgroup below `kubepods`. */
async function endPods(): Promise<void> {
  const gone = (): true | undefined => {
    const pids = podCgroups().flatMap(pidsOf);
    for (const pid of pids) kill(pid);
    return pids.length === 0 ? true : undefined;
  };
  await waitFor('end of the processes of all pods', gone, { deadlineMs: 20_000 });
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function pidsOf(cgroup: string): number[] {
  try {
    const text = readFileSync(join(cgroup, 'cgroup.procs'), 'utf8');
    return text.split('\n').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/** The deepest first; of each hierarchy on a machine with cgroup v1, of the one tree with v2. */
function podCgroups(): string[] {
  const root = '/sys/fs/cgroup';
  const roots = [root, ...readdirSync(root).map((name) => join(root, name))].map((path) => join(path, 'kubepods'));
  return roots.filter((path) => existsSync(path)).flatMap(deepestFirst);
}

function deepestFirst(folder: string): string[] {
  try {
    const below = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    return [...below.flatMap((entry) => deepestFirst(join(folder, entry.name))), folder];
  } catch {
    return []; // gone meanwhile
  }
}

async function removeCgroups(): Promise<void> {
  await waitFor(
    'removal of the cgroups of pods',
    async () => {
      for (const path of podCgroups()) await rmdir(path).catch(() => undefined);
      return podCgroups().length === 0 ? true : undefined;
    },
    { deadlineMs: 15_000 },
  );
}

async function removePacketRules(program: string): Promise<void> {
  const script = removalScript(await command(`${program}-save`, []).catch(() => ''));
  if (script !== '') await command(`${program}-restore`, ['--noflush', '--wait', '10'], { input: script });
}

function cniNamespaces(): string[] {
  return existsSync(namespacesFolder) ? readdirSync(namespacesFolder).filter((name) => name.startsWith('cni-')) : [];
}

/** The places outside its folder to which kubelet and containerd write whatever they are told. */
async function removeStrayFiles(folder: string): Promise<void> {
  await rm(join(kubeletFolder, 'device-plugins'), { recursive: true, force: true });
  await rmdir(kubeletFolder).catch(() => undefined);
  const links = '/var/log/containers';
  for (const name of existsSync(links) ? readdirSync(links) : []) {
    const target = await readlink(join(links, name)).catch(() => '');
    if (target.startsWith(`${folder}/`)) await unlink(join(links, name));
  }
  for (const path of [links, '/run/containerd/s', '/run/containerd']) await rmdir(path).catch(() => undefined);
}
