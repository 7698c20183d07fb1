// Stack, the whole of Weir. In: a stack and a cluster; out: Redis, a counting upstream, the operator and limiters on
// it, each by name.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ControlPlane } from '../../../tools/node-cluster/control-plane.ts';
import type { Server } from '../../../tools/node-cluster/member-server.ts';
import { freePorts } from '../../../tools/node-cluster/ports.ts';
import { loopback } from '../../../tools/node-cluster/servers.ts';
import { OPERATOR_SUBJECT, writeLimiterToken, type Kubectl, type TokenOptions } from './cluster-access.ts';
import {
  limiterRecord,
  mcpExampleRecord,
  operatorRecord,
  redisRecord,
  upstreamRecord,
  type RedisRole,
} from './roles.ts';
import type { Stack } from './stack.ts';

/** Where the servers of a stack listen on loopback. */
export interface StackPorts {
  readonly redis: number;
  readonly upstream: number;
  readonly push: number;
  readonly operatorAdmin: number;
}

export interface Limiter {
  readonly id: string;
  /** Base URL of its traffic; an object without hosts and prefix answers at `<url>/<namespace>/<name>`. */
  readonly url: string;
  readonly adminUrl: string;
  readonly decisionUrl: string;
  readonly server: Server;
}

export interface LimiterOptions {
  readonly id: string;
  readonly flags?: readonly string[];
  /** The executable `weir` of another release. */
  readonly program?: string;
  /** A file with the token to show. Absent: one is made as `token` says. */
  readonly tokenFile?: string;
  readonly token?: TokenOptions;
}

export interface OperatorOptions {
  /** Of several operators, as a process. */
  readonly name?: string;
  /** Default: a certificate of the operator's account. */
  readonly kubeconfig?: string;
  readonly pushPort?: number;
  readonly adminPort?: number;
  /** false: objects of scope Shared must name their own. */
  readonly defaultRedis?: boolean;
  readonly flags?: readonly string[];
  /** The executable of another release. */
  readonly program?: string;
  /** For it to become ready; default 30 s. */
  readonly readyWithinMs?: number;
}

/** Starts the parts of Weir in one stack. Parts started twice are replaced, on the same ports and data. */
export class WeirStack {
  readonly stack: Stack;
  readonly ports: StackPorts;
  readonly #plane: Pick<ControlPlane, 'kubeconfigFor'>;
  readonly #kubectl: Kubectl;
  readonly #limiters = new Map<string, readonly [number, number, number]>();

  constructor(
    stack: Stack,
    ports: StackPorts,
    cluster: { readonly plane: Pick<ControlPlane, 'kubeconfigFor'>; readonly kubectl: Kubectl },
  ) {
    this.stack = stack;
    this.ports = ports;
    this.#plane = cluster.plane;
    this.#kubectl = cluster.kubectl;
  }

  static async choosePorts(): Promise<StackPorts> {
    const [redis, upstream, push, operatorAdmin] = (await freePorts(4)) as [number, number, number, number];
    return { redis, upstream, push, operatorAdmin };
  }

  get upstreamUrl(): string {
    return `http://${loopback}:${this.ports.upstream}`;
  }

  get operatorAdminUrl(): string {
    return `http://${loopback}:${this.ports.operatorAdmin}`;
  }

  async startRedis(options: Pick<RedisRole, 'persistent' | 'flags'> = {}): Promise<Server> {
    const folder = await this.#folder('redis-data');
    return await this.stack.start(redisRecord({ ...options, port: this.ports.redis, folder }));
  }

  async startUpstream(): Promise<Server> {
    return await this.stack.start(upstreamRecord(this.ports.upstream));
  }

  /** The official MCP example server; answers its base URL, to be a target as it is. */
  async startMcpExample(): Promise<string> {
    const [port] = (await freePorts(1)) as [number];
    await this.stack.start(mcpExampleRecord(port));
    return `http://${loopback}:${port}`;
  }

  async startOperator(options: OperatorOptions = {}): Promise<Server> {
    const { defaultRedis = true, flags = [], program, name, readyWithinMs } = options;
    const { push, operatorAdmin, redis } = this.ports;
    return await this.stack.start(
      operatorRecord({
        ...(name === undefined ? {} : { name }),
        kubeconfig: options.kubeconfig ?? (await this.#plane.kubeconfigFor(OPERATOR_SUBJECT)),
        pushPort: options.pushPort ?? push,
        adminPort: options.adminPort ?? operatorAdmin,
        folder: await this.#folder('operator-data'),
        ...(defaultRedis ? { defaultRedis: `${loopback}:${redis}` } : {}),
        ...(program === undefined ? {} : { program }),
        readyWithinMs,
        flags,
      }),
    );
  }

  async startLimiter(options: LimiterOptions): Promise<Limiter> {
    const { id, flags = [], program } = options;
    const [port, adminPort, decisionPort] = await this.#portsOf(id);
    const record = limiterRecord({
      id,
      port,
      adminPort,
      decisionPort,
      pushPort: this.ports.push,
      caFile: join(this.stack.folder, 'operator-data', 'ca.crt'),
      tokenFile: options.tokenFile ?? (await this.#tokenFile(id, options.token)),
      folder: await this.#folder(`${id}-data`),
      ...(program === undefined ? {} : { program }),
      flags,
    });
    const server = await this.stack.start(record);
    const url = (of: number): string => `http://${loopback}:${of}`;
    return { id, url: url(port), adminUrl: url(adminPort), decisionUrl: url(decisionPort), server };
  }

  async #tokenFile(id: string, token?: TokenOptions): Promise<string> {
    const path = join(this.stack.folder, `${id}.token`);
    await writeLimiterToken(this.#kubectl, path, token);
    return path;
  }

  async #portsOf(id: string): Promise<readonly [number, number, number]> {
    const known = this.#limiters.get(id) ?? ((await freePorts(3)) as [number, number, number]);
    this.#limiters.set(id, known);
    return known;
  }

  async #folder(name: string): Promise<string> {
    const path = join(this.stack.folder, name);
    await mkdir(path, { recursive: true, mode: 0o700 });
    return path;
  }
}
