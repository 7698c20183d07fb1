// Stage: control plane. Input: programs and a work folder. Output: a Kubernetes API on loopback (etcd and
// kube-apiserver, no nodes, no controllers), until it is taken down.
import { randomUUID } from 'node:crypto';
import { mkdir, realpath, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { issueClientCertificate, type Subject } from './certificates.ts';
import {
  choosePorts,
  layout,
  prepareFolder,
  readAuthority,
  readSettings,
  writeSettings,
  writeWhole,
  type Settings,
} from './cluster-folder.ts';
import { formatKubeconfig } from './kubeconfig.ts';
import type { Server } from './member-server.ts';
import { endMember, findMembers, startGuard, type Guard } from './members.ts';
import { loopback, server, serverNames, type ServerName } from './servers.ts';

export interface ControlPlaneOptions {
  /** Everything that the control plane keeps is in this folder, and its processes are known by it. */
  readonly folder: string;
  readonly programs: Settings['programs'];
  /** True: its processes end with the calling process, also after kill -9. False: they stay until `down`. */
  readonly guarded?: boolean;
  /**
   * True: begin with an empty etcd and empty logs. Otherwise the data of an earlier run in this folder is there
   * again.
   */
  readonly reset?: boolean;
  /** Writes what the API server was asked into `auditLog`, a line before each answer. */
  readonly audit?: boolean;
  /** Flags of the API server, without the dashes; they win over the usual ones. */
  readonly flags?: Readonly<Record<string, string>>;
  /** When the authority is there and no server runs yet: files that its flags name are written here. */
  readonly beforeStart?: () => Promise<void>;
  /** For each of the two servers to become ready. */
  readonly deadlineMs?: number;
}

export interface ControlPlane {
  readonly folder: string;
  /** File of an administrator of the cluster. */
  readonly kubeconfig: string;
  /** Address of the API, with the scheme. */
  readonly server: string;
  /** One JSON event per line; undefined without `audit`. */
  readonly auditLog: string | undefined;
  readonly etcd: Server;
  readonly apiServer: Server;
  /** Writes a kubeconfig for a user of these groups and returns its path; what the user may do is up to RBAC. */
  kubeconfigFor: (subject: Subject) => Promise<string>;
  /**
   * Forgets all older revisions in etcd and returns the one kept. The API server still serves watches from its own
   * memory: for "410 Gone" on an old resource version also restart it, or run it with the flag `watch-cache: 'false'`.
   */
  compact: () => Promise<number>;
  /** Ends its processes and no other. The folder stays, for its logs and for another `up`. */
  down: () => Promise<void>;
}

const defaultDeadlineMs = 60_000;

/** Also right after a crash: what an earlier run left behind in this folder is ended first. */
export async function up(options: ControlPlaneOptions): Promise<ControlPlane> {
  await mkdir(options.folder, { recursive: true });
  const folder = await realpath(options.folder);
  await endAll(folder);
  if (options.reset) await forgetData(folder);
  await prepareFolder(folder);
  const earlier = await readSettings(folder);
  const settings: Settings = {
    run: randomUUID(),
    programs: options.programs,
    ports: await choosePorts(earlier?.ports),
    audit: options.audit ?? false,
    flags: options.flags ?? {},
  };
  await writeSettings(folder, settings);
  await options.beforeStart?.();
  const guard = options.guarded === false ? undefined : await startGuard(folder, settings.run);
  const plane = controlPlane(folder, settings, guard, options.deadlineMs);
  try {
    await writeKubeconfig(plane, layout(folder).kubeconfig, { user: 'weir-test-admin', groups: ['system:masters'] });
    await plane.etcd.start();
    await plane.apiServer.start();
  } catch (error) {
    await plane.down();
    throw error;
  }
  return plane;
}

/** The control plane of a folder that another process brought up; undefined when there never was one. */
export async function attach(path: string): Promise<ControlPlane | undefined> {
  const folder = await realpath(path).catch(() => undefined);
  const settings = folder === undefined ? undefined : await readSettings(folder);
  return folder === undefined || settings === undefined ? undefined : controlPlane(folder, settings);
}

function controlPlane(folder: string, settings: Settings, guard?: Guard, deadlineMs = defaultDeadlineMs): ControlPlane {
  const files = layout(folder);
  const plane: ControlPlane = {
    folder,
    kubeconfig: files.kubeconfig,
    server: `https://${loopback}:${settings.ports.apiServer}`,
    auditLog: settings.audit ? files.auditLog : undefined,
    etcd: server(folder, 'etcd', settings, deadlineMs),
    apiServer: server(folder, 'kube-apiserver', settings, deadlineMs),
    kubeconfigFor: async (subject) => {
      const path = join(folder, `kubeconfig-${subject.user.replace(/[^\w.-]/g, '_')}`);
      await writeKubeconfig(plane, path, subject);
      return path;
    },
    compact: () => compact(settings.ports.etcd),
    down: async () => {
      await endAll(folder);
      await guard?.release();
    },
  };
  return plane;
}

async function writeKubeconfig(plane: ControlPlane, path: string, subject: Subject): Promise<void> {
  const authority = await readAuthority(plane.folder);
  const credentials = await issueClientCertificate(authority, subject);
  const access = { server: plane.server, authority: authority.certificate, user: subject.user, credentials };
  await writeWhole(path, formatKubeconfig(access));
}

/** The API server before its store, so that it ends in order. */
async function endAll(folder: string): Promise<void> {
  const rank = (name: string): number => serverNames.indexOf(name as ServerName);
  const members = findMembers(folder).sort((a, b) => rank(b.name) - rank(a.name));
  for (const member of members) await endMember(folder, member);
}

async function forgetData(folder: string): Promise<void> {
  const { etcdData, logs, auditLog } = layout(folder);
  for (const path of [etcdData, logs, auditLog]) await rm(path, { recursive: true, force: true });
}

async function compact(port: number): Promise<number> {
  const { header } = await etcdCall(port, 'range', { key: Buffer.from('\0').toString('base64') });
  await etcdCall(port, 'compaction', { revision: header.revision, physical: true });
  return Number(header.revision);
}

/** etcd's own JSON form of its API; numbers of 64 bits are text in it. */
async function etcdCall(port: number, method: string, body: object): Promise<{ header: { revision: string } }> {
  const answer = await fetch(`http://${loopback}:${port}/v3/kv/${method}`, {
    method: 'POST',
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(10_000),
  });
  if (!answer.ok) throw new Error(`etcd refused ${method}: ${await answer.text()}`);
  return (await answer.json()) as { header: { revision: string } };
}
