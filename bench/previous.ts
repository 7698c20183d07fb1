// Benchmark of a release beside the one before it: the rows of both, in turns, in one run. In: seconds per row and
// turn; out: each figure of both, and their ratio. The previous release is built in a git worktree of its own; each
// side runs its own programs on the same machine, so that what else runs there burdens both alike.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { previousRelease } from '../test/rig/upgrade/previous-release.ts';
import { quantile } from './figures.ts';

const run = promisify(execFile);

/** Row -> its figures, as paths into the result of both releases. */
const COMPARED: Readonly<Record<string, readonly string[]>> = {
  store: ['loads.0.decisionsRatio', 'loads.0.p50Ratio', 'loads.0.redisCpuRatio', 'loads.1.decisionsRatio'],
  apply: ['fromAnswer.lastAckAtOperator.medianMs', 'fromAnswer.statusSaysAll.medianMs', 'operatorReadyMs'],
  push: ['medianMs', 'p99Ms', 'firstSyncMs', 'operatorRssMiB'],
  memory: ['idle.rssMiB', 'withLiveKeys.rssMiB', 'startToReadyMs.medianMs'],
};
const DEADLINE_MS = 600_000;

interface Comparison {
  /** In the order of the turns. */
  readonly previous: readonly number[];
  readonly present: readonly number[];
  /** Median of the present ones / median of the previous ones. */
  readonly ratio: number;
}

export interface PreviousBenchOptions {
  readonly seconds: number;
  readonly turns: number;
  readonly rows: readonly string[];
}

export interface PreviousBenchResult extends PreviousBenchOptions {
  readonly release: string;
  /** By row and path of the figure. */
  readonly figures: Readonly<Record<string, Readonly<Record<string, Comparison>>>>;
}

/** Runs one row of the sources in a folder. */
async function measure(folder: string, row: string, seconds: number): Promise<unknown> {
  const args = [join(folder, 'bench', `${row}.ts`), '--seconds', String(seconds)];
  const { stdout } = await run(process.execPath, args, { cwd: folder, timeout: DEADLINE_MS, maxBuffer: 2 ** 26 });
  return JSON.parse(stdout);
}

/** @throws Error when a result has no such number */
function valueAt(result: unknown, path: string): number {
  let value = result;
  for (const step of path.split('.')) value = (value as Record<string, unknown> | undefined)?.[step];
  if (typeof value !== 'number') throw new Error(`there is no number at ${path}`);
  return value;
}

function compare(path: string, results: Readonly<Record<'previous' | 'present', readonly unknown[]>>): Comparison {
  const previous = results.previous.map((result) => valueAt(result, path));
  const present = results.present.map((result) => valueAt(result, path));
  return { previous, present, ratio: Math.round((quantile(present, 0.5) / quantile(previous, 0.5)) * 1000) / 1000 };
}

/** Runs the benchmark once; every other turn begins with the other side. */
export async function benchPrevious({ seconds, turns, rows }: PreviousBenchOptions): Promise<PreviousBenchResult> {
  const release = await previousRelease();
  if ('missing' in release) throw new Error(release.missing);
  const folders = { previous: join(release.program, '..', '..'), present: join(import.meta.dirname, '..') };
  const figures: Record<string, Record<string, Comparison>> = {};
  for (const row of rows) {
    const results = { previous: [] as unknown[], present: [] as unknown[] };
    for (let turn = 0; turn < turns; turn += 1) {
      const order = turn % 2 === 0 ? (['previous', 'present'] as const) : (['present', 'previous'] as const);
      for (const side of order) {
        process.stderr.write(`${row}: turn ${turn + 1} of ${turns}, ${side}\n`);
        results[side].push(await measure(folders[side], row, seconds));
      }
    }
    figures[row] = Object.fromEntries((COMPARED[row] ?? []).map((path) => [path, compare(path, results)]));
    process.stderr.write(`${JSON.stringify({ [row]: figures[row] })}\n`);
  }
  return { release: release.version, seconds, turns, rows, figures };
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '10' },
      turns: { type: 'string', default: '3' },
      rows: { type: 'string', default: Object.keys(COMPARED).join() },
    },
  });
  const { seconds, turns, rows } = values;
  const result = await benchPrevious({ seconds: Number(seconds), turns: Number(turns), rows: rows.split(',') });
  process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
}
