// Stage: tests on a cluster. Input: a title and tests. Output: the tests run on the cluster that can be had, or
// skipped by name with what would enable them.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, jest } from '@jest/globals';
import { leaveOut } from './leave-out.ts';
import { up, type ControlPlane, type ControlPlaneOptions } from './control-plane.ts';
import { kubectl, mustKubectl, type KubectlOptions, type KubectlResult } from './kubectl.ts';
import { chooseCluster, type ClusterChoice } from './programs.ts';

type Call<T> = (args: readonly string[], options?: Partial<KubectlOptions>) => Promise<T>;

export interface TestCluster {
  readonly kubeconfig: string;
  readonly kubectl: Call<KubectlResult>;
  /** Throws when kubectl fails. */
  readonly mustKubectl: Call<string>;
}

export interface OwnTestCluster extends TestCluster {
  /** This suite's own: it may be restarted, killed and compacted. */
  readonly plane: ControlPlane;
}

type PlaneOptions = Pick<ControlPlaneOptions, 'audit' | 'flags'>;

/** Asked once for each test file, before its tests are known; builds the programs when Go is there and they are not. */
const choice = await chooseCluster({ log: (line) => process.stderr.write(`${line}\n`) });

// A command of kubectl takes a tenth of a second, a restart of the API server some seconds more.
jest.setTimeout(60_000);

/** Runs the tests on whichever cluster there is; what they make on one of the user's they must remove. */
export function describeOnCluster(title: string, body: (cluster: () => TestCluster) => void): void {
  if (choice.kind === 'external') {
    const { kubeconfig, kubectl: program } = choice;
    describe(title, () => {
      body(() => testCluster(kubeconfig, program));
    });
    return;
  }
  describeOnControlPlane(title, {}, body);
}

/** Runs the tests on a control plane of their own, which begins empty. */
export function describeOnControlPlane(
  title: string,
  options: PlaneOptions,
  body: (cluster: () => OwnTestCluster) => void,
): void {
  if (choice.kind !== 'local') {
    leaveOut(title, whyNot(choice), () => {
      body(notStarted);
    });
    return;
  }
  const { programs } = choice;
  describe(title, () => {
    let cluster: OwnTestCluster | undefined;
    let folder = '';
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'weir-cluster-'));
      const plane = await up({ ...options, folder, programs });
      cluster = { ...testCluster(plane.kubeconfig, programs.kubectl), plane };
    }, 130_000);
    afterAll(async () => {
      await cluster?.plane.down();
      await rm(folder, { recursive: true, force: true });
    }, 60_000);
    body(() => cluster ?? notStarted());
  });
}

function whyNot(found: Exclude<ClusterChoice, { kind: 'local' }>): string {
  if (found.kind === 'unavailable') return `${found.reason}; to enable: ${found.remedy}`;
  return 'restarts its API server, so not on the cluster of WEIR_TEST_KUBECONFIG; to enable: unset that';
}

function notStarted(): never {
  throw new Error('the cluster is there only while tests run');
}

function testCluster(kubeconfig: string, program: string): TestCluster {
  const options = (more?: Partial<KubectlOptions>): KubectlOptions => ({ kubeconfig, program, ...more });
  return {
    kubeconfig,
    kubectl: (args, more) => kubectl(args, options(more)),
    mustKubectl: (args, more) => mustKubectl(args, options(more)),
  };
}
