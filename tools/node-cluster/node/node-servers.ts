// Stage: node, its servers. Input: the settings of a cluster with a node. Output: containerd, the controllers,
// kubelet, kube-proxy and CoreDNS, each started and awaited by name.
import { request } from 'node:https';
import { connect } from 'node:net';
import { join } from 'node:path';
import { layout } from '../cluster-folder.ts';
import { memberServer, type Server } from '../member-server.ts';
import { gateway, nodeName, podNetwork } from './addresses.ts';
import { nodeLayout, type NodeLayout, type NodeSettings } from './node-folder.ts';

/** In the order of their end. */
export const nodeServerNames = [
  'kubelet',
  'kube-proxy',
  'coredns',
  'kube-scheduler',
  'kube-controller-manager',
  'containerd',
] as const;
export type NodeServerName = (typeof nodeServerNames)[number];

interface Plan {
  readonly args: readonly string[];
  readonly ready: () => Promise<true | undefined>;
}

const deadlineMs = 60_000;

export function nodeServer(folder: string, name: NodeServerName, settings: NodeSettings): Server {
  const { args, ready } = plans[name](nodeLayout(folder), settings);
  return memberServer({
    folder,
    run: settings.run,
    name,
    program: name === 'containerd' ? 'containerd' : settings.programs[name],
    args,
    logFile: join(nodeLayout(folder).logs, `${name}.log`),
    ready,
    deadlineMs,
  });
}

/** The user of each server that talks to the API, and so the name of its kubeconfig. */
export const serverUsers = {
  'kube-controller-manager': { user: 'system:kube-controller-manager' },
  'kube-scheduler': { user: 'system:kube-scheduler' },
  'kube-proxy': { user: 'system:kube-proxy' },
  kubelet: { user: `system:node:${nodeName}`, groups: ['system:nodes'] },
  // It reads Services and EndpointSlices of all namespaces; Kubernetes has no role of its own for it.
  coredns: { user: 'system:coredns', groups: ['system:masters'] },
};

function kubeconfigOf(files: NodeLayout, name: keyof typeof serverUsers): string {
  return join(files.api, `kubeconfig-${serverUsers[name].user.replace(/[^\w.-]/g, '_')}`);
}

function flags(values: Readonly<Record<string, string>>): string[] {
  return Object.entries(values).map(([flag, value]) => `--${flag}=${value}`);
}

const plans: Record<NodeServerName, (files: NodeLayout, settings: NodeSettings) => Plan> = {
  containerd: (files) => ({
    args: ['--config', files.containerdConfig],
    ready: () => connects(files.socket),
  }),
  'kube-controller-manager': (files, { ports }) => ({
    args: controllerManagerFlags(files, ports.controllerManager),
    ready: () => healthy(ports.controllerManager),
  }),
  'kube-scheduler': (files, { ports }) => ({
    args: flags({
      kubeconfig: kubeconfigOf(files, 'kube-scheduler'),
      'leader-elect': 'false',
      'bind-address': '127.0.0.1',
      'secure-port': String(ports.scheduler),
    }),
    ready: () => healthy(ports.scheduler),
  }),
  kubelet: (files, { ports }) => ({
    args: flags({
      config: files.kubeletConfig,
      kubeconfig: kubeconfigOf(files, 'kubelet'),
      'root-dir': files.kubelet,
      'cert-dir': files.pki,
      'hostname-override': nodeName,
      'node-ip': gateway,
    }),
    ready: () => answersOk(ports.kubeletHealth, '/healthz'),
  }),
  'kube-proxy': (files, { ports }) => ({
    args: flags({
      kubeconfig: kubeconfigOf(files, 'kube-proxy'),
      'proxy-mode': 'iptables',
      'cluster-cidr': podNetwork,
      'hostname-override': nodeName,
      'healthz-bind-address': `127.0.0.1:${ports.proxyHealth}`,
      'metrics-bind-address': `127.0.0.1:${ports.proxyMetrics}`,
      'iptables-localhost-nodeports': 'false',
      'conntrack-max-per-core': '0',
      'conntrack-tcp-timeout-established': '0',
      'conntrack-tcp-timeout-close-wait': '0',
    }),
    ready: () => answersOk(ports.proxyHealth, '/healthz'),
  }),
  coredns: (files, { ports }) => ({
    args: ['-conf', files.corefile],
    ready: () => answersOk(ports.dnsHealth, '/ready'),
  }),
};

function controllerManagerFlags(files: NodeLayout, port: number): string[] {
  const api = layout(files.api);
  return flags({
    kubeconfig: kubeconfigOf(files, 'kube-controller-manager'),
    'use-service-account-credentials': 'true',
    'service-account-private-key-file': api.tokenKey,
    'root-ca-file': api.authority,
    'cluster-signing-cert-file': api.authority,
    'cluster-signing-key-file': api.authorityKey,
    'leader-elect': 'false',
    'bind-address': '127.0.0.1',
    'secure-port': String(port),
  });
}

async function answersOk(port: number, path: string): Promise<true | undefined> {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(2000) });
  return answer.ok || undefined;
}

/** These two make a certificate of their own that nobody knows. */
async function healthy(port: number): Promise<true | undefined> {
  return await new Promise((resolve, reject) => {
    const options = {
      host: '127.0.0.1',
      port,
      path: '/healthz',
      rejectUnauthorized: false,
      agent: false,
      timeout: 2000,
    };
    const call = request(options, (answer) => {
      answer.resume();
      resolve(answer.statusCode === 200 ? true : undefined);
    });
    call.on('timeout', () => call.destroy(new Error('no answer within 2000 ms')));
    call.on('error', reject);
    call.end();
  });
}

async function connects(path: string): Promise<true> {
  return await new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });
}
