// Tests of the tests: seeds the faults of test/mutants/faults.ts one by one into a copy of the project and runs the
// tests that must notice. Exits 1 when a fault survives, when a fault no longer fits the source, or when the copy is
// not green.
import { execFile, execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Fault } from '../test/mutants/fault.ts';
import { FAULTS } from '../test/mutants/faults.ts';

/** A fault may leave a caller without an answer: then the test is red by its time. */
const TEST_TIMEOUT_MS = '30000';
/** Faults at a time, each in a copy of its own. */
const AT_ONCE = 2;

interface JestReport {
  readonly success: boolean;
  readonly testResults: readonly {
    readonly message: string;
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[];
  }[];
}

/** A copy of what git tracks (and what is new and not ignored), so that a seeded fault can never be committed. */
function copyProject(): string {
  const copy = mkdtempSync(join(tmpdir(), 'weir-mutants-'));
  const list = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    encoding: 'utf8',
  });
  for (const path of list.split('\0').filter((one) => one !== '')) cpSync(path, join(copy, path), { recursive: true });
  symlinkSync(join(process.cwd(), 'node_modules'), join(copy, 'node_modules'));
  return copy;
}

/** Runs the named tests of some files; the others are left out, so that a fault costs seconds. */
async function runJest(copy: string, files: readonly string[], names: readonly string[]): Promise<JestReport> {
  const report = join(copy, 'report.json');
  rmSync(report, { force: true });
  const run = await promisify(execFile)(
    process.execPath,
    ['--experimental-vm-modules', 'node_modules/jest/bin/jest.js', '--selectProjects', 'unit', 'redis', '--runInBand', '--forceExit',
      '--json', '--outputFile', report, '--testTimeout', TEST_TIMEOUT_MS, '-t', names.map(escapeRegExp).join('|'), '--runTestsByPath', ...files],
    { cwd: copy, encoding: 'utf8', timeout: 240_000, maxBuffer: 256 * 1024 * 1024, env: { ...process.env, FORCE_COLOR: '0' } },
  ).catch((error: unknown) => error as { stderr: string }); // prettier-ignore
  try {
    return JSON.parse(readFileSync(report, 'utf8')) as JestReport;
  } catch {
    throw new Error(`jest left no report: ${run.stderr.slice(-2000)}`);
  }
}

function escapeRegExp(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

function failedNames(report: JestReport): string[] {
  return report.testResults.flatMap((file) =>
    file.assertionResults.filter((one) => one.status === 'failed').map((one) => one.fullName),
  );
}

/** Seeds one fault; answers undefined when the named test turned red, otherwise what went wrong. */
async function seed(copy: string, fault: Fault): Promise<string | undefined> {
  const path = join(copy, fault.file);
  const source = readFileSync(path, 'utf8');
  const places = source.split(fault.find).length - 1;
  if (places !== 1) return `the text to replace stands ${places} times in ${fault.file}: bring the fault up to date`;
  writeFileSync(
    path,
    source.replace(fault.find, () => fault.replace),
  );
  try {
    const failed = failedNames(await runJest(copy, fault.tests, [fault.caughtBy]));
    if (failed.length === 0) return `survived: no test of ${fault.tests.join(', ')} turned red`;
    return failed.some((name) => name.includes(fault.caughtBy))
      ? undefined
      : `"${fault.caughtBy}" stayed green; red were: ${failed.join(' | ')}`;
  } finally {
    writeFileSync(path, source);
  }
}

const [only] = process.argv.slice(2);
const faults = FAULTS.filter((fault) => only === undefined || fault.name.includes(only));
if (faults.length === 0) throw new Error(`no fault is named like "${only ?? ''}"`);

/** Takes faults from the queue until it is empty. @returns how many survived. */
async function work(copy: string, queue: Fault[]): Promise<number> {
  let survived = 0;
  for (let fault = queue.shift(); fault !== undefined; fault = queue.shift()) {
    const complaint = await seed(copy, fault);
    if (complaint !== undefined) survived += 1;
    console.log(
      complaint === undefined
        ? `caught    ${fault.name}: "${fault.caughtBy}"`
        : `SURVIVED  ${fault.name}: ${complaint}`,
    );
  }
  return survived;
}

const first = copyProject();
const copies = [first, ...Array.from({ length: Math.min(AT_ONCE, faults.length) - 1 }, copyProject)];
let survived: number;
try {
  const files = [...new Set(faults.flatMap((fault) => fault.tests))];
  const baseline = await runJest(
    first,
    files,
    faults.map((fault) => fault.caughtBy),
  );
  const broken = failedNames(baseline);
  if (broken.length > 0) throw new Error(`without any fault these are red: ${broken.join(' | ')}`);
  const queue = [...faults];
  const counts = await Promise.all(copies.map((copy) => work(copy, queue)));
  survived = counts.reduce((total, count) => total + count, 0);
} finally {
  for (const copy of copies) rmSync(copy, { recursive: true, force: true });
}
console.log(`mutants: ${faults.length - survived} passed, ${survived} failed`);
process.exitCode = survived === 0 ? 0 : 1;
