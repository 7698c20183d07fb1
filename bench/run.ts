// `make bench`: runs one scenario, or all, in a process of its own. In: --row, --seconds; out: its JSON with machine
// and date, on the terminal and, kept for good, in bench/results/<row>-<time>.json. What a scenario says while it
// runs goes to stderr.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';

/** Row -> the program that measures it: takes `--seconds n` and prints one JSON value. */
const ROWS: Readonly<Record<string, string>> = {
  apply: 'apply.ts',
  hostile: 'hostile.ts',
  memory: 'memory.ts',
  pod: 'pod.ts',
  previous: 'previous.ts',
  push: 'push.ts',
  scale: 'scale.ts',
  store: 'store.ts',
};

/** What else ran shows in the load: a figure taken at a load above the number of cores says little. */
function describeMachine(): object {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryMiB: Math.round(totalmem() / 2 ** 20),
    kernel: release(),
    node: process.version,
    loadOfLastMinute: loadavg()[0],
  };
}

/** @returns whether the scenario ended well; it has said on stderr why not. */
async function run(row: string, program: string, seconds: string): Promise<boolean> {
  const at = new Date().toISOString();
  const machine = describeMachine();
  const child = spawn(process.execPath, [join(import.meta.dirname, program), '--seconds', seconds], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [output] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  if (child.exitCode !== 0) return false;
  const result = JSON.parse(output) as unknown;
  const json = `${JSON.stringify({ row, at, seconds: Number(seconds), machine, result }, null, 2)}\n`;
  const folder = join(import.meta.dirname, 'results');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, `${row}-${at.replaceAll(/[:.]/g, '-')}.json`), json);
  process.stdout.write(json);
  return true;
}

/** @returns what is wrong with the flags, or what to run. */
function rowsOf(args: readonly string[]): { rows: readonly string[]; seconds: string } | string {
  // `make bench` without ROW passes a bare --row.
  const given = args.filter((arg, index) => arg !== '--row' || args[index + 1]?.startsWith('--') === false);
  const { values } = parseArgs({
    args: given,
    options: { row: { type: 'string' }, seconds: { type: 'string', default: '10' } },
  });
  const known = Object.keys(ROWS);
  if (values.row !== undefined && !known.includes(values.row)) {
    return `--row ${values.row}: there is no such row; there are ${known.join(', ')}`;
  }
  if (!(Number(values.seconds) > 0)) return `--seconds ${values.seconds}: a number above 0 is needed`;
  return { rows: values.row === undefined ? known : [values.row], seconds: values.seconds };
}

const chosen = rowsOf(process.argv.slice(2));
if (typeof chosen === 'string') {
  process.stderr.write(`${chosen}\n`);
  process.exitCode = 2;
} else {
  for (const row of chosen.rows) {
    if (!(await run(row, ROWS[row] ?? '', chosen.seconds))) process.exitCode = 1;
  }
}
