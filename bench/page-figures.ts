// Benchmarks, page: which figures docs/benchmarks.md shows. In: results as the rows print them; out: one number for
// each figure, with what performance is required, the goal, the peer and the method.

export interface Figure {
  readonly row: string;
  readonly name: string;
  /** Path into the result; a number is an index. */
  readonly path: readonly (string | number)[];
  readonly unit: '×' | 'ms' | 's' | 'MiB';
  readonly better: 'higher' | 'lower';
  readonly required?: number;
  readonly goal?: number;
  readonly peer?: string;
  readonly method: string;
}

const STORE = 'two buckets a decision, a tenth refused, one Redis; median of three interleaved slices';
const PEER = 'rate-limiter-flexible, its fastest setting of the run';
const HOSTILE =
  '`weir limiter` under a cap of 512 MiB, 8 or 40 connections of one attacker, attacker and upstream on the same two cores; each attack sends bodies or heads of up to 16 MiB';
const SCALE = '10,000 objects, 1,000 sidecars and a shared limiter; etcd and API server on the same two cores';

export const FIGURES: readonly Figure[] = [
  { row: 'store', name: 'decisions/s, 64 in flight', path: ['loads', 0, 'decisionsRatio'], unit: '×', better: 'higher', required: 3, goal: 4.5, peer: PEER, method: STORE },
  { row: 'store', name: 'decisions/s, 512 in flight', path: ['loads', 1, 'decisionsRatio'], unit: '×', better: 'higher', required: 5, goal: 8, peer: PEER, method: STORE },
  { row: 'store', name: 'p50, 64 in flight', path: ['loads', 0, 'p50Ratio'], unit: '×', better: 'lower', required: 0.4, goal: 0.25, peer: PEER, method: STORE },
  { row: 'store', name: 'p99, 64 in flight', path: ['loads', 0, 'p99Ratio'], unit: '×', better: 'lower', required: 0.4, goal: 0.25, peer: PEER, method: STORE },
  { row: 'store', name: 'Redis CPU per decision, 64 in flight', path: ['loads', 0, 'redisCpuRatio'], unit: '×', better: 'lower', required: 0.33, goal: 0.2, peer: PEER, method: STORE },
  { row: 'apply', name: 'one edit, API server to last ACK, median', path: ['fromAnswer', 'lastAckAtOperator', 'medianMs'], unit: 'ms', better: 'lower', required: 100, goal: 15, method: '1,000 objects, 10 limiters, each a process; server-side apply over a kept connection' },
  { row: 'apply', name: 'one edit, API server to a status of 10/10, median', path: ['fromAnswer', 'statusSaysAll', 'medianMs'], unit: 'ms', better: 'lower', method: 'as above; the object is read again and again' },
  { row: 'push', name: 'new version to last of 10 ACKs, median', path: ['medianMs'], unit: 'ms', better: 'lower', method: 'the push alone, two processes, TLS and ACK table as in production' },
  { row: 'scale', name: 'operator start to last ACK', path: ['whole', 'startToLastAckMs'], unit: 's', better: 'lower', required: 60, goal: 15, method: SCALE },
  { row: 'scale', name: 'operator memory, peak', path: ['whole', 'memoryMiB', 'peak'], unit: 'MiB', better: 'lower', required: 1024, goal: 400, method: SCALE },
  { row: 'scale', name: 'one edit, API server to last of 11 ACKs, median', path: ['whole', 'fromAnswer', 'medianMs'], unit: 'ms', better: 'lower', goal: 50, method: SCALE },
  { row: 'memory', name: 'limiter idle', path: ['idle', 'rssMiB'], unit: 'MiB', better: 'lower', required: 100, goal: 60, method: 'resident memory after start from its disk' },
  { row: 'memory', name: 'limiter after 100,000 callers', path: ['withLiveKeys', 'rssMiB'], unit: 'MiB', better: 'lower', required: 200, method: 'one request of each caller, buckets in Redis' },
  { row: 'memory', name: 'limiter start to ready, median', path: ['startToReadyMs', 'medianMs'], unit: 's', better: 'lower', required: 2, goal: 0.5, method: 'config from its disk, eight starts' },
  { row: 'hostile', name: 'p99 of other callers, worst of 15 attacks', path: ['worst', 'p99Ms'], unit: 'ms', better: 'lower', method: HOSTILE },
  { row: 'hostile', name: 'p99 of other callers, nobody attacks', path: ['idle', 'others', 'p99Ms'], unit: 'ms', better: 'lower', method: HOSTILE },
  { row: 'hostile', name: 'limiter memory, worst of 15 attacks', path: ['worst', 'peakMiB'], unit: 'MiB', better: 'lower', required: 512, method: HOSTILE },
  { row: 'pod', name: 'pod start added by injection', path: ['addedMs'], unit: 's', better: 'lower', method: '12 pods of each kind in turns, from create to Ready, on a real node' },
  { row: 'pod', name: 'idle sidecar', path: ['limiterIdleMiB', 'rss'], unit: 'MiB', better: 'lower', method: 'as the kubelet says, 20 s after its start' },
]; // prettier-ignore
