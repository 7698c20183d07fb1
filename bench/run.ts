// `make bench`: runs one scenario, or all, in a process of its own. In: --row, --seconds; out: its JSON with machine and date, on the
// terminal and, kept for good, in bench/results/<row>-<time>.json.
import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';

/** Row -> the program that measures it: takes `--seconds n` and prints one JSON value. */
const ROWS: Readonly<Record<string, string>> = {
  push: 'push.ts',
  store: 'store.ts',
};

async function run(row: string, program: string, seconds: string): Promise<void> {
  const at = new Date().toISOString();
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [join(import.meta.dirname, program), '--seconds', seconds],
    { maxBuffer: 64 * 1024 * 1024 },
  );
  const machine = {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryMiB: Math.round(totalmem() / 2 ** 20),
    node: process.version,
  };
  const text = `${JSON.stringify({ row, at, machine, result: JSON.parse(stdout) as unknown }, null, 2)}\n`;
  const folder = join(import.meta.dirname, 'results');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, `${row}-${at.replaceAll(/[:.]/g, '-')}.json`), text);
  process.stdout.write(text);
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
  for (const row of chosen.rows) await run(row, ROWS[row] ?? '', chosen.seconds);
}
