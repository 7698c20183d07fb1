// Benchmarks, a limiter: the built `weir limiter` with its usual flags, a process of its own, which reads its config
// from disk; no operator is there. In: a folder that is prepared for it; out: its addresses, and what it costs.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { resourceName, type ModelRouting } from '../src/contract/limiter-config.ts';
import { toVersioned } from '../src/contract/snapshot.ts';
import { formatSnapshot } from '../src/limiter/config/snapshot-file.ts';
import { freePorts } from '../tools/node-cluster/ports.ts';
import { waitFor } from '../tools/node-cluster/wait.ts';
import { sampleConfig } from '../test/contract/sample-config.ts';
import { projectFolder } from '../test/rig/stack/cluster-access.ts';

/** The route that the limiter serves. */
export const OBJECT = { kind: 'ModelRoute', namespace: 'bench', name: 'chat' } as const;
export const ROUTE = `/${OBJECT.namespace}/${OBJECT.name}`;
const ID = 'limiter';
const READY_DEADLINE_MS = 30_000;

/** As the kernel counts it; `fileMiB` is the part that all processes of one Node share. */
export interface Resident {
  readonly rssMiB: number;
  readonly fileMiB: number;
}

/** How the process is begun; without it as `bin/weir` begins it. */
export interface Launch {
  /** Put before the command. */
  readonly prefix?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** `weir limiter` on ports of its own. */
export class LimiterProcess {
  readonly child: ChildProcess;
  /** Base URLs. */
  readonly admin: string;
  readonly traffic: string;

  private constructor(child: ChildProcess, admin: number, traffic: number) {
    this.child = child;
    this.admin = `http://127.0.0.1:${admin}`;
    this.traffic = `http://127.0.0.1:${traffic}`;
  }

  /** `child` takes messages (`ipc`), for what is loaded into it. */
  static async start(folder: string, { prefix = [], env = {} }: Launch = {}): Promise<LimiterProcess> {
    const [traffic, admin, decision, nobody] = (await freePorts(4)) as [number, number, number, number];
    const at = (port: number): string => `127.0.0.1:${port}`;
    const [command = '', ...args] = [
      ...prefix,
      ...[join(projectFolder, 'bin', 'weir'), 'limiter'],
      ...['--id', ID, '--state-dir', folder, '--egress-allow', '127.0.0.0/8', '--log-level', 'error'],
      ...['--listen', at(traffic), '--admin-listen', at(admin), '--decision-listen', at(decision)],
      ...['--operator', at(nobody), '--operator-ca', join(folder, 'ca'), '--token-file', join(folder, 'token')],
    ];
    const stdio = ['ignore', 'ignore', 'inherit', ...(env['NODE_OPTIONS'] === undefined ? [] : ['ipc' as const])];
    const child = spawn(command, args, { stdio: stdio as 'inherit'[], env: { ...process.env, ...env } });
    return new LimiterProcess(child, admin, traffic);
  }

  /** undefined: it has ended. */
  get isAlive(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  async untilReady(): Promise<void> {
    const isReady = async (): Promise<true | undefined> => (await fetch(`${this.admin}/readyz`)).ok || undefined;
    await waitFor('a limiter that is ready', isReady, { deadlineMs: READY_DEADLINE_MS, everyMs: 2 });
  }

  async resident(): Promise<Resident> {
    const text = await readFile(`/proc/${this.child.pid}/status`, 'utf8');
    const of = (field: string): number =>
      Math.round(Number(new RegExp(`${field}:\\s+(\\d+)`).exec(text)?.[1]) / 102.4) / 10;
    return { rssMiB: of('VmRSS'), fileMiB: of('RssFile') };
  }

  async end(): Promise<void> {
    if (!this.isAlive) return;
    this.child.kill();
    await once(this.child, 'exit');
  }
}

/**
 * What a limiter needs to serve from its disk: one route to `url`, a bucket of `requests` an hour per team in its
 * memory.
 */
export async function prepareFolder(folder: string, url: string, requests = 10): Promise<void> {
  const sample = sampleConfig(OBJECT, requests);
  const limits = sample.limits.map((limit) => ({
    ...limit,
    per: [{ type: 'header' as const, name: 'x-team', whenAbsent: 'Share' as const }],
  }));
  const routing: ModelRouting = {
    kind: 'model',
    models: ['chat'],
    hostnames: [],
    pathPrefix: ROUTE,
    rules: [{ name: 'all', headers: [], methods: [], targets: [{ url, weight: 1 }] }],
  };
  const { name, version, bytes } = toVersioned(resourceName(OBJECT), { ...sample, routing, limits });
  const kept = [{ name, version, json: bytes.toString('utf8') }];
  await Promise.all([
    writeFile(join(folder, `${ID}.snapshot`), formatSnapshot(kept)),
    writeFile(join(folder, 'token'), 'bench'),
    writeFile(join(folder, 'ca'), ''),
  ]);
}
