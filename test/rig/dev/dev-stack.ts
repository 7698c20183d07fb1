// Dev stack: Weir on this machine for a contributor. In: the folder `.run`; out: everything up and described in
// `.run/env`, or ended again.
import { existsSync } from 'node:fs';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeWhole } from '../../../tools/node-cluster/cluster-folder.ts';
import { attach, up as clusterUp, type ControlPlane } from '../../../tools/node-cluster/control-plane.ts';
import { mustKubectl } from '../../../tools/node-cluster/kubectl.ts';
import { chooseCluster, type ClusterChoice } from '../../../tools/node-cluster/programs.ts';
import { redisMissing } from '../redis/redis-server.ts';
import { prepareCluster, projectFolder, type Kubectl } from '../stack/cluster-access.ts';
import { Stack } from '../stack/stack.ts';
import { WeirStack, type Limiter } from '../stack/weir-stack.ts';
import { formatEnvironment, type DevFacts } from './dev-environment.ts';

/** Why the stack cannot be had on this machine, and what to do about it. */
export class CannotStart extends Error {}

/** A dev stack that is up. */
export interface DevStack {
  readonly facts: DevFacts;
  readonly stack: Stack;
  readonly plane: ControlPlane;
}

type LocalPrograms = Extract<ClusterChoice, { kind: 'local' }>['programs'];

const LIMITERS = ['limiter1', 'limiter2'] as const;
/** What describes a stack that is up. */
const DESCRIPTION = /\.cmd$|\.token$|^env$|^dev\.json$|^route\.yaml$/;
/** What a stack leaves behind, and the next one does not begin with: its objects and counts go together. */
const REMAINS = /-data$|\.log$/;

const paths = (folder: string) => ({
  cluster: join(folder, 'dev-cluster'),
  facts: join(folder, 'dev.json'),
  environment: join(folder, 'env'),
  route: join(folder, 'route.yaml'),
});

/** The stack of the folder, when there is one. Any of its processes may have ended. */
export async function findDevStack(folder: string): Promise<DevStack | undefined> {
  const text = await readFile(paths(folder).facts, 'utf8').catch(() => undefined);
  const stack = await Stack.attach(folder);
  const plane = await attach(paths(folder).cluster);
  if (text === undefined || stack === undefined || plane === undefined) return undefined;
  return { facts: JSON.parse(text) as DevFacts, stack, plane };
}

/** Whether all of its processes run. */
export function isWhole({ stack, plane }: DevStack): boolean {
  const pids = [plane.etcd.pid(), plane.apiServer.pid(), ...stack.names().map((name) => stack.server(name).pid())];
  return pids.every((pid) => pid !== undefined);
}

/**
 * Brings everything up, empty; what an earlier one left running is ended first. Throws {@link CannotStart} when a part
 * cannot be had, and then, as after any error, leaves nothing running.
 */
export async function devUp(folder: string, log: (line: string) => void): Promise<DevStack> {
  const programs = await findPrograms(log);
  await devDown(folder);
  await forget(folder, REMAINS);
  try {
    return await start(folder, programs, log);
  } catch (error) {
    await devDown(folder);
    throw error;
  }
}

/** Ends the processes of the folder and no others, and forgets where they were; answers whether any were running. */
export async function devDown(folder: string): Promise<boolean> {
  const stack = await Stack.attach(folder);
  const plane = await attach(paths(folder).cluster);
  const servers = [...(stack?.names() ?? []).map((name) => stack?.server(name)), plane?.apiServer, plane?.etcd];
  const wasUp = servers.some((server) => server?.pid() !== undefined);
  await stack?.end();
  await plane?.down();
  await forget(folder, DESCRIPTION);
  return wasUp;
}

/** Writes `.run/env` with the processes that run now. */
export async function writeEnvironment({ facts, stack, plane }: DevStack): Promise<void> {
  const pids = {
    OPERATOR_PID: stack.server('operator').pid(),
    LIMITER1_PID: stack.server('limiter1').pid(),
    LIMITER2_PID: stack.server('limiter2').pid(),
    REDIS_PID: stack.server('redis').pid(),
    APISERVER_PID: plane.apiServer.pid(),
  };
  await writeWhole(paths(stack.folder).environment, formatEnvironment(facts, pids));
}

async function start(folder: string, programs: LocalPrograms, log: (line: string) => void): Promise<DevStack> {
  const stack = await Stack.create(folder, { guarded: false });
  log('starting etcd and kube-apiserver');
  const plane = await clusterUp({ folder: paths(folder).cluster, programs, guarded: false, reset: true });
  const kubectl: Kubectl = (args, options) =>
    mustKubectl(args, { kubeconfig: plane.kubeconfig, program: programs.kubectl, ...options });
  const weir = new WeirStack(stack, await WeirStack.choosePorts(), { plane, kubectl });
  log('starting Redis and the counting upstream; applying the CRDs');
  await Promise.all([weir.startRedis(), weir.startUpstream(), prepareCluster(kubectl)]);
  log('starting the operator and two shared limiters');
  await weir.startOperator();
  const limiters = await Promise.all(LIMITERS.map((id) => weir.startLimiter({ id })));
  const facts = describe(weir, plane, programs.kubectl, limiters as [Limiter, Limiter]);
  await writeWhole(paths(folder).facts, JSON.stringify(facts, null, 2) + '\n');
  await writeWhole(paths(folder).route, exampleRoute(facts.upstream));
  const dev = { facts, stack, plane };
  await writeEnvironment(dev);
  return dev;
}

function describe(weir: WeirStack, plane: ControlPlane, kubectl: string, [one, two]: [Limiter, Limiter]): DevFacts {
  return {
    kubeconfig: plane.kubeconfig,
    kubectl,
    limiters: [one.url, two.url],
    admins: [one.adminUrl, two.adminUrl],
    decisions: [one.decisionUrl, two.decisionUrl],
    operatorAdmin: weir.operatorAdminUrl,
    upstream: weir.upstreamUrl,
    redisPort: weir.ports.redis,
  };
}

/** What a stack of its own needs on this machine; Go builds what is missing of it. @throws CannotStart */
export async function findPrograms(log: (line: string) => void): Promise<LocalPrograms> {
  const missing = redisMissing();
  if (missing !== undefined) throw new CannotStart(missing);
  if (!existsSync(join(projectFolder, 'dist', 'cli', 'main.js'))) {
    throw new CannotStart('Weir is not built; to enable: make build');
  }
  // This stack is always of its own making, whatever cluster the tests may use.
  const choice = await chooseCluster({ log, environment: { ...process.env, WEIR_TEST_KUBECONFIG: '' } });
  if (choice.kind === 'local') return choice.programs;
  const reason = choice.kind === 'unavailable' ? choice.reason : 'the programs of a local control plane are needed';
  throw new CannotStart(
    `${reason}; to enable: install Go, which builds them once, or set KUBEBUILDER_ASSETS to a folder with etcd and kube-apiserver`,
  );
}

async function forget(folder: string, which: RegExp): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names.filter((one) => which.test(one))) {
    await rm(join(folder, name), { recursive: true, force: true });
  }
}

/** A namespace and a route with a small bucket, to apply and to play with. */
function exampleRoute(upstream: string): string {
  return `apiVersion: v1
kind: Namespace
metadata: {name: try}
---
apiVersion: weir.dev/v1alpha1
kind: ModelRoute
metadata: {name: chat, namespace: try}
spec:
  modelName: chat
  targets: [{url: "${upstream}"}]
  rateLimiting:
    limits:
    - {name: five-a-minute, measure: Requests, bucket: {maxTokens: 5, refillPeriod: 1m}}
`;
}
