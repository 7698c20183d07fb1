// Stage: cluster programs. Input: the go.mod files beside this one. Output: for each program what to build and with
// which flags.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * What is written down about a program; a new program is one more entry here and one more `tool` line in its go.mod.
 */
interface Entry {
  /** Folder beside this file that holds the go.mod. */
  readonly folder: string;
  /** Package with the main function. */
  readonly package: string;
  /** Module of that package; its version in the go.mod is the program's version. */
  readonly module: string;
  /** Kubernetes programs learn their own version from the linker. */
  readonly stamped: boolean;
  /** True: any version that is installed will do. */
  readonly installedWillDo?: boolean;
}

const kubernetes = { folder: 'kubernetes', module: 'k8s.io/kubernetes', stamped: true };

const entries = {
  etcd: {
    folder: 'etcd',
    package: 'go.etcd.io/etcd/server/v3',
    module: 'go.etcd.io/etcd/server/v3',
    stamped: false,
  },
  'kube-apiserver': { ...kubernetes, package: 'k8s.io/kubernetes/cmd/kube-apiserver' },
  kubectl: { ...kubernetes, package: 'k8s.io/kubernetes/cmd/kubectl', installedWillDo: true },
  helm: { folder: 'helm', package: 'helm.sh/helm/v4/cmd/helm', module: 'helm.sh/helm/v4', stamped: false },
  'kube-controller-manager': { ...kubernetes, package: 'k8s.io/kubernetes/cmd/kube-controller-manager' },
  'kube-scheduler': { ...kubernetes, package: 'k8s.io/kubernetes/cmd/kube-scheduler' },
  kubelet: { ...kubernetes, package: 'k8s.io/kubernetes/cmd/kubelet' },
  'kube-proxy': { ...kubernetes, package: 'k8s.io/kubernetes/cmd/kube-proxy' },
  coredns: {
    folder: 'coredns',
    package: 'github.com/coredns/coredns',
    module: 'github.com/coredns/coredns',
    stamped: false,
  },
} satisfies Record<string, Entry>;

export type ProgramName = keyof typeof entries;

export const programNames = Object.keys(entries) as ProgramName[];

/** What an API without nodes is made of; a test that asks for no pods needs none of the others. */
export const controlPlanePrograms = ['etcd', 'kube-apiserver', 'kubectl'] as const satisfies ProgramName[];
export type ControlPlaneProgram = (typeof controlPlanePrograms)[number];

export interface Recipe {
  readonly name: ProgramName;
  /** Absolute folder of the go.mod: the working directory of the build. */
  readonly folder: string;
  readonly package: string;
  readonly version: string;
  readonly linkerFlags: string;
  readonly installedWillDo: boolean;
  /** Changes exactly when a rebuild is due: package, version and flags. */
  readonly fingerprint: string;
}

/** Throws when the go.mod does not name the module: that is a mistake in this folder, not in the user's machine. */
export function recipe(name: ProgramName): Recipe {
  const entry: Entry = entries[name];
  const folder = join(import.meta.dirname, entry.folder);
  const version = moduleVersion(folder, entry.module);
  const linkerFlags = entry.stamped ? `-s -w ${versionStamp(version)}` : '-s -w';
  const fingerprint = createHash('sha256').update([entry.package, version, linkerFlags].join('\n')).digest('hex');
  const { installedWillDo = false } = entry;
  return { name, folder, package: entry.package, version, linkerFlags, installedWillDo, fingerprint };
}

/** The version of Kubernetes, such as v1.34.4; it also names the folder of the cache. */
export function kubernetesVersion(): string {
  return moduleVersion(join(import.meta.dirname, kubernetes.folder), kubernetes.module);
}

/** The oldest Go that can build the program, such as 1.24.0, and the one to fetch when there is only an older one. */
export function goVersions(name: ProgramName): { needed: string; fetched: string } {
  const { folder } = entries[name];
  const text = goMod(join(import.meta.dirname, folder));
  const needed = /^go (\S+)$/m.exec(text)?.[1];
  const fetched = /^toolchain go(\S+)$/m.exec(text)?.[1];
  if (!needed || !fetched) throw new Error(`${folder}/go.mod lacks a "go" or a "toolchain" line`);
  return { needed, fetched };
}

function moduleVersion(folder: string, module: string): string {
  const line = goMod(folder)
    .split('\n')
    .map((text) => text.replace(/^require\b/, '').trim())
    .find((text) => text.startsWith(`${module} v`));
  const version = line?.split(/\s+/)[1];
  if (!version) throw new Error(`${join(folder, 'go.mod')} does not require ${module}`);
  return version;
}

function goMod(folder: string): string {
  return readFileSync(join(folder, 'go.mod'), 'utf8');
}

function versionStamp(version: string): string {
  const [major = '', minor = ''] = version.replace(/^v/, '').split('.');
  const values = { gitVersion: version, gitMajor: major, gitMinor: minor };
  return Object.entries(values)
    .map(([key, value]) => `-X k8s.io/component-base/version.${key}=${value}`)
    .join(' ');
}
