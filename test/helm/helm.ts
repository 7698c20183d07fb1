// Test part: the helm that is on this machine. In: arguments; out: what it said. None is built here: `make
// system-deps` does.
import { execFile } from 'node:child_process';
import { globSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { parseAllDocuments } from 'yaml';

export const CHART = join(import.meta.dirname, '../../deploy/helm');
export const NO_HELM = 'no helm found: `make system-deps` builds it, or set HELM to its path';

/** $HELM, the newest one in the cache of the test cluster, or the one on the PATH. */
export function findHelm(): string | undefined {
  const fromEnvironment = process.env['HELM'];
  if (fromEnvironment !== undefined && fromEnvironment !== '') return fromEnvironment;
  const built = globSync(join(homedir(), '.cache/weir-cluster/*/helm')).sort().at(-1);
  const onPath = (process.env['PATH'] ?? '').split(delimiter).flatMap((folder) => globSync(join(folder, 'helm')));
  return built ?? onPath[0];
}

export interface HelmResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export function helm(args: readonly string[], kubeconfig?: string): Promise<HelmResult> {
  const program = findHelm();
  if (program === undefined) throw new Error(NO_HELM);
  const env = { ...process.env, ...(kubeconfig === undefined ? {} : { KUBECONFIG: kubeconfig }) };
  const options = { env, maxBuffer: 64 * 1024 * 1024, timeout: 120_000 };
  return new Promise((resolve) => {
    execFile(program, [...args], options, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 1;
      resolve({ code, stdout, stderr });
    });
  });
}

/** @throws Error when helm fails. @returns what it printed */
export async function mustHelm(args: readonly string[], kubeconfig?: string): Promise<string> {
  const { code, stdout, stderr } = await helm(args, kubeconfig);
  if (code !== 0) throw new Error(`helm ${args.join(' ')}: ${stderr}`);
  return stdout;
}

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly [field: string]: unknown;
}

/** The objects of a rendering, as the API server (YAML 1.1) reads them. */
export function objectsIn(text: string): Manifest[] {
  return parseAllDocuments(text, { version: '1.1', merge: false })
    .map((document) => document.toJS({ maxAliasCount: -1 }) as Manifest | null)
    .filter((object) => object !== null);
}
