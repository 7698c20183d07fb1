// Stage: control plane, its files. Input: a work folder. Output: the certificates, keys, policy and settings that its
// servers read, made once and kept.
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createAuthority, createSigningKeys, issueServerCertificate, type KeyPairPem } from './certificates.ts';
import { freePorts, isFree } from './ports.ts';

/** The range of Service addresses; the API server itself answers on its first one. */
export const serviceRange = '10.96.0.0/16';
const serviceAddress = '10.96.0.1';
/** Where pods reach the machine, when the cluster has a node. */
export const gateway = '10.88.0.1';

export interface Layout {
  readonly folder: string;
  readonly settings: string;
  readonly kubeconfig: string;
  readonly etcdData: string;
  readonly logs: string;
  readonly auditLog: string;
  readonly auditPolicy: string;
  readonly pki: string;
  readonly authority: string;
  readonly authorityKey: string;
  readonly serving: string;
  readonly servingKey: string;
  readonly tokenKey: string;
  readonly tokenPublicKey: string;
}

export function layout(folder: string): Layout {
  const pki = join(folder, 'pki');
  return {
    folder,
    settings: join(folder, 'settings.json'),
    kubeconfig: join(folder, 'kubeconfig'),
    etcdData: join(folder, 'etcd'),
    logs: join(folder, 'log'),
    auditLog: join(folder, 'audit.log'),
    auditPolicy: join(folder, 'audit-policy.json'),
    pki,
    authority: join(pki, 'ca.crt'),
    authorityKey: join(pki, 'ca.key'),
    serving: join(pki, 'apiserver.crt'),
    servingKey: join(pki, 'apiserver.key'),
    tokenKey: join(pki, 'tokens.key'),
    tokenPublicKey: join(pki, 'tokens.pub'),
  };
}

export interface Ports {
  readonly etcd: number;
  readonly etcdPeer: number;
  readonly apiServer: number;
}

/** All that is needed to start the servers again on the same addresses and data, by whichever process. */
export interface Settings {
  /** Names one `up`. */
  readonly run: string;
  readonly programs: { readonly etcd: string; readonly 'kube-apiserver': string };
  readonly ports: Ports;
  readonly audit: boolean;
  /** Flags of the API server without the dashes, over those of `servers.ts`. */
  readonly flags: Readonly<Record<string, string>>;
}

export async function readSettings(folder: string): Promise<Settings | undefined> {
  try {
    return JSON.parse(await readFile(layout(folder).settings, 'utf8')) as Settings;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

export async function writeSettings(folder: string, settings: Settings): Promise<void> {
  await writeWhole(layout(folder).settings, JSON.stringify(settings, null, 2) + '\n');
}

/** Keeps the ports of an earlier run when they are free, so that kubeconfigs handed out then still work. */
export async function choosePorts(earlier: Ports | undefined): Promise<Ports> {
  if (earlier) {
    const free = await Promise.all([earlier.etcd, earlier.etcdPeer, earlier.apiServer].map(isFree));
    if (free.every(Boolean)) return earlier;
  }
  const [etcd, etcdPeer, apiServer] = (await freePorts(3)) as [number, number, number];
  return { etcd, etcdPeer, apiServer };
}

/** Makes the folder, its keys and its policy. The keys appear all at once: a crash in between leaves none of them. */
export async function prepareFolder(folder: string): Promise<void> {
  const files = layout(folder);
  await mkdir(files.logs, { recursive: true });
  await mkdir(files.etcdData, { recursive: true, mode: 0o700 });
  await writeWhole(files.auditPolicy, JSON.stringify(auditPolicy, null, 2) + '\n');
  if (existsSync(files.pki)) return;
  const draft = `${files.pki}.draft`;
  await rm(draft, { recursive: true, force: true });
  await mkdir(draft, { mode: 0o700 });
  const authority = await createAuthority('weir-test-cluster');
  const serving = await issueServerCertificate(authority, 'kube-apiserver', servingHosts);
  const tokens = await createSigningKeys();
  const contents: readonly [string, string][] = [
    [files.authority, authority.certificate],
    [files.authorityKey, authority.key],
    [files.serving, serving.certificate],
    [files.servingKey, serving.key],
    [files.tokenKey, tokens.key],
    [files.tokenPublicKey, tokens.publicKey],
  ];
  for (const [path, text] of contents) await writeFile(path.replace(files.pki, draft), text, { mode: 0o600 });
  await rename(draft, files.pki);
}

export async function readAuthority(folder: string): Promise<KeyPairPem> {
  const files = layout(folder);
  return {
    certificate: await readFile(files.authority, 'utf8'),
    key: await readFile(files.authorityKey, 'utf8'),
  };
}

/** A reader sees the old text or the new one, never a part. */
export async function writeWhole(path: string, text: string): Promise<void> {
  const draft = `${path}.${process.pid}.draft`;
  await writeFile(draft, text, { mode: 0o600 });
  await rename(draft, path);
}

const servingHosts = [
  '127.0.0.1',
  serviceAddress,
  gateway,
  'localhost',
  'kubernetes',
  'kubernetes.default',
  'kubernetes.default.svc',
  'kubernetes.default.svc.cluster.local',
];

/** Who wrote what and when, with the bodies where tests compare them: leases and the objects of Weir. */
const auditPolicy = {
  apiVersion: 'audit.k8s.io/v1',
  kind: 'Policy',
  omitStages: ['RequestReceived'],
  omitManagedFields: true,
  rules: [
    {
      level: 'RequestResponse',
      resources: [{ group: 'weir.dev' }, { group: 'coordination.k8s.io', resources: ['leases'] }],
    },
    { level: 'Metadata' },
  ],
};
