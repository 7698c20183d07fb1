// Stack, its roles. In: ports and files; out: the record of each process that Weir on one machine consists of.
import { join } from 'node:path';
import { loopback } from '../../../tools/node-cluster/servers.ts';
import { projectFolder } from './cluster-access.ts';
import type { ProcessRecord } from './process-record.ts';

const weir = join(projectFolder, 'bin', 'weir');
/** Upstreams and Redis of a stack are on loopback, which no limiter dials unless it is told so. */
const EGRESS_ALLOW = '127.0.0.0/8';

export interface RedisRole {
  readonly port: number;
  /** Holds its data. */
  readonly folder: string;
  /** true: what was counted outlives kill and restart. */
  readonly persistent?: boolean;
  readonly flags?: readonly string[];
}

export function redisRecord({ port, folder, persistent = false, flags = [] }: RedisRole): ProcessRecord {
  const persistence = persistent ? ['--appendonly', 'yes', '--appendfsync', 'always'] : ['--appendonly', 'no'];
  return {
    name: 'redis',
    program: 'redis-server',
    args: [
      ...['--port', String(port), '--bind', loopback, '--dir', folder, '--save', '', ...persistence, ...flags],
      // A title of its own is written over the environment, by which its process is known.
      ...['--set-proc-title', 'no'],
    ],
    ready: { kind: 'redis', port },
  };
}

/** A server written in TypeScript of the tests, run by this Node. */
export function upstreamRecord(port: number): ProcessRecord {
  return {
    name: 'upstream',
    program: process.execPath,
    args: [join(projectFolder, 'test', 'rig', 'upstream', 'counting-upstream.ts'), '--port', String(port)],
    ready: { kind: 'http', url: `http://${loopback}:${port}/count` },
  };
}

/** The official example server; it has no health check, and answers 4xx to anything that is not MCP. */
export function mcpExampleRecord(port: number): ProcessRecord {
  const server = join(projectFolder, 'node_modules', '@modelcontextprotocol', 'server-everything', 'dist', 'index.js');
  return {
    name: 'mcp-example',
    program: process.execPath,
    args: [server, 'streamableHttp'],
    environment: { PORT: String(port) },
    ready: { kind: 'port', port },
  };
}

export interface OperatorRole {
  /** Its name as a process; default `operator`. */
  readonly name?: string;
  readonly kubeconfig: string;
  readonly pushPort: number;
  readonly adminPort: number;
  /** Where it keeps the keys of the push port. */
  readonly folder: string;
  /** `host:port`; absent: objects of scope Shared must name their own. */
  readonly defaultRedis?: string;
  readonly flags?: readonly string[];
  /** The executable `weir` of another release; default: this project's. */
  readonly program?: string;
  /** As in {@link ProcessRecord}. */
  readonly readyWithinMs?: number | undefined;
}

export function operatorRecord(role: OperatorRole): ProcessRecord {
  const { kubeconfig, pushPort, adminPort, folder, defaultRedis, flags = [] } = role;
  return {
    name: role.name ?? 'operator',
    program: role.program ?? weir,
    args: [
      'operator',
      ...['--kubeconfig', kubeconfig],
      ...['--push-listen', `${loopback}:${pushPort}`],
      ...['--admin-listen', `${loopback}:${adminPort}`],
      ...['--egress-allow', EGRESS_ALLOW],
      ...['--tls-dir', folder],
      ...(defaultRedis === undefined ? [] : ['--default-redis', defaultRedis]),
      ...flags,
    ],
    ready: { kind: 'http', url: `http://${loopback}:${adminPort}/readyz` },
    ...(role.readyWithinMs === undefined ? {} : { readyWithinMs: role.readyWithinMs }),
  };
}

export interface LimiterRole {
  /** Its name as a process and at the operator. */
  readonly id: string;
  readonly port: number;
  readonly adminPort: number;
  readonly decisionPort: number;
  readonly pushPort: number;
  readonly caFile: string;
  /** Absent: it has no token to show. */
  readonly tokenFile?: string;
  /** Keeps its last good snapshot. */
  readonly folder: string;
  readonly flags?: readonly string[];
  /** As in {@link OperatorRole}. */
  readonly program?: string;
}

export function limiterRecord(role: LimiterRole): ProcessRecord {
  const { id, port, adminPort, decisionPort, pushPort, caFile, tokenFile, folder, flags = [] } = role;
  return {
    name: id,
    program: role.program ?? weir,
    args: [
      'limiter',
      ...['--id', id],
      ...['--listen', `${loopback}:${port}`],
      ...['--admin-listen', `${loopback}:${adminPort}`],
      ...['--decision-listen', `${loopback}:${decisionPort}`],
      ...['--operator', `${loopback}:${pushPort}`],
      ...['--operator-ca', caFile],
      ...(tokenFile === undefined ? [] : ['--token-file', tokenFile]),
      ...['--state-dir', folder],
      ...flags,
    ],
    // The last of its ports to open; a limiter without configs is not ready by its own account, and may be meant to
    // be so.
    ready: { kind: 'port', port },
  };
}
