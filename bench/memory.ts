// Benchmark of one limiter's size: start to ready, memory idle and with many live keys. In: seconds, keys; out: JSON. The limiter is
// the built `weir limiter` with its usual flags, a process of its own, and reads its config from disk; no operator is there.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Pool } from 'undici';
import { resourceName, type ModelRouting } from '../src/contract/limiter-config.ts';
import { toVersioned } from '../src/contract/snapshot.ts';
import { formatSnapshot } from '../src/limiter/config/snapshot-file.ts';
import { freePorts } from '../tools/node-cluster/ports.ts';
import { waitFor } from '../tools/node-cluster/wait.ts';
import { sampleConfig } from '../test/contract/sample-config.ts';
import { projectFolder } from '../test/rig/stack/cluster-access.ts';
import { quantile } from './figures.ts';

export interface MemoryBenchOptions {
  /** The limiter is started again and again for this long, and then left alone for as long. */
  readonly seconds: number;
  /** Live keys: callers that each have a bucket of their own in the limiter's memory store. */
  readonly keys: number;
}

/** As the kernel counts it; `fileMiB` is the part that all processes of one Node share. */
export interface Resident {
  readonly rssMiB: number;
  readonly fileMiB: number;
}

export interface MemoryBenchResult extends MemoryBenchOptions {
  readonly starts: number;
  /** From the process's start to `/readyz` answering 200. */
  readonly startToReadyMs: { readonly medianMs: number; readonly worstMs: number };
  readonly idle: Resident;
  readonly withLiveKeys: Resident;
}

const OBJECT = { kind: 'ModelRoute', namespace: 'bench', name: 'chat' } as const;
const ID = 'limiter';
const READY_DEADLINE_MS = 30_000;
/** After its start Node still frees what starting took. */
const CALM_MS = 2_000;
const AT_ONCE = 32;

/** `weir limiter` on ports of its own. */
class LimiterProcess {
  readonly #child: ChildProcess;
  readonly #admin: string;
  /** Base URL of its proxy. */
  readonly traffic: string;

  private constructor(child: ChildProcess, admin: number, traffic: number) {
    this.#child = child;
    this.#admin = `http://127.0.0.1:${admin}`;
    this.traffic = `http://127.0.0.1:${traffic}`;
  }

  static async start(folder: string): Promise<LimiterProcess> {
    const [traffic, admin, decision, nobody] = (await freePorts(4)) as [number, number, number, number];
    const at = (port: number): string => `127.0.0.1:${port}`;
    const args = [
      ...['--id', ID, '--state-dir', folder, '--egress-allow', '127.0.0.0/8', '--log-level', 'error'],
      ...['--listen', at(traffic), '--admin-listen', at(admin), '--decision-listen', at(decision)],
      ...['--operator', at(nobody), '--operator-ca', join(folder, 'ca'), '--token-file', join(folder, 'token')],
    ];
    const child = spawn(join(projectFolder, 'bin', 'weir'), ['limiter', ...args], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    return new LimiterProcess(child, admin, traffic);
  }

  async untilReady(): Promise<void> {
    const isReady = async (): Promise<true | undefined> => (await fetch(`${this.#admin}/readyz`)).ok || undefined;
    await waitFor('a limiter that is ready', isReady, { deadlineMs: READY_DEADLINE_MS, everyMs: 2 });
  }

  async resident(): Promise<Resident> {
    const text = await readFile(`/proc/${this.#child.pid}/status`, 'utf8');
    const of = (field: string): number =>
      Math.round(Number(new RegExp(`${field}:\\s+(\\d+)`).exec(text)?.[1]) / 102.4) / 10;
    return { rssMiB: of('VmRSS'), fileMiB: of('RssFile') };
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    this.#child.kill();
    await once(this.#child, 'exit');
  }
}

/** What a limiter needs to serve from its disk: one route to `url`, a bucket per team in its memory. */
async function prepareFolder(folder: string, url: string): Promise<void> {
  const sample = sampleConfig(OBJECT, 10);
  const limits = sample.limits.map((limit) => ({
    ...limit,
    per: [{ type: 'header' as const, name: 'x-team', whenAbsent: 'Share' as const }],
  }));
  const routing: ModelRouting = {
    kind: 'model',
    models: ['chat'],
    hostnames: [],
    pathPrefix: `/${OBJECT.namespace}/${OBJECT.name}`,
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

/** @returns ms from the process's start to ready, for each start. */
async function measureStarts(folder: string, seconds: number): Promise<number[]> {
  const times: number[] = [];
  const end = performance.now() + seconds * 1_000;
  do {
    const begin = performance.now();
    const limiter = await LimiterProcess.start(folder);
    try {
      await limiter.untilReady();
      times.push(performance.now() - begin);
    } finally {
      await limiter.end();
    }
  } while (performance.now() < end);
  return times;
}

/** A request of each caller through the proxy: every one of them has a bucket afterwards. */
async function fill({ traffic }: LimiterProcess, keys: number): Promise<void> {
  const pool = new Pool(traffic, { connections: AT_ONCE });
  const path = `/${OBJECT.namespace}/${OBJECT.name}/v1/chat/completions`;
  let next = 0;
  const ask = async (): Promise<void> => {
    while (next < keys) {
      const headers = { 'content-type': 'application/json', 'x-team': `team-${next++}` };
      const { statusCode, body } = await pool.request({ method: 'POST', path, headers, body: '{"messages":[]}' });
      if (statusCode !== 200) throw new Error(`the limiter answers ${statusCode}: ${await body.text()}`);
      await body.dump();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, ask));
  await pool.close();
}

/** A model server that answers at once. @returns its URL. */
async function listen(upstream: Server): Promise<string> {
  upstream.on('request', (request: IncomingMessage, response: ServerResponse) => {
    request.resume();
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
  });
  upstream.listen(0, '127.0.0.1');
  await once(upstream, 'listening');
  return `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`;
}

/** Runs the benchmark once. */
export async function benchMemory(options: MemoryBenchOptions): Promise<MemoryBenchResult> {
  const { seconds, keys } = options;
  const folder = await mkdtemp(join(tmpdir(), 'weir-bench-'));
  const upstream = createServer();
  let limiter: LimiterProcess | undefined;
  try {
    await prepareFolder(folder, await listen(upstream));
    const times = await measureStarts(folder, seconds);
    limiter = await LimiterProcess.start(folder);
    await limiter.untilReady();
    await pause(CALM_MS + seconds * 1_000);
    const idle = await limiter.resident();
    await fill(limiter, keys);
    await pause(CALM_MS);
    const withLiveKeys = await limiter.resident();
    const startToReadyMs = { medianMs: quantile(times, 0.5), worstMs: quantile(times, 1) };
    return { ...options, starts: times.length, startToReadyMs, idle, withLiveKeys };
  } finally {
    await limiter?.end();
    upstream.close();
    await rm(folder, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { seconds: { type: 'string', default: '10' }, keys: { type: 'string', default: '100000' } },
  });
  const result = await benchMemory({ seconds: Number(values.seconds), keys: Number(values.keys) });
  process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
}
