// Stage: tests with pods, their end. Input: the cluster that the test files shared. Output: it is taken down, unless
// a person brought it up.
import { resolve } from 'node:path';
import { attachNode } from './node-cluster.ts';

export default async function afterTests(): Promise<void> {
  const cluster = await attachNode(resolve(import.meta.dirname, '../../../.run/node-cluster'));
  if (cluster?.settings.broughtUpBy === 'tests' && !process.env['WEIR_KEEP_CLUSTER']) await cluster.down();
}
