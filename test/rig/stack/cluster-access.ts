// Stack, its access to the cluster. In: an administrator's kubectl; out: the kinds and accounts of Weir there, and
// tokens for limiters.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { writeWhole } from '../../../tools/node-cluster/cluster-folder.ts';
import { untilEstablished } from '../../../tools/node-cluster/established.ts';

/** Runs kubectl; throws with what it complained about when it fails. */
export type Kubectl = (args: readonly string[], options?: { readonly input?: string }) => Promise<string>;

export const projectFolder = join(import.meta.dirname, '..', '..', '..');
const deployFolder = join(projectFolder, 'deploy');

const SYSTEM_NAMESPACE = 'weir-system';
const LIMITER_ACCOUNT = 'weir-limiter';
/** As the API server sees the operator's account: what it may do is in deploy/rbac.yaml. */
export const OPERATOR_SUBJECT = {
  user: `system:serviceaccount:${SYSTEM_NAMESPACE}:weir-operator`,
  groups: ['system:serviceaccounts', `system:serviceaccounts:${SYSTEM_NAMESPACE}`],
};
/** The audience that the operator asks for. */
const TOKEN_AUDIENCE = 'weir.dev';

/**
 * Applies the kinds and the accounts of operator and shared limiters; resolves when the API server serves the kinds.
 */
export async function prepareCluster(kubectl: Kubectl): Promise<void> {
  const crds = join(deployFolder, 'crds');
  if (!readdirSync(crds).some((name) => name.endsWith('.yaml'))) throw new Error(`${crds} is empty: run make emit`);
  await kubectl(['apply', '--server-side', '-f', crds]);
  for (const name of ['rbac.yaml', 'shared-limiter.yaml']) {
    await kubectl(['apply', '--server-side', '-f', join(deployFolder, name)]);
  }
  await untilEstablished(kubectl, ['-f', crds]);
}

export interface TokenOptions {
  readonly audience?: string;
  /** Longer than a working day by default; at least 10m. */
  readonly duration?: string;
  /** Absent: the account of shared limiters. */
  readonly account?: { readonly namespace: string; readonly name: string };
  /** A pod of the account's namespace that the token is bound to. */
  readonly pod?: string;
}

/** Writes a token into a file that only this user can read. */
export async function writeLimiterToken(kubectl: Kubectl, path: string, options: TokenOptions = {}): Promise<void> {
  const { audience = TOKEN_AUDIENCE, duration = '72h', pod } = options;
  const { namespace, name } = options.account ?? { namespace: SYSTEM_NAMESPACE, name: LIMITER_ACCOUNT };
  const token = await kubectl([
    ...['create', 'token', name, '--namespace', namespace],
    ...['--audience', audience, '--duration', duration],
    ...(pod === undefined ? [] : ['--bound-object-kind', 'Pod', '--bound-object-name', pod]),
  ]);
  await writeWhole(path, token.trim());
}
