// Benchmark of hostile callers: how other callers fare, and what the limiter holds, while each attack of
// hostile-attacks.ts goes on. In: seconds for each, the cap; out: JSON. The limiter is the built `weir limiter`,
// under a container's cap of memory where that can be had; attackers and upstream are threads of their own. Other
// callers send small requests at a fixed rate, whether answered or not.
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { Pool } from 'undici';
import { waitFor } from '../tools/node-cluster/wait.ts';
import { quantile } from './figures.ts';
import { ATTACKS, type Attack } from './hostile-attacks.ts';
import type { AttackerData, AttackerReport } from './hostile-attacker.ts';
import { LimiterProcess, prepareFolder, ROUTE } from './limiter-process.ts';
import { capMemory, type MemoryCap } from './memory-cap.ts';
import { memoryOf } from './process-figures.ts';

export interface HostileBenchOptions {
  /** For each attack. */
  readonly seconds: number;
  readonly limitMiB: number;
  /** Names of attacks; all without it. */
  readonly attacks?: readonly string[];
}

/** How small requests of other callers were answered. */
export interface OtherCallers {
  readonly sent: number;
  /** Not with 200, or not at all within ten seconds. */
  readonly notServed: number;
  readonly medianMs: number;
  readonly p99Ms: number;
  readonly worstMs: number;
}

/**
 * Of the event loop: by the clock, and in CPU time of its thread, which other work on the machine does not lengthen.
 */
interface Turn {
  readonly wallMs: number;
  readonly cpuMs: number;
}

interface Phase {
  readonly others: OtherCallers;
  /** Resident memory of the limiter at its most. */
  readonly peakMiB: number;
  readonly longestTurn: Turn;
}

export interface HostileBenchResult extends Omit<HostileBenchOptions, 'attacks'> {
  /** Whether the limiter ran under the cap, as in a container. */
  readonly isCapped: boolean;
  readonly idle: Phase;
  readonly attacks: readonly (Phase & {
    readonly name: string;
    readonly requestMiB: number;
    readonly connections: number;
    readonly requests: number;
    readonly answers: Readonly<Record<string, number>>;
    readonly isLimiterAlive: boolean;
  })[];
  readonly worst: { readonly p99Ms: number; readonly peakMiB: number; readonly turnCpuMs: number };
}

const OTHERS_PER_SECOND = 50;
const PATIENCE_MS = 10_000;
const CALM_MS = 1_000;

/** Small requests at a fixed rate. */
class Others {
  readonly #pool: Pool;
  readonly #times: number[] = [];
  readonly #open = new Set<Promise<void>>();
  #sent = 0;
  #notServed = 0;
  readonly #timer: NodeJS.Timeout;

  constructor(traffic: string) {
    this.#pool = new Pool(traffic, { connections: 64, headersTimeout: PATIENCE_MS, bodyTimeout: PATIENCE_MS });
    this.#timer = setInterval(() => {
      const asked = this.#ask().finally(() => this.#open.delete(asked));
      this.#open.add(asked);
    }, 1_000 / OTHERS_PER_SECOND);
  }

  async finish(): Promise<OtherCallers> {
    clearInterval(this.#timer);
    await Promise.all(this.#open);
    await this.#pool.destroy();
    const at = (share: number): number => quantile(this.#times, share);
    return { sent: this.#sent, notServed: this.#notServed, medianMs: at(0.5), p99Ms: at(0.99), worstMs: at(1) };
  }

  async #ask(): Promise<void> {
    const start = performance.now();
    this.#sent += 1;
    try {
      const { statusCode, body } = await this.#pool.request({
        method: 'POST',
        path: `${ROUTE}/v1/chat/completions`,
        headers: { 'content-type': 'application/json' },
        body: '{"model":"chat","messages":[{"role":"user","content":"hello"}]}',
      });
      await body.dump();
      if (statusCode !== 200) this.#notServed += 1;
    } catch {
      this.#notServed += 1;
    }
    this.#times.push(performance.now() - start);
  }
}

/** Watches one limiter for a while. */
async function phase(limiter: LimiterProcess, seconds: number): Promise<Phase> {
  const { pid } = limiter.child;
  // From here on the kernel notes a new peak.
  await writeFile(`/proc/${pid}/clear_refs`, '5');
  await longestTurn(limiter);
  const others = new Others(limiter.traffic);
  let peakMiB = 0;
  const end = performance.now() + seconds * 1_000;
  while (performance.now() < end && limiter.isAlive) {
    await pause(100);
    peakMiB = await memoryOf(pid!).then(
      ({ peakMiB: most }) => most,
      () => peakMiB,
    );
  }
  return { longestTurn: await longestTurn(limiter), others: await others.finish(), peakMiB };
}

/** Since the last call; NaN of a limiter that has ended. */
async function longestTurn({ child, isAlive }: LimiterProcess): Promise<Turn> {
  const none = { wallMs: NaN, cpuMs: NaN };
  if (!isAlive) return none;
  const answer = once(child, 'message') as Promise<[Turn]>;
  child.send('turns');
  const [{ wallMs, cpuMs }] = await Promise.race([answer, once(child, 'exit').then(() => [none])]);
  return { wallMs: Math.round(wallMs), cpuMs: Math.round(cpuMs) };
}

async function underAttack(
  start: () => Promise<LimiterProcess>,
  attack: Attack,
  seconds: number,
): Promise<HostileBenchResult['attacks'][number]> {
  const limiter = await start();
  const { hostname: host, port } = new URL(limiter.traffic);
  const workerData: AttackerData = { attack: attack.name, host, port: Number(port) };
  const attacker = new Worker(new URL('./hostile-attacker.ts', import.meta.url), { workerData });
  try {
    await once(attacker, 'message');
    const seen = await phase(limiter, seconds);
    const report = once(attacker, 'message') as Promise<[AttackerReport]>;
    attacker.postMessage('report');
    const [{ requests, answers, bytes }] = await report;
    const isLimiterAlive = limiter.isAlive;
    process.stderr.write(`${attack.name}: ${JSON.stringify({ ...seen, requests, answers, isLimiterAlive })}\n`);
    const requestMiB = Math.round((bytes / 2 ** 20) * 1_000) / 1_000;
    return {
      name: attack.name,
      requestMiB,
      connections: attack.connections,
      requests,
      answers,
      isLimiterAlive,
      ...seen,
    };
  } finally {
    await attacker.terminate();
    await limiter.end();
  }
}

/** Runs the benchmark once; every attack meets a limiter of its own. */
export async function benchHostile({ attacks: chosen, ...options }: HostileBenchOptions): Promise<HostileBenchResult> {
  const { seconds, limitMiB } = options;
  const folder = await mkdtemp(join(tmpdir(), 'weir-bench-'));
  const cap: MemoryCap | undefined = capMemory(limitMiB);
  const upstream = new Worker(new URL(import.meta.url));
  try {
    const [url] = (await once(upstream, 'message')) as [string];
    await prepareFolder(folder, url, 1e9);
    const start = async (): Promise<LimiterProcess> => {
      const probe = pathToFileURL(join(import.meta.dirname, 'turn-probe.ts')).href;
      const limiter = await LimiterProcess.start(folder, {
        env: { NODE_OPTIONS: `--import=${probe}` },
        prefix: cap?.prefix ?? [],
      });
      await limiter.untilReady();
      await waitFor('answers', async () => (await fetch(`${limiter.traffic}/`)).status, { deadlineMs: 30_000 });
      await pause(CALM_MS);
      return limiter;
    };
    const calm = await start();
    const idle = await phase(calm, seconds).finally(() => calm.end());
    const attacks: HostileBenchResult['attacks'][number][] = [];
    for (const attack of ATTACKS) {
      if (chosen?.includes(attack.name) === false) continue;
      attacks.push(await underAttack(start, attack, seconds));
    }
    const most = (of: (seen: Phase) => number): number => Math.max(...attacks.map(of));
    const worst = {
      p99Ms: most(({ others }) => others.p99Ms),
      peakMiB: most(({ peakMiB }) => peakMiB),
      turnCpuMs: most(({ longestTurn: { cpuMs } }) => cpuMs),
    };
    return { ...options, isCapped: cap !== undefined, idle, attacks, worst };
  } finally {
    await upstream.terminate();
    cap?.remove();
    await rm(folder, { recursive: true, force: true });
  }
}

/** The thread of the upstream: a model server that answers at once. */
function serveUpstream(): void {
  const server = createServer((request, response) => {
    request.resume();
    request.once('end', () => response.writeHead(200, { 'content-type': 'application/json' }).end('{}'));
  });
  server.listen(0, '127.0.0.1', () => {
    parentPort?.postMessage(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  });
}

if (!isMainThread) serveUpstream();
else if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '10' },
      'limit-mib': { type: 'string', default: '512' },
      attack: { type: 'string', multiple: true },
    },
  });
  const result = await benchHostile({
    seconds: Number(values.seconds),
    limitMiB: Number(values['limit-mib']),
    ...(values.attack === undefined ? {} : { attacks: values.attack }),
  });
  process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
}
