// Tests: our kinds on a cluster; in: a cluster, out: deploy/crds applied and served.
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll } from '@jest/globals';
import { parse } from 'yaml';
import { KINDS } from '../../src/crd/kinds/kinds.ts';
import type { TestCluster } from '../../tools/node-cluster/describe-cluster.ts';
import { untilEstablished } from '../../tools/node-cluster/established.ts';
import { ApiServer } from './api-server.ts';
import type { ServerVerdict } from './api-server.ts';

const FOLDER = fileURLToPath(new URL('../../deploy/crds', import.meta.url));

/** Applies deploy/crds and waits until both kinds are served. */
export async function installKinds(cluster: TestCluster): Promise<void> {
  await cluster.mustKubectl(['apply', '--server-side', '--force-conflicts', '-f', FOLDER]);
  const names = KINDS.map(({ plural }) => `crd/${plural}.weir.dev`);
  await untilEstablished((args) => cluster.mustKubectl(args), names);
}

/** Installs the kinds before the tests of a suite and gives them a client of the API server. */
export function apiServerOf(cluster: () => TestCluster): () => ApiServer {
  let server: ApiServer | undefined;
  beforeAll(async () => {
    await installKinds(cluster());
    server = new ApiServer(cluster().kubeconfig);
  });
  afterAll(() => {
    server?.close();
  });
  return () => server!;
}

/** The resource that the first document of a text belongs to. */
export function pluralOf(text: string): string {
  const named = KINDS.find(({ kind }) => new RegExp(`^kind: ${kind}$`, 'm').test(text));
  if (named !== undefined) return named.plural;
  const object = parse(text) as { kind?: string } | null;
  return KINDS.find(({ kind }) => kind === object?.kind)?.plural ?? 'modelroutes';
}

/** The spec of the object as the API server would store it. */
export function storedSpec(answer: ServerVerdict): unknown {
  return (answer.object as { spec?: unknown } | undefined)?.spec;
}
