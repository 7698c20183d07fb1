// Stage: node, its parts. Input: the environment. Output: the programs of a cluster with a node, a cluster of the
// user's, or why there is neither and what would help.
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { chooseCluster, obtainProgram, type ChoiceOptions, type Unavailable } from '../programs.ts';
import type { ProgramName } from '../recipes.ts';

/** Beside those of the control plane. */
export const nodePrograms = [
  'helm',
  'kube-controller-manager',
  'kube-scheduler',
  'kubelet',
  'kube-proxy',
  'coredns',
] as const satisfies ProgramName[];
export type NodeProgram = (typeof nodePrograms)[number] | 'etcd' | 'kube-apiserver' | 'kubectl';

export type NodeChoice =
  | { readonly kind: 'external'; readonly kubeconfig: string; readonly kubectl: string; readonly helm: string }
  | { readonly kind: 'local'; readonly programs: Readonly<Record<NodeProgram, string>> }
  | Unavailable;

/** What the machine gives: the program and the Debian package that has it. */
const machinePrograms: Readonly<Record<string, string>> = {
  containerd: 'containerd',
  ctr: 'containerd',
  runc: 'runc',
  catatonit: 'catatonit',
  ip: 'iproute2',
  iptables: 'iptables',
  conntrack: 'conntrack',
  ipset: 'ipset',
  socat: 'socat',
  mount: 'mount',
  buildah: 'buildah',
};
const cniPlugins = ['bridge', 'host-local', 'portmap', 'loopback'];

export async function chooseNode(options: ChoiceOptions = {}): Promise<NodeChoice> {
  const choice = await chooseCluster(options);
  if (choice.kind === 'unavailable') return choice;
  if (choice.kind === 'external') {
    const helm = await obtainProgram('helm', options);
    return helm.kind === 'program' ? { ...choice, helm: helm.path } : helm;
  }
  const lack = machineLack(options.environment ?? process.env);
  if (lack) return lack;
  const programs: Partial<Record<NodeProgram, string>> = { ...choice.programs };
  for (const name of nodePrograms) {
    const found = await obtainProgram(name, options);
    if (found.kind === 'unavailable') return found;
    programs[name] = found.path;
  }
  return { kind: 'local', programs: programs as Record<NodeProgram, string> };
}

function machineLack({ PATH = '' }: NodeJS.ProcessEnv): Unavailable | undefined {
  const elsewhere = 'or set WEIR_TEST_KUBECONFIG to a cluster';
  const lack = (reason: string, remedy: string): Unavailable => ({ kind: 'unavailable', reason, remedy });
  if (process.platform !== 'linux') return lack(`a node needs Linux, this is ${process.platform}`, elsewhere.slice(3));
  if (process.getuid?.() !== 0) return lack('a node needs root', `run it as root, ${elsewhere}`);
  const folders = PATH.split(delimiter).filter(Boolean);
  const missing = Object.keys(machinePrograms).filter((name) => !folders.some((path) => existsSync(join(path, name))));
  const packages = new Set(missing.map((name) => machinePrograms[name]!));
  if (!cniPlugins.every((name) => existsSync(join('/usr/lib/cni', name)))) packages.add('containernetworking-plugins');
  if (packages.size === 0) return undefined;
  const names = [...packages].join(' ');
  return lack(
    `a node needs the Debian packages ${names}`,
    `run make system-deps (apt-get install ${names}), ${elsewhere}`,
  );
}
