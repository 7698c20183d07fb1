// Stage: access to a cluster. Input: arguments of kubectl, its input and a kubeconfig. Output: its exit code and what
// it wrote.
import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';

export interface KubectlOptions {
  readonly kubeconfig: string;
  /** The program; without it the one on the PATH. */
  readonly program?: string;
  /** Written to its standard input, for `-f -`. */
  readonly input?: string;
  readonly timeoutMs?: number;
}

export interface KubectlResult {
  /** -1 when a signal ended it, which is also how the timeout shows. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Never throws for a command that fails: a refusal by the API server is a result that tests look at. */
export async function kubectl(args: readonly string[], options: KubectlOptions): Promise<KubectlResult> {
  const { kubeconfig, program = 'kubectl', input = '', timeoutMs = 60_000 } = options;
  // What kubectl remembers about an API lives beside the kubeconfig: another cluster may have had this port before.
  const env = { ...process.env, KUBECONFIG: kubeconfig, KUBECACHEDIR: join(dirname(kubeconfig), 'kubectl-cache') };
  const child = spawn(program, args, { env, timeout: timeoutMs, killSignal: 'SIGKILL' });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  child.stdin.on('error', () => undefined); // it may end without reading its input
  child.stdin.end(input);
  const code = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (exit) => {
      resolve(exit ?? -1);
    });
  });
  return { code, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() };
}

/** For the steps of a test that must succeed: returns what kubectl printed, or throws with what it complained about. */
export async function mustKubectl(args: readonly string[], options: KubectlOptions): Promise<string> {
  const { code, stdout, stderr } = await kubectl(args, options);
  if (code !== 0) throw new Error(`kubectl ${args.join(' ')} ended with ${code}: ${stderr.trim()}`);
  return stdout;
}
