// CLI, demo, servers: starts the stand-in for a model and an MCP server, and `weir standalone`, on free loopback ports,
// and ends them. In: a folder of manifests; out: where to send traffic, and what the stand-in counted.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startStandInModel, type StandInModel } from '../stand-in/stand-in-model.ts';

const START_DEADLINE_MS = 30_000;
const POLL_MS = 50;

/** A child process of the demo. */
interface Child {
  readonly name: string;
  readonly process: ChildProcess;
}

/** Addresses of `weir standalone`. */
export interface WeirAddresses {
  readonly traffic: string;
  readonly decision: string;
  readonly limiterAdmin: string;
  readonly operatorAdmin: string;
}

export class DemoServers {
  /** Answers model calls and MCP calls, and counts them. */
  readonly upstream: StandInModel;
  readonly #children: Child[] = [];
  readonly #logs: string;

  private constructor(upstream: StandInModel, logs: string) {
    this.upstream = upstream;
    this.#logs = logs;
  }

  /** Starts the upstream; logs of child processes go to the folder `logs`. */
  static async start(logs: string): Promise<DemoServers> {
    return new DemoServers(await startStandInModel({ host: '127.0.0.1', port: 0 }), logs);
  }

  /** Starts `weir standalone` on a folder of manifests; resolves when its limiter is ready. */
  async startWeir(manifests: string, work: string): Promise<WeirAddresses> {
    const ports = await Promise.all([freePort(), freePort(), freePort(), freePort()]);
    const [traffic, decision, limiterAdmin, operatorAdmin] = ports.map((port) => `127.0.0.1:${port}`) as [
      string,
      string,
      string,
      string,
    ];
    const flags = [
      '--manifests', manifests, '--listen', traffic, '--decision-listen', decision, '--admin-listen', limiterAdmin,
      '--operator-admin-listen', operatorAdmin, '--state-dir', join(work, 'state'),
    ]; // prettier-ignore
    const weir = launch('weir', [...process.execArgv, ownProgram(), 'standalone', ...flags], this.#logs);
    this.#children.push(weir);
    await this.#until('weir standalone', weir, async () => (await status(`http://${limiterAdmin}/readyz`)) === 200);
    return {
      traffic: `http://${traffic}`,
      decision: `http://${decision}`,
      limiterAdmin: `http://${limiterAdmin}`,
      operatorAdmin: `http://${operatorAdmin}`,
    };
  }

  /** Ends everything; a child that does not go on SIGTERM is killed after 5 s. */
  async close(): Promise<void> {
    await Promise.all(this.#children.map(async ({ process: child }) => end(child)));
    await this.upstream.close();
  }

  async #until(what: string, child: Child, probe: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + START_DEADLINE_MS;
    while (!(await probe())) {
      if (child.process.exitCode !== null)
        throw new Error(`${what} ended; its log: ${join(this.#logs, `${child.name}.log`)}`);
      if (performance.now() > deadline) throw new Error(`${what} did not start in ${START_DEADLINE_MS / 1000} s`);
      await delay(POLL_MS);
    }
  }
}

/** The executable that runs now: compiled code in the package, the sources in a clone. */
function ownProgram(): string {
  const program = process.argv[1];
  if (program === undefined) throw new Error('the demo runs as `weir demo`');
  return program;
}

function launch(name: string, args: readonly string[], logs: string): Child {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const log = createWriteStream(join(logs, `${name}.log`));
  child.stdout.pipe(log);
  child.stderr.pipe(log);
  return { name, process: child };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 5_000);
  await once(child, 'exit');
  clearTimeout(timer);
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** The status of a GET, undefined when nobody listens. */
async function status(url: string): Promise<number | undefined> {
  try {
    const response = await fetch(url);
    await response.body?.cancel();
    return response.status;
  } catch {
    return undefined;
  }
}
