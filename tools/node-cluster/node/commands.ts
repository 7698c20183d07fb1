// Stage: node, its tools. Input: a program of the machine and its arguments. Output: what it printed, or an error
// that says what it complained about.
import { spawn } from 'node:child_process';

export interface CommandOptions {
  readonly input?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly directory?: string;
  readonly timeoutMs?: number;
}

/** Throws when the program fails or does not end in time. */
export async function command(
  program: string,
  args: readonly string[],
  { input = '', environment = {}, directory, timeoutMs = 60_000 }: CommandOptions = {},
): Promise<string> {
  const child = spawn(program, args, {
    cwd: directory,
    env: { ...process.env, ...environment },
  });
  // Not the option `timeout`: its timer goes on when the program is not there at all.
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  child.stdin.on('error', () => undefined); // it may end without reading its input
  child.stdin.end(input);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  }).finally(() => {
    clearTimeout(timer);
  });
  if (code === 0) return Buffer.concat(stdout).toString();
  const complaint = Buffer.concat([...stdout, ...stderr])
    .toString()
    .trim()
    .slice(-4000);
  throw new Error(`${program} ${args.join(' ')} ended with ${code ?? 'a signal'}: ${complaint}`);
}

/** For steps of a clean-up, where what is to be removed may not be there. */
export async function attempt(program: string, args: readonly string[], options?: CommandOptions): Promise<void> {
  await command(program, args, options).catch(() => undefined);
}
