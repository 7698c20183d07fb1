// Stage: tests with pods. Input: a title and tests. Output: the tests run on the cluster of this run of jest, or
// skipped by name with what would enable them.
import { resolve } from 'node:path';
import { beforeAll, describe, jest } from '@jest/globals';
import { leaveOut } from './leave-out.ts';
import { kubectl, mustKubectl, type KubectlOptions, type KubectlResult } from './kubectl.ts';
import { command } from './node/commands.ts';
import { loadImage } from './node/images.ts';
import { upNode, type NodeCluster } from './node/node-cluster.ts';
import { chooseNode, type NodeChoice } from './node/node-programs.ts';

export interface NodeTestCluster {
  readonly kubeconfig: string;
  readonly kubectl: (args: readonly string[], options?: Partial<KubectlOptions>) => Promise<KubectlResult>;
  /** Throws when kubectl fails. */
  readonly mustKubectl: (args: readonly string[], options?: Partial<KubectlOptions>) => Promise<string>;
  /** Throws when helm fails. */
  readonly helm: (args: readonly string[], options?: { readonly timeoutMs?: number }) => Promise<string>;
  readonly helmProgram: string;
  readonly kubectlProgram: string;
  /** Brings an image that was built here into the cluster. */
  readonly loadImage: (image: string) => Promise<void>;
  /** Undefined on a cluster of the user's: its servers cannot be stopped, nor its audit log read. */
  readonly local: NodeCluster | undefined;
}

/** That of `make cluster-up`, which tests use when it is up; otherwise they bring it up once for all files of a run. */
export const nodeFolder = resolve(import.meta.dirname, '../../.run/node-cluster');

const choice = await chooseNode({ log: (line) => process.stderr.write(`${line}\n`) });

jest.setTimeout(120_000);

export interface NodeTestOptions {
  /** True: the tests stop servers of the node or read the audit log, so they need a cluster of our own. */
  readonly local?: boolean;
}

/** What the tests make they must remove, namespaces above all: other files use the same cluster. */
export function describeOnNode(
  title: string,
  options: NodeTestOptions,
  body: (cluster: () => NodeTestCluster) => void,
): void {
  const reason = whyNot(choice, options);
  if (choice.kind === 'unavailable' || reason !== undefined) {
    leaveOut(title, reason ?? '', () => {
      body(notStarted);
    });
    return;
  }
  const usable = choice;
  describe(title, () => {
    let cluster: NodeTestCluster | undefined;
    beforeAll(async () => {
      cluster = await testCluster(usable);
    }, 240_000);
    body(() => cluster ?? notStarted());
  });
}

async function testCluster(usable: Exclude<NodeChoice, { kind: 'unavailable' }>): Promise<NodeTestCluster> {
  const local =
    usable.kind === 'local'
      ? await upNode({ folder: nodeFolder, programs: usable.programs, broughtUpBy: 'tests' })
      : undefined;
  const kubeconfig = resolve(usable.kind === 'local' ? (local?.kubeconfig ?? '') : usable.kubeconfig);
  const { kubectl: kubectlProgram, helm: helmProgram } = usable.kind === 'local' ? usable.programs : usable;
  const options = (more?: Partial<KubectlOptions>): KubectlOptions => ({
    kubeconfig,
    program: kubectlProgram,
    ...more,
  });
  return {
    kubeconfig,
    kubectl: (args, more) => kubectl(args, options(more)),
    mustKubectl: (args, more) => mustKubectl(args, options(more)),
    helm: (args, { timeoutMs = 180_000 } = {}) =>
      command(helmProgram, args, { environment: { KUBECONFIG: kubeconfig }, timeoutMs }),
    helmProgram,
    kubectlProgram,
    loadImage: async (image) => {
      if (local) await loadImage(local.folder, image);
    },
    local,
  };
}

function whyNot(found: NodeChoice, { local = false }: NodeTestOptions): string | undefined {
  if (found.kind === 'unavailable') return `${found.reason}; to enable: ${found.remedy}`;
  return local && found.kind === 'external'
    ? 'needs a node of its own, so not on the cluster of WEIR_TEST_KUBECONFIG; to enable: unset that'
    : undefined;
}

function notStarted(): never {
  throw new Error('the cluster is there only while tests run');
}
