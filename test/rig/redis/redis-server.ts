// Test part: real Redis servers. Input: options. Output: redis-server processes on free loopback ports that end with
// the test process for sure, and that a test may stop, kill, pause, resume and restart.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { freePorts } from '../../../tools/node-cluster/ports.ts';
import { Hopeless, waitFor } from '../../../tools/node-cluster/wait.ts';

export const LOOPBACK = '127.0.0.1';
const START_DEADLINE_MS = 15_000;
const STOP_DEADLINE_MS = 5000;

export interface RedisServerOptions {
  /** More arguments of redis-server: `['--maxmemory', '1mb']`. */
  readonly args?: readonly string[];
  /** true: an append-only file keeps the data over kill and restart. */
  readonly persistent?: boolean;
  readonly port?: number;
  /** Of the default user (requirepass). */
  readonly password?: string;
  /** true: the test itself comes in as {@link ADMIN}, whatever becomes of the default user. */
  readonly admin?: boolean;
  /** Speaks TLS alone, with this certificate (PEM); clients need none. */
  readonly tls?: { readonly certificate: string; readonly key: string; readonly ca: string };
}

/** User and password of a test that changes passwords. */
export const ADMIN = 'test-admin test-admin-word';

/** How a test itself talks to a server. */
export interface RedisDoor {
  /** What AUTH is given. */
  readonly login?: string;
  readonly ca?: string;
}

/** One redis-server (or redis-sentinel) process. */
export class RedisServer {
  readonly port: number;
  readonly folder: string;
  readonly #command: readonly string[];
  readonly #door: RedisDoor;
  #child: ChildProcess | undefined;

  constructor(port: number, folder: string, command: readonly string[], door: RedisDoor = {}) {
    this.port = port;
    this.#door = door;
    this.folder = folder;
    this.#command = command;
  }

  /** `host:port`, as RedisEndpoint.address wants it. */
  get address(): string {
    return `${LOOPBACK}:${this.port}`;
  }

  /** Undefined when it is not running. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Resolves when it answers PING. */
  async start(): Promise<void> {
    const child = spawnBound(this.#command);
    this.#child = child;
    let output = '';
    child.stdout?.on('data', (chunk: Buffer) => (output = (output + chunk.toString()).slice(-4000)));
    child.once('exit', () => {
      if (this.#child === child) this.#child = undefined;
    });
    await waitFor(
      `redis-server on ${this.port}`,
      async () => {
        if (this.#child !== child) throw new Hopeless(`redis-server on ${this.port} ended:\n${output}`);
        return (await ask(this.port, 'PING', this.#door)).startsWith('+PONG') || undefined;
      },
      { deadlineMs: START_DEADLINE_MS, everyMs: 10 },
    );
  }

  /** SIGTERM, also to a paused one, and its end. */
  async stop(): Promise<void> {
    await this.#end('SIGTERM');
  }

  /** kill -9 and its end. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** Starts again on the same port; without `persistent` it begins empty. */
  async restart(): Promise<void> {
    await this.kill();
    await this.start();
  }

  /** SIGSTOP: connections stay, nothing is answered from the return of this call on. */
  pause(): void {
    const pid = this.#child?.pid;
    if (pid === undefined) return;
    process.kill(pid, 'SIGSTOP');
    const end = performance.now() + STOP_DEADLINE_MS;
    // The signal is on its way when kill returns; a busy machine may let the process run on for a while.
    while (!readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') T '))
      if (performance.now() > end) throw new Error(`redis-server ${pid} does not stop`);
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
  }

  /** Sends one inline command, answers the reply (RESP) with one character per byte (Latin-1). */
  async ask(command: string): Promise<string> {
    return await ask(this.port, command, this.#door);
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    child.kill('SIGCONT');
    await ended;
  }
}

const running = new Set<RedisServer>();

/** Starts one server; end it with {@link stopRedis} (or all of them with {@link stopAllRedis}). */
export async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const port = options.port ?? (await freePort());
  const folder = await mkdtemp(join(tmpdir(), 'weir-redis-'));
  const { tls, args = [] } = options;
  const command = [
    'redis-server',
    ...['--port', tls === undefined ? `${port}` : '0', '--bind', LOOPBACK, '--dir', folder, '--save', ''],
    ...['--daemonize', 'no', '--enable-debug-command', 'local'],
    ...persistenceArguments(options),
    ...(tls === undefined ? [] : await tlsArguments(port, folder, tls)),
    ...loginArguments(options),
    ...args,
  ];
  const server = new RedisServer(port, folder, command, doorOf(options));
  running.add(server);
  await server.start();
  return server;
}

function persistenceArguments({ persistent = false }: RedisServerOptions): string[] {
  return persistent ? ['--appendonly', 'yes', '--appendfsync', 'always'] : ['--appendonly', 'no'];
}

function loginArguments({ password, admin = false }: RedisServerOptions): string[] {
  const [name = '', word = ''] = ADMIN.split(' ');
  return [
    ...(password === undefined ? [] : ['--requirepass', password]),
    ...(admin ? ['--user', name, 'on', `>${word}`, '~*', '&*', '+@all'] : []),
  ];
}

function doorOf({ password, admin = false, tls }: RedisServerOptions): RedisDoor {
  const login = admin ? ADMIN : password;
  return { ...(login === undefined ? {} : { login }), ...(tls === undefined ? {} : { ca: tls.ca }) };
}

/** Ends one server and removes what it wrote. */
export async function stopRedis(server: RedisServer): Promise<void> {
  await server.kill();
  running.delete(server);
  await rm(server.folder, { recursive: true, force: true });
}

/** Ends every server that this test file started: for `afterAll`. */
export async function stopAllRedis(): Promise<void> {
  await Promise.all([...running].map(stopRedis));
}

/** Starts a Redis Cluster of masters without replicas; every slot is served when this resolves. */
export async function startRedisCluster(masters = 3): Promise<RedisServer[]> {
  const ports = await freePorts(masters * 2);
  const servers = await Promise.all(
    ports.slice(0, masters).map((port, index) =>
      startRedis({
        port,
        args: [
          '--cluster-enabled',
          'yes',
          '--cluster-port',
          `${ports[masters + index]}`,
          '--cluster-node-timeout',
          '2000',
        ],
      }),
    ),
  );
  const addresses = servers.map((server) => server.address);
  await run(['redis-cli', '--cluster', 'create', ...addresses, '--cluster-yes', '--cluster-replicas', '0']);
  await Promise.all(
    servers.map(async (server) => {
      await waitFor(
        'cluster_state:ok',
        async () => (await server.ask('CLUSTER INFO')).includes('cluster_state:ok') || undefined,
        {
          deadlineMs: START_DEADLINE_MS,
        },
      );
    }),
  );
  return servers;
}

export interface SentinelSetup {
  readonly masterName: string;
  readonly master: RedisServer;
  readonly replica: RedisServer;
  readonly sentinels: readonly RedisServer[];
}

/** Starts a master, a replica and three sentinels that agree on the master (fail-over begins after 1 s of silence). */
export async function startRedisSentinel(masterName = 'weir'): Promise<SentinelSetup> {
  const master = await startRedis();
  const replica = await startRedis({ args: ['--replicaof', LOOPBACK, `${master.port}`] });
  const sentinels = await Promise.all([1, 2, 3].map(() => startSentinel(masterName, master.port)));
  await Promise.all(
    sentinels.map(async (sentinel) => {
      await waitFor(
        'sentinel knows master, replica and peers',
        async () => {
          const reply = await sentinel.ask(`SENTINEL MASTER ${masterName}`);
          const has = (field: string, value: number): boolean =>
            new RegExp(`${field}\\r\\n\\$\\d+\\r\\n${value}\\r\\n`).test(reply);
          return (has('num-slaves', 1) && has('num-other-sentinels', 2)) || undefined;
        },
        { deadlineMs: START_DEADLINE_MS },
      );
    }),
  );
  return { masterName, master, replica, sentinels };
}

async function startSentinel(masterName: string, masterPort: number): Promise<RedisServer> {
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), 'weir-sentinel-'));
  const file = join(folder, 'sentinel.conf');
  const lines = [
    `port ${port}`,
    `bind ${LOOPBACK}`,
    `dir ${folder}`,
    `sentinel monitor ${masterName} ${LOOPBACK} ${masterPort} 2`,
    `sentinel down-after-milliseconds ${masterName} 1000`,
    `sentinel failover-timeout ${masterName} 5000`,
  ];
  await writeFile(file, `${lines.join('\n')}\n`);
  const server = new RedisServer(port, folder, ['redis-sentinel', file]);
  running.add(server);
  await server.start();
  return server;
}

/** Why tests on Redis cannot run here, or undefined. */
export function redisMissing(): string | undefined {
  return onPath('redis-server')
    ? undefined
    : 'redis-server is not on the PATH; to enable: apt-get install redis-server';
}

async function freePort(): Promise<number> {
  const [port] = await freePorts(1);
  if (port === undefined) throw new Error('no free port');
  return port;
}

function onPath(program: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => existsSync(join(folder, program)));
}

/** The kernel ends the child with this process (setpriv --pdeathsig), whatever becomes of this process. */
function spawnBound(command: readonly string[]): ChildProcess {
  const [program = '', ...args] = onPath('setpriv') ? ['setpriv', '--pdeathsig', 'KILL', ...command] : command;
  return spawn(program, args, { stdio: ['ignore', 'pipe', 'ignore'] });
}

async function run(command: readonly string[]): Promise<void> {
  const child = spawnBound(command);
  let output = '';
  child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const [code] = (await once(child, 'exit')) as [number];
  if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code}:\n${output}`);
}

async function tlsArguments(port: number, folder: string, tls: Required<RedisServerOptions>['tls']): Promise<string[]> {
  const { certificate, key, ca } = tls;
  const paths = await Promise.all(
    Object.entries({ certificate, key, ca }).map(async ([name, text]) => {
      const path = join(folder, `${name}.pem`);
      await writeFile(path, text, { mode: 0o600 });
      return path;
    }),
  );
  const [certificatePath = '', keyPath = '', caPath = ''] = paths;
  return [
    ...['--tls-port', `${port}`, '--tls-cert-file', certificatePath, '--tls-key-file', keyPath],
    ...['--tls-ca-cert-file', caPath, '--tls-auth-clients', 'no'],
  ];
}

async function ask(port: number, command: string, { login, ca }: RedisDoor = {}): Promise<string> {
  return await new Promise((resolve, reject) => {
    const socket =
      ca === undefined
        ? connect({ port, host: LOOPBACK })
        : connectTls({ port, host: LOOPBACK, ca, checkServerIdentity: () => undefined });
    const hello = login === undefined ? '' : `AUTH ${login}\r\n`;
    let toSkip = hello === '' ? 0 : 1;
    let reply = '';
    const finish = (error?: Error): void => {
      socket.destroy();
      if (error) reject(error);
      else resolve(reply);
    };
    socket.setTimeout(1000, () => {
      finish(new Error(`no answer to ${command}`));
    });
    socket.once('error', finish);
    socket.once('close', () => {
      finish();
    });
    socket.on('data', (chunk: Buffer) => {
      reply += chunk.toString('latin1');
      for (let end = endOfReply(reply); toSkip > 0 && end !== undefined; end = endOfReply(reply)) {
        reply = reply.slice(end);
        toSkip--;
      }
      if (toSkip === 0 && endOfReply(reply) !== undefined) finish();
    });
    socket.write(`${hello}${command}\r\n`);
  });
}

/** Where the RESP value that begins at `from` ends; undefined while it is not whole. One character is one byte. */
function endOfReply(text: string, from = 0): number | undefined {
  const line = text.indexOf('\r\n', from);
  if (line === -1) return undefined;
  const count = Number(text.slice(from + 1, line));
  let end: number | undefined = line + 2;
  if (text[from] === '$' && count >= 0) return text.length >= end + count + 2 ? end + count + 2 : undefined;
  if (text[from] !== '*') return end;
  for (let index = 0; index < count && end !== undefined; index++) end = endOfReply(text, end);
  return end;
}
