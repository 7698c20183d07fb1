// Benchmark of one limiter's size: start to ready, memory idle and with many live keys. In: seconds, keys; out: JSON.
// The limiter is the built `weir limiter` with its usual flags, a process of its own, and reads its config from disk;
// no operator is there.
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Pool } from 'undici';
import { quantile } from './figures.ts';
import { LimiterProcess, prepareFolder, ROUTE, type Resident } from './limiter-process.ts';

export interface MemoryBenchOptions {
  /** The limiter is started again and again for this long, and then left alone for as long. */
  readonly seconds: number;
  /** Live keys: callers that each have a bucket of their own in the limiter's memory store. */
  readonly keys: number;
}

export interface MemoryBenchResult extends MemoryBenchOptions {
  readonly starts: number;
  /** From the process's start to `/readyz` answering 200. */
  readonly startToReadyMs: { readonly medianMs: number; readonly worstMs: number };
  readonly idle: Resident;
  readonly withLiveKeys: Resident;
}

/** After its start Node still frees what starting took. */
const CALM_MS = 2_000;
const AT_ONCE = 32;

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
  const path = `${ROUTE}/v1/chat/completions`;
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
