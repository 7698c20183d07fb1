// Stage: node, its files. Input: the folder of a cluster and its ports. Output: the settings that containerd, CNI,
// kubelet and CoreDNS read.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeWhole } from '../cluster-folder.ts';
import { bridge, clusterDomain, gateway, podNetwork } from './addresses.ts';
import type { MachineBefore } from './machine.ts';
import type { NodeProgram } from './node-programs.ts';

export const pauseImage = 'localhost/weir-pause:1';

export interface NodeLayout {
  readonly folder: string;
  /** The control plane's own folder. */
  readonly api: string;
  readonly settings: string;
  readonly logs: string;
  readonly pki: string;
  readonly kubelet: string;
  readonly kubeletConfig: string;
  readonly containerd: string;
  readonly containerdConfig: string;
  readonly socket: string;
  readonly cni: string;
  readonly corefile: string;
}

export function nodeLayout(folder: string): NodeLayout {
  const containerd = join(folder, 'containerd');
  const kubelet = join(folder, 'kubelet');
  return {
    folder,
    api: join(folder, 'api'),
    settings: join(folder, 'node.json'),
    logs: join(folder, 'log'),
    pki: join(folder, 'pki'),
    kubelet,
    kubeletConfig: join(folder, 'kubelet.json'),
    containerd,
    containerdConfig: join(folder, 'containerd.toml'),
    socket: join(containerd, 'c.sock'),
    cni: join(folder, 'cni'),
    corefile: join(folder, 'Corefile'),
  };
}

export interface NodePorts {
  readonly kubelet: number;
  readonly kubeletHealth: number;
  readonly controllerManager: number;
  readonly scheduler: number;
  readonly proxyHealth: number;
  readonly proxyMetrics: number;
  readonly dnsHealth: number;
}

/** All that is needed to find, restart and take down the cluster, by whichever process. */
export interface NodeSettings {
  readonly run: string;
  readonly programs: Readonly<Record<NodeProgram, string>>;
  readonly ports: NodePorts;
  readonly audit: boolean;
  readonly before: MachineBefore;
  /** A cluster that tests brought up is taken down after them; a person's is left. */
  readonly broughtUpBy: 'person' | 'tests';
}

export async function readNodeSettings(folder: string): Promise<NodeSettings | undefined> {
  try {
    return JSON.parse(await readFile(nodeLayout(folder).settings, 'utf8')) as NodeSettings;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

export async function writeNodeSettings(folder: string, settings: NodeSettings): Promise<void> {
  await writeWhole(nodeLayout(folder).settings, JSON.stringify(settings, null, 2) + '\n');
}

export async function writeNodeFiles(folder: string, ports: NodePorts): Promise<void> {
  const files = nodeLayout(folder);
  const conf = join(files.cni, 'conf');
  for (const path of [files.logs, files.pki, files.kubelet, files.containerd, conf])
    await mkdir(path, { recursive: true });
  await writeFile(files.containerdConfig, containerdConfig(files));
  await writeFile(join(conf, '10-weir.conflist'), json(cniConfig(files)));
  await writeFile(files.kubeletConfig, json(kubeletConfig(files, ports)));
  await writeFile(files.corefile, corefile(files, ports));
}

function json(value: object): string {
  return JSON.stringify(value, null, 2) + '\n';
}

/** A JSON string is a TOML string too. */
function containerdConfig({ containerd, socket, cni }: NodeLayout): string {
  const text = (value: string): string => JSON.stringify(value);
  const cri = 'plugins."io.containerd.grpc.v1.cri"';
  return `version = 2
root = ${text(join(containerd, 'root'))}
state = ${text(join(containerd, 'state'))}
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[grpc]
  address = ${text(socket)}
[${cri}]
  sandbox_image = ${text(pauseImage)}
  restrict_oom_score_adj = true
  disable_apparmor = true
  stream_server_address = "127.0.0.1"
  [${cri}.cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = ${text(join(cni, 'conf'))}
  [${cri}.containerd]
    snapshotter = "overlayfs"
    [${cri}.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [${cri}.containerd.runtimes.runc.options]
        Root = ${text(join(containerd, 'runc'))}
        SystemdCgroup = false
`;
}

function cniConfig({ cni }: NodeLayout): object {
  const ipam = {
    type: 'host-local',
    dataDir: join(cni, 'addresses'),
    ranges: [[{ subnet: podNetwork, gateway }]],
    routes: [{ dst: '0.0.0.0/0' }],
  };
  return {
    cniVersion: '1.0.0',
    name: 'weir',
    plugins: [
      { type: 'bridge', bridge, isGateway: true, ipMasq: true, hairpinMode: true, ipam },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  };
}

function kubeletConfig(files: NodeLayout, ports: NodePorts): object {
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    address: gateway,
    port: ports.kubelet,
    healthzBindAddress: '127.0.0.1',
    healthzPort: ports.kubeletHealth,
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: join(files.api, 'pki', 'ca.crt') },
    },
    authorization: { mode: 'Webhook' },
    tlsCertFile: join(files.pki, 'kubelet.crt'),
    tlsPrivateKeyFile: join(files.pki, 'kubelet.key'),
    containerRuntimeEndpoint: `unix://${files.socket}`,
    podLogsDir: join(files.logs, 'pods'),
    volumePluginDir: join(files.kubelet, 'volume-plugins'),
    clusterDNS: [gateway],
    clusterDomain,
    cgroupDriver: 'cgroupfs',
    failSwapOn: false,
    failCgroupV1: false,
    localStorageCapacityIsolation: false,
    enforceNodeAllocatable: [],
    evictionHard: { 'memory.available': '1Mi', 'nodefs.available': '0%', 'imagefs.available': '0%' },
    imageGCHighThresholdPercent: 100,
    // Tests change Secrets and ConfigMaps and wait for pods to see them; the default is a minute.
    syncFrequency: '5s',
    nodeStatusUpdateFrequency: '5s',
    registerWithTaints: [],
    featureGates: { KubeletInUserNamespace: true },
  };
}

function corefile({ api }: NodeLayout, { dnsHealth }: NodePorts): string {
  return `.:53 {
  bind ${gateway}
  errors
  ready 127.0.0.1:${dnsHealth}
  kubernetes ${clusterDomain} in-addr.arpa {
    kubeconfig ${join(api, 'kubeconfig-system_coredns')}
    pods insecure
    ttl 2
  }
  forward . /etc/resolv.conf
}
`;
}
