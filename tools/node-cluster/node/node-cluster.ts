// Stage: node. Input: programs and a folder. Output: a Kubernetes with one node on this machine that runs pods, until
// it is taken down and nothing of it is left.
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, realpath, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { withLock } from '../build-lock.ts';
import { issueClientCertificate, issueServerCertificate } from '../certificates.ts';
import { readAuthority } from '../cluster-folder.ts';
import { attach as attachControlPlane, up as upControlPlane, type ControlPlane } from '../control-plane.ts';
import { mustKubectl } from '../kubectl.ts';
import type { Server } from '../member-server.ts';
import { endMember, findMembers } from '../members.ts';
import { freePorts } from '../ports.ts';
import { waitFor } from '../wait.ts';
import { gateway, nodeName } from './addresses.ts';
import { importImage, obtainPauseImage } from './images.ts';
import { bridgeOwner, cleanMachine, machineBefore, mountsBelow, prepareMachine } from './machine.ts';
import {
  nodeLayout,
  readNodeSettings,
  writeNodeFiles,
  writeNodeSettings,
  type NodePorts,
  type NodeSettings,
} from './node-folder.ts';
import type { NodeProgram } from './node-programs.ts';
import { nodeServer, nodeServerNames, serverUsers, type NodeServerName } from './node-servers.ts';

export interface NodeClusterOptions {
  readonly folder: string;
  readonly programs: Readonly<Record<NodeProgram, string>>;
  /** False: no audit log. Otherwise it is at `plane.auditLog`. */
  readonly audit?: boolean;
  readonly broughtUpBy?: NodeSettings['broughtUpBy'];
}

export interface NodeCluster {
  readonly folder: string;
  readonly kubeconfig: string;
  readonly settings: NodeSettings;
  readonly plane: ControlPlane;
  /** The node's own servers, to be stopped, killed, paused and started by a test. */
  readonly servers: Readonly<Record<NodeServerName, Server>>;
  readonly down: () => Promise<void>;
}

const lockDeadlineMs = 180_000;

/** One that is up and well in this folder is taken as it is; anything else that was left there is taken down first. */
export async function upNode(options: NodeClusterOptions): Promise<NodeCluster> {
  await mkdir(options.folder, { recursive: true });
  const folder = await realpath(options.folder);
  return await withLock(`${folder}.lock`, lockDeadlineMs, async () => {
    const running = await attachNode(folder);
    if (running && (await isWell(running))) return running;
    await refuseOthers(folder);
    await downNode(folder);
    return await bringUp(folder, options);
  });
}

/** The cluster of a folder that some process brought up; undefined when none was, or it was taken down. */
export async function attachNode(path: string): Promise<NodeCluster | undefined> {
  const folder = await realpath(path).catch(() => undefined);
  const settings = folder === undefined ? undefined : await readNodeSettings(folder);
  if (folder === undefined || settings === undefined) return undefined;
  const plane = await attachControlPlane(nodeLayout(folder).api);
  return plane && nodeCluster(folder, settings, plane);
}

/** Also after a crash, and when nothing is there. Logs stay in the folder; the cluster's data does not. */
export async function downNode(path: string): Promise<void> {
  const folder = await realpath(path).catch(() => resolve(path));
  const settings = await readNodeSettings(folder);
  const files = nodeLayout(folder);
  const rank = (name: string): number => (nodeServerNames as readonly string[]).indexOf(name);
  const members = findMembers(folder).sort((a, b) => rank(a.name) - rank(b.name));
  // What keeps a pod alive goes before the shims of the pods, which have rank -1 and are no longer asked by anybody.
  for (const member of members.filter(({ name }) => rank(name) >= 0)) await endMember(folder, member);
  const owner = bridgeOwner();
  if (settings !== undefined || owner === folder) {
    await cleanMachine(folder, settings?.before);
    for (const shim of findMembers(folder)) await endMember(folder, shim, { signal: 'SIGKILL' });
    await cleanMachine(folder, settings?.before); // what the shims still held
  }
  await (await attachControlPlane(files.api))?.down();
  await removeFolder(folder);
}

async function removeFolder(folder: string): Promise<void> {
  if (!existsSync(folder)) return;
  const mounted = mountsBelow(folder);
  if (mounted.length > 0) throw new Error(`still mounted, so not removed: ${mounted.join(', ')}`);
  const files = nodeLayout(folder);
  const logs = [files.logs, join(files.api, 'log')].filter((path) => existsSync(path));
  const kept = `${folder}.log`;
  if (logs.length > 0) {
    await rm(kept, { recursive: true, force: true });
    await mkdir(kept, { recursive: true });
    await rename(files.logs, join(kept, 'node')).catch(() => undefined);
    await rename(join(files.api, 'log'), join(kept, 'api')).catch(() => undefined);
  }
  await rm(folder, { recursive: true, force: true });
}

async function refuseOthers(folder: string): Promise<void> {
  const owner = bridgeOwner();
  if (owner === undefined || owner === folder) return;
  if (owner === '') throw new Error('the link weir0 is there and no cluster of ours has it; remove it first');
  if (findMembers(owner).length > 0)
    throw new Error(
      `the cluster of ${owner} is up, and a machine has room for one; end it: make -C ${dirname(dirname(owner))} cluster-down`,
    );
  await downNode(owner);
}

async function bringUp(folder: string, options: NodeClusterOptions): Promise<NodeCluster> {
  const { programs, audit = true, broughtUpBy = 'person' } = options;
  const ports = await choosePorts();
  const settings = { run: randomUUID(), programs, ports, audit, before: await machineBefore(), broughtUpBy };
  await mkdir(folder, { recursive: true });
  await writeNodeSettings(folder, settings);
  try {
    await prepareMachine(folder);
    await writeNodeFiles(folder, ports);
    const starting = startControlPlane(folder, settings);
    await allOf([starting, startContainerd(folder, settings)]);
    const plane = await starting;
    await writeCertificates(folder, plane);
    const cluster = nodeCluster(folder, settings, plane);
    await allOf(nodeServerNames.map((name) => cluster.servers[name].start()));
    await untilUsable(cluster);
    return cluster;
  } catch (error) {
    await downNode(folder);
    throw error;
  }
}

/** When it throws, nothing of it is still at work that a clean-up would miss. */
async function allOf(work: readonly Promise<unknown>[]): Promise<void> {
  await Promise.allSettled(work);
  await Promise.all(work);
}

async function choosePorts(): Promise<NodePorts> {
  const ports = (await freePorts(7)) as [number, number, number, number, number, number, number];
  const [kubelet, kubeletHealth, controllerManager, scheduler, proxyHealth, proxyMetrics, dnsHealth] = ports;
  return { kubelet, kubeletHealth, controllerManager, scheduler, proxyHealth, proxyMetrics, dnsHealth };
}

async function startControlPlane(folder: string, { programs, audit }: NodeSettings): Promise<ControlPlane> {
  const { api, pki } = nodeLayout(folder);
  return await upControlPlane({
    folder: api,
    programs,
    guarded: false,
    reset: true,
    audit,
    beforeStart: async () => {
      const client = await issueClientCertificate(await readAuthority(api), {
        user: 'kube-apiserver-kubelet-client',
        groups: ['system:masters'],
      });
      await writeFile(join(pki, 'kubelet-client.crt'), client.certificate, { mode: 0o600 });
      await writeFile(join(pki, 'kubelet-client.key'), client.key, { mode: 0o600 });
    },
    flags: {
      'bind-address': '0.0.0.0',
      'advertise-address': gateway,
      'endpoint-reconciler-type': 'lease',
      'kubelet-preferred-address-types': 'InternalIP',
      'kubelet-client-certificate': join(pki, 'kubelet-client.crt'),
      'kubelet-client-key': join(pki, 'kubelet-client.key'),
      'kubelet-certificate-authority': join(api, 'pki', 'ca.crt'),
    },
  });
}

async function startContainerd(folder: string, settings: NodeSettings): Promise<void> {
  const image = await obtainPauseImage();
  await nodeServer(folder, 'containerd', settings).start();
  await importImage(folder, image);
}

async function writeCertificates(folder: string, plane: ControlPlane): Promise<void> {
  const { pki, api } = nodeLayout(folder);
  const serving = await issueServerCertificate(await readAuthority(api), `system:node:${nodeName}`, [
    gateway,
    nodeName,
  ]);
  await writeFile(join(pki, 'kubelet.crt'), serving.certificate, { mode: 0o600 });
  await writeFile(join(pki, 'kubelet.key'), serving.key, { mode: 0o600 });
  for (const subject of Object.values(serverUsers)) await plane.kubeconfigFor(subject);
}

function nodeCluster(folder: string, settings: NodeSettings, plane: ControlPlane): NodeCluster {
  const servers = Object.fromEntries(
    nodeServerNames.map((name) => [name, nodeServer(folder, name, settings)]),
  ) as Record<NodeServerName, Server>;
  const down = (): Promise<void> => withLock(`${folder}.lock`, lockDeadlineMs, () => downNode(folder));
  return { folder, kubeconfig: plane.kubeconfig, settings, plane, servers, down };
}

/** All of its processes live, and its node is ready. */
async function isWell(cluster: NodeCluster): Promise<boolean> {
  const servers = [...Object.values(cluster.servers), cluster.plane.etcd, cluster.plane.apiServer];
  if (servers.some((one) => one.pid() === undefined)) return false;
  return await untilUsable(cluster, 3_000).then(
    () => true,
    () => false,
  );
}

/** A pod that is made now starts now: the node is ready and the default service account there. */
async function untilUsable(cluster: NodeCluster, deadlineMs = 60_000): Promise<void> {
  const options = { kubeconfig: cluster.kubeconfig, program: cluster.settings.programs.kubectl, timeoutMs: 10_000 };
  const conditions = '{.status.conditions[?(@.type=="Ready")].status} {.spec.taints}';
  const check = async (): Promise<true | undefined> => {
    const node = await mustKubectl(['get', 'node', nodeName, '-o', `jsonpath=${conditions}`], options);
    if (node.trim() !== 'True') throw new Error(`node: ${node}`);
    await mustKubectl(['get', 'serviceaccount', 'default', '-n', 'default'], options);
    return true;
  };
  await waitFor(`node ${nodeName} ready`, check, { deadlineMs, everyMs: 250 });
}
