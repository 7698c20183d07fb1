// Dev stack, its door: what runs and where, as lines for the shell. In: the facts of a stack; out: the text of
// `.run/env`.
import { basename, delimiter, dirname, join } from 'node:path';
import { existsSync } from 'node:fs';
import { shellWord } from '../stack/process-record.ts';

/** What stays true of a stack as long as it is not brought up anew. */
export interface DevFacts {
  readonly kubeconfig: string;
  /** The program, which may be on the PATH or not. */
  readonly kubectl: string;
  readonly limiters: readonly [string, string];
  readonly admins: readonly [string, string];
  readonly decisions: readonly [string, string];
  readonly operatorAdmin: string;
  readonly upstream: string;
  readonly redisPort: number;
}

/** Lines to be sourced. A process that does not run has an empty number. */
export function formatEnvironment(facts: DevFacts, pids: Readonly<Record<string, number | undefined>>): string {
  const values: Record<string, string | number | undefined> = {
    KUBECONFIG: facts.kubeconfig,
    L1: facts.limiters[0],
    L2: facts.limiters[1],
    ADMIN1: facts.admins[0],
    ADMIN2: facts.admins[1],
    UP: facts.upstream,
    REDIS_PORT: facts.redisPort,
    ...pids,
    DECIDE1: facts.decisions[0],
    DECIDE2: facts.decisions[1],
    OPERATOR_ADMIN: facts.operatorAdmin,
  };
  const lines = Object.entries(values).map(([name, value = '']) => `export ${name}=${shellWord(String(value))}`);
  return [...lines, ...pathLine(facts.kubectl), ''].join('\n');
}

/** Only where no kubectl is on the PATH. */
function pathLine(kubectl: string): string[] {
  const name = basename(kubectl);
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  return folders.some((folder) => existsSync(join(folder, name))) ? [] : [`export PATH="$PATH:${dirname(kubectl)}"`];
}
