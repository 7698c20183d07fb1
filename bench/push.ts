// Benchmark of the push: from a new version in the snapshot store to its last ACK. In: objects, limiters, seconds;
// out: JSON. Operator and limiters are two processes on loopback, TLS and ACK table as in production; what an apply
// costs in the API server and in reconcile is not in it.
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { AckTable } from '../src/controller/push/ack-table.ts';
import type { Authenticator } from '../src/controller/push/authenticator.ts';
import { publishFleet } from '../src/controller/push/fleet.ts';
import { PushServer } from '../src/controller/push/push-server.ts';
import { SnapshotStore } from '../src/controller/push/snapshot-store.ts';
import type { Visibility } from '../src/controller/push/visibility.ts';
import { silentLogger } from '../src/lib/log.ts';
import { makePushCertificates } from '../test/contract/push-certificates.ts';
import { sampleResource } from '../test/contract/sample-config.ts';
import { drawer, SEED, timesOf, type Times } from './figures.ts';

export interface PushBenchOptions {
  readonly objects: number;
  readonly limiters: number;
  readonly seconds: number;
  /** shared: every limiter has every object. sidecar: each object is seen by one limiter. */
  readonly mode: 'shared' | 'sidecar';
}

export interface PushBenchResult extends PushBenchOptions, Times {
  readonly seed: number;
  readonly firstSyncMs: number;
  /** Resources sent per edit: the number of limiters that see the object, or something is wrong. */
  readonly sentPerEdit: number;
  readonly operatorRssMiB: number;
}

const TOKEN = 'bench';

/** Runs the benchmark once. */
export async function benchPush(options: PushBenchOptions): Promise<PushBenchResult> {
  const folder = await mkdtemp(join(tmpdir(), 'weir-bench-'));
  const store = new SnapshotStore();
  const acks = new AckTable((view) => store.namesSeenBy(view));
  const counts = { sent: 0, acked: 0, nacked: 0 };
  const certificates = await makePushCertificates();
  const server = new PushServer(
    {
      store,
      acks,
      authenticate: authenticatorOf(options),
      log: silentLogger(),
      observer: {
        sent: (resources) => (counts.sent += resources),
        acked: () => (counts.acked += 1),
        nacked: (count) => (counts.nacked += count),
      },
    },
    { host: '127.0.0.1', port: 0, tls: certificates.tls },
  );
  for (let index = 0; index < options.objects; index += 1) put(store, options, index, 1);
  const endFleet = publishFleet(store, acks, { egressAllow: [] });
  const port = await server.listen();
  await Promise.all([writeFile(join(folder, 'ca.pem'), certificates.ca), writeFile(join(folder, 'token'), TOKEN)]);
  const begin = performance.now();
  const child = fork(new URL('push-limiters.ts', import.meta.url), [String(port), folder, JSON.stringify(options)]);
  try {
    const perObject = options.mode === 'shared' ? options.limiters : 1;
    await ackedVersions(counts, options.objects * perObject, child);
    if (counts.nacked > 0) throw new Error(`the limiters refused ${counts.nacked} configs`);
    const firstSyncMs = performance.now() - begin;
    await settled(acks, options.limiters, counts, child);
    const before = { ...counts };
    const latencies = await edit(store, acks, options, perObject);
    return {
      ...options,
      seed: SEED,
      firstSyncMs: Math.round(firstSyncMs),
      ...timesOf(latencies),
      sentPerEdit: (counts.sent - before.sent) / latencies.length,
      operatorRssMiB: Math.round(process.memoryUsage().rss / 2 ** 20),
    };
  } finally {
    endFleet();
    child.kill();
    if (child.exitCode === null) await once(child, 'exit');
    await server.close(500);
    await rm(folder, { recursive: true });
  }
}

function authenticatorOf({ mode }: PushBenchOptions): Authenticator {
  return ({ self: { nodeId } }) => {
    const pod = { namespace: 'bench', name: nodeId, uid: nodeId, labels: { app: nodeId } };
    const view = mode === 'shared' ? ({ kind: 'shared', namespaces: 'all' } as const) : ({ kind: 'pod', pod } as const);
    return Promise.resolve({ admitted: true, limiterId: nodeId, view });
  };
}

function put(store: SnapshotStore, { limiters }: PushBenchOptions, index: number, burst: number): string {
  const resource = sampleResource('bench', `route-${index}`, burst);
  const visibility: Visibility = {
    namespace: 'bench',
    workloadSelector: { matchLabels: { app: `limiter-${index % limiters}` } },
  };
  store.set(resource, visibility);
  return resource.version;
}

/** One edit after the other; each waits for its last ACK. @returns their times in ms. */
async function edit(
  store: SnapshotStore,
  acks: AckTable,
  options: PushBenchOptions,
  perObject: number,
): Promise<number[]> {
  const latencies: number[] = [];
  const draw = drawer(options.objects);
  const end = performance.now() + options.seconds * 1_000;
  while (performance.now() < end) {
    const index = draw();
    const name = `ModelRoute/bench/route-${index}`;
    const begin = performance.now();
    const version = put(store, options, index, 2 + latencies.length);
    await new Promise<void>((resolve) => {
      const unsubscribe = acks.subscribe((names) => {
        if (!names.has(name)) return;
        const synced = acks.statesOf(name).filter(({ ackedVersion }) => ackedVersion === version).length;
        if (synced < perObject) return;
        unsubscribe();
        resolve();
      });
    });
    latencies.push(performance.now() - begin);
  }
  return latencies;
}

async function ackedVersions(
  counts: { acked: number; nacked?: number },
  wanted: number,
  child: ChildProcess,
): Promise<void> {
  while (counts.acked < wanted && !counts.nacked) {
    if (child.exitCode !== null) throw new Error('the limiters ended before they had everything');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Waits until the news of the fleet's size has gone round. */
async function settled(
  acks: AckTable,
  limiters: number,
  counts: { sent: number; acked: number },
  child: ChildProcess,
): Promise<void> {
  await ackedVersions({ get acked() { return acks.count().connected; } }, limiters, child); // prettier-ignore
  for (let last = -1; last !== counts.acked;) {
    last = counts.acked;
    await new Promise((resolve) => setTimeout(resolve, 1_500));
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      objects: { type: 'string', default: '1000' },
      limiters: { type: 'string', default: '10' },
      seconds: { type: 'string', default: '10' },
      mode: { type: 'string', default: 'shared' },
    },
  });
  const mode = values.mode === 'sidecar' ? 'sidecar' : 'shared';
  const result = await benchPush({
    objects: Number(values.objects),
    limiters: Number(values.limiters),
    seconds: Number(values.seconds),
    mode,
  });
  process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
}
