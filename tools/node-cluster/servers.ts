// Stage: control plane, its servers. Input: the settings of a work folder. Output: etcd and the API server running,
// each ready or with its log in the error.
import { readFile } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import { layout, serviceRange, type Layout, type Settings } from './cluster-folder.ts';
import { memberServer, type Server } from './member-server.ts';

export const loopback = '127.0.0.1';
/** In the order of their start; they end the other way round. */
export const serverNames = ['etcd', 'kube-apiserver'] as const;
export type ServerName = (typeof serverNames)[number];

export function server(folder: string, name: ServerName, settings: Settings, deadlineMs: number): Server {
  const flags = Object.entries(serverFlags[name](folder, settings));
  return memberServer({
    folder,
    run: settings.run,
    name,
    program: settings.programs[name],
    args: flags.map(([flag, value]) => `--${flag}=${value}`),
    logFile: join(layout(folder).logs, `${name}.log`),
    ready: readyProbe[name](folder, settings),
    deadlineMs,
  });
}

type Flags = Record<string, string>;

const serverFlags: Record<ServerName, (folder: string, settings: Settings) => Flags> = {
  etcd: (folder, { ports }) => {
    const client = `http://${loopback}:${ports.etcd}`;
    const peer = `http://${loopback}:${ports.etcdPeer}`;
    return {
      name: 'weir-test',
      'data-dir': layout(folder).etcdData,
      'listen-client-urls': client,
      'advertise-client-urls': client,
      'listen-peer-urls': peer,
      'initial-advertise-peer-urls': peer,
      'initial-cluster': `weir-test=${peer}`,
      // Written data survives the end of the process, which is all that a test asks, without a wait for the disk.
      'unsafe-no-fsync': 'true',
      'log-level': 'warn',
    };
  },
  'kube-apiserver': (folder, { ports, audit, flags }) => {
    const files = layout(folder);
    return {
      'etcd-servers': `http://${loopback}:${ports.etcd}`,
      'bind-address': loopback,
      'advertise-address': loopback,
      'secure-port': String(ports.apiServer),
      // A loopback address may not be an endpoint of the Service "kubernetes", and without nodes nobody asks for it.
      'endpoint-reconciler-type': 'none',
      'tls-cert-file': files.serving,
      'tls-private-key-file': files.servingKey,
      'client-ca-file': files.authority,
      'authorization-mode': 'Node,RBAC',
      'allow-privileged': 'true',
      'service-cluster-ip-range': serviceRange,
      'service-account-issuer': 'https://kubernetes.default.svc',
      'service-account-key-file': files.tokenPublicKey,
      'service-account-signing-key-file': files.tokenKey,
      ...(audit ? auditFlags(files) : {}),
      ...flags,
    };
  },
};

function auditFlags({ auditLog, auditPolicy }: Layout): Flags {
  return {
    'audit-log-path': auditLog,
    'audit-policy-file': auditPolicy,
    'audit-log-maxsize': '100000', // MB: one file, never rotated under a reader
  };
}

/** Each answers true when its server is ready, and throws or answers undefined when it is not. */
const readyProbe: Record<ServerName, (folder: string, settings: Settings) => () => Promise<true | undefined>> = {
  etcd:
    (_folder, { ports }) =>
    async () => {
      const answer = await fetch(`http://${loopback}:${ports.etcd}/health`, { signal: AbortSignal.timeout(2000) });
      return answer.ok || undefined;
    },
  'kube-apiserver': (folder, { ports }) => {
    const files = layout(folder);
    return async () => {
      // Ready comes before the system namespaces are all there; a test's first command wants "default".
      const authority = await readFile(files.authority, 'utf8');
      const access = { port: ports.apiServer, ca: authority, ...(await adminCertificate(folder)) };
      for (const path of ['/readyz', '/api/v1/namespaces/default']) {
        const { status, body } = await get(access, path);
        if (status !== 200) throw new Error(`${path} answers ${status}: ${body.slice(0, 2000)}`);
      }
      return true;
    };
  },
};

/** Taken from the kubeconfig of the administrator, which is written before the first start. */
async function adminCertificate(folder: string): Promise<{ cert: string; key: string }> {
  const config = JSON.parse(await readFile(layout(folder).kubeconfig, 'utf8')) as {
    users: [{ user: { 'client-certificate-data': string; 'client-key-data': string } }];
  };
  const { user } = config.users[0];
  const text = (base64: string): string => Buffer.from(base64, 'base64').toString();
  return { cert: text(user['client-certificate-data']), key: text(user['client-key-data']) };
}

interface TlsAccess {
  readonly port: number;
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

async function get(access: TlsAccess, path: string): Promise<{ status: number; body: string }> {
  return await new Promise((resolve, reject) => {
    const call = request({ ...access, host: loopback, path, agent: false, timeout: 2000 }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('error', reject);
      answer.on('end', () => {
        resolve({ status: answer.statusCode ?? 0, body: Buffer.concat(chunks).toString() });
      });
    });
    call.on('timeout', () => call.destroy(new Error(`${path}: no answer within 2000 ms`)));
    call.on('error', reject);
    call.end();
  });
}
