// CLI: `weir validate`; in: files, folders or standard input, out: every error with file, line, path and stage.
import { readFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { text as readAll } from 'node:stream/consumers';
import { Command, Option } from 'commander';
import { judgeText } from '../crd/validate.ts';
import type { Finding, ValidationResult } from '../crd/validate.ts';
import { messageOf } from '../lib/thrown.ts';
import { validate } from '../reconcile/validate.ts';
import type { ReconcileSettings } from '../reconcile/types.ts';

export interface ValidateOptions {
  readonly output: 'text' | 'json';
  readonly recursive: boolean;
  /** true: the operator has no default Redis, so objects with scope Shared must name one. */
  readonly requireRedis: boolean;
}

/** Where a command reads and writes. */
export interface Terminal {
  readonly input: NodeJS.ReadableStream;
  readonly print: (line: string) => void;
  readonly complain: (line: string) => void;
}

/** Exit codes: all is well; something is invalid; bad flags, or input that cannot be read. */
export const EXIT = { ok: 0, invalid: 1, unusable: 2 } as const;

/** One thing that is wrong, by the API server (decode, schema, cel) or by the status of the object. */
interface Complaint extends Omit<Finding, 'stage' | 'type'> {
  readonly stage: Finding['stage'] | 'status';
  /** A type of error; for the stage `status` the reason of Accepted=False. */
  readonly type: string;
}

interface Judged {
  readonly file: string;
  readonly verdict: ValidationResult;
  readonly errors: readonly Complaint[];
}

const SUFFIXES = ['.yaml', '.yml', '.json'];

/** The subcommand `validate`. Sets `process.exitCode`. */
export function validateCommand(terminal: Terminal = processTerminal()): Command {
  return new Command('validate')
    .description('Check manifests as the API server and the operator do, without a cluster.')
    .argument('<paths...>', 'files, folders, or - for standard input')
    .addOption(
      new Option('-o, --output <format>', 'output format')
        .choices(['text', 'json'])
        .default('text')
        .env('WEIR_VALIDATE_OUTPUT'),
    )
    .addOption(
      new Option('-R, --recursive', 'process folders recursively').default(false).env('WEIR_VALIDATE_RECURSIVE'),
    )
    .addOption(
      new Option(
        '--require-redis',
        'reject objects that need Redis and do not name one, as an operator without a default Redis does',
      )
        .default(false)
        .env('WEIR_VALIDATE_REQUIRE_REDIS'),
    )
    .addHelpText('after', '\nExit codes: 0 all valid, 1 something is invalid, 2 bad flags or unreadable input.')
    .configureOutput({
      writeErr: (text) => {
        terminal.complain(text.trimEnd());
      },
      writeOut: (text) => {
        terminal.print(text.trimEnd());
      },
    })
    .action(async (paths: string[], options: ValidateOptions) => {
      process.exitCode = await runValidate(paths, options, terminal);
    });
}

/** Validates everything that `paths` name and prints it. Returns the exit code. */
export async function runValidate(
  paths: readonly string[],
  options: ValidateOptions,
  terminal: Terminal,
): Promise<number> {
  const { texts, failures } = await readInputs(paths, options.recursive, terminal.input);
  const settings: ReconcileSettings = options.requireRedis ? {} : { defaultStore: { type: 'memory' } };
  const judged = texts.flatMap(({ file, content }) =>
    judgeText(content).map((verdict) => ({ file, verdict, errors: errorsOf(verdict, settings) })),
  );
  const unusable = judged.length === 0 && failures.length === 0 ? ['no objects in the input'] : failures;
  for (const failure of unusable) terminal.complain(failure);
  if (options.output === 'json') terminal.print(JSON.stringify(report(judged, unusable), null, 2));
  else for (const line of judged.flatMap(linesOf)) terminal.print(line);
  if (unusable.length > 0) return EXIT.unusable;
  return judged.some(({ errors }) => errors.length > 0) ? EXIT.invalid : EXIT.ok;
}

/** What the API server says, and what the status would say as far as no cluster is needed to know it. */
function errorsOf(verdict: ValidationResult, settings: ReconcileSettings): Complaint[] {
  const said = new Set(verdict.findings.map(({ message }) => message));
  const problems = verdict.shaped === undefined ? [] : validate(verdict.shaped, settings);
  const status = problems
    .filter(({ message }) => !said.has(message))
    .map(({ reason, path = '', message }): Complaint => {
      const line = verdict.lineOf(path);
      return { stage: 'status', path, type: reason, message, ...(line === undefined ? {} : { line }) };
    });
  return [...verdict.findings, ...status].sort((a, b) => (a.line ?? 0) - (b.line ?? 0));
}

function linesOf({ file, verdict, errors }: Judged): string[] {
  if (verdict.foreign) return [`${file}:${verdict.line}: ${titleOf(verdict)} skipped: not a Weir object`];
  if (errors.length === 0) return [`${file}:${verdict.line}: ${titleOf(verdict)} ok`];
  return errors.map(({ line, path, message, stage }) => {
    const place = path === '' ? '' : ` ${path}:`;
    return `${file}:${line ?? verdict.line}:${place} ${message} (${stage})`;
  });
}

function titleOf({ kind, namespace, name }: ValidationResult): string {
  return `${kind} ${namespace === undefined ? name : `${namespace}/${name}`}`;
}

function report(judged: readonly Judged[], failures: readonly string[]): unknown {
  const isValid = failures.length === 0 && judged.every(({ errors }) => errors.length === 0);
  const documents = judged.map(({ file, verdict, errors }) => {
    const { line, apiVersion, kind, namespace, name, foreign } = verdict;
    return { file, line, apiVersion, kind, namespace, name, foreign, valid: errors.length === 0, errors };
  });
  return { valid: isValid, documents, failures };
}

interface Input {
  readonly file: string;
  readonly content: string;
}

async function readInputs(
  paths: readonly string[],
  recursive: boolean,
  input: NodeJS.ReadableStream,
): Promise<{ texts: Input[]; failures: string[] }> {
  const texts: Input[] = [];
  const failures: string[] = [];
  for (const path of paths) {
    try {
      if (path === '-') texts.push({ file: '-', content: await readAll(input) });
      else
        for (const file of await filesOf(path, recursive)) texts.push({ file, content: await readFile(file, 'utf8') });
    } catch (error) {
      failures.push(`${path}: cannot be read: ${messageOf(error)}`);
    }
  }
  return { texts, failures };
}

/** A file as it is named; of a folder every manifest that is not hidden, by name. */
async function filesOf(path: string, recursive: boolean): Promise<string[]> {
  if (!(await stat(path)).isDirectory()) return [path];
  const entries = await readdir(path, { withFileTypes: true });
  const visible = entries.filter(({ name }) => !name.startsWith('.')).sort((a, b) => (a.name < b.name ? -1 : 1));
  const found: string[] = [];
  for (const entry of visible) {
    const inside = join(path, entry.name);
    if (entry.isDirectory()) found.push(...(recursive ? await filesOf(inside, true) : []));
    else if (SUFFIXES.some((suffix) => entry.name.endsWith(suffix))) found.push(inside);
  }
  return found;
}

function processTerminal(): Terminal {
  return {
    input: process.stdin,
    print: (line) => process.stdout.write(`${line}\n`),
    complain: (line) => process.stderr.write(`${line}\n`),
  };
}
