// Stage: which cluster. Input: the environment. Output: the user's own cluster, the programs of a local control
// plane, or why there is neither and what would help.
import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { findGo, hasGo } from './go.ts';
import { findInCache, fromCacheOrBuild } from './program-cache.ts';
import { controlPlanePrograms, goVersions, recipe, type ControlPlaneProgram, type ProgramName } from './recipes.ts';

export interface Unavailable {
  readonly kind: 'unavailable';
  readonly reason: string;
  /** What would make it available. */
  readonly remedy: string;
}

export type ClusterChoice =
  /** A cluster that somebody else runs: it cannot be restarted, and what a test makes there it must remove. */
  | { readonly kind: 'external'; readonly kubeconfig: string; readonly kubectl: string }
  | { readonly kind: 'local'; readonly programs: Readonly<Record<ControlPlaneProgram, string>> }
  | Unavailable;

export interface ChoiceOptions {
  readonly environment?: NodeJS.ProcessEnv;
  /** False: a program that would have to be built, which takes minutes, makes the cluster unavailable instead. */
  readonly build?: boolean;
  readonly log?: (line: string) => void;
}

export interface ObtainedProgram {
  readonly kind: 'program';
  readonly name: ProgramName;
  readonly path: string;
  readonly origin: 'KUBEBUILDER_ASSETS' | 'PATH' | 'cache' | 'built';
  /** What the build took, or 0. */
  readonly seconds: number;
}

/** The first that holds: WEIR_TEST_KUBECONFIG, KUBEBUILDER_ASSETS, programs that Go built into the cache. */
export async function chooseCluster(options: ChoiceOptions = {}): Promise<ClusterChoice> {
  const kubeconfig = (options.environment ?? process.env)['WEIR_TEST_KUBECONFIG'];
  if (kubeconfig) {
    const found = await obtainProgram('kubectl', options);
    return found.kind === 'program' ? { kind: 'external', kubeconfig, kubectl: found.path } : found;
  }
  const paths: Partial<Record<ControlPlaneProgram, string>> = {};
  for (const name of controlPlanePrograms) {
    const found = await obtainProgram(name, options);
    if (found.kind === 'unavailable') return found;
    paths[name] = found.path;
  }
  return { kind: 'local', programs: paths as Record<ControlPlaneProgram, string> };
}

/** From KUBEBUILDER_ASSETS, the PATH (where any version will do) or the cache, or built into it. */
export async function obtainProgram(
  name: ProgramName,
  options: ChoiceOptions = {},
): Promise<ObtainedProgram | Unavailable> {
  const { environment = process.env, build = true, log = () => undefined } = options;
  for (const { origin, find } of places(name, environment)) {
    const path = await find();
    if (path !== undefined) return { kind: 'program', name, path, origin, seconds: 0 };
  }
  const assets = environment['KUBEBUILDER_ASSETS'];
  if (assets && comesWithAssets(name)) return lacksAsset(name, assets);
  return build ? await buildProgram(name, log) : await notBuilt(name);
}

interface Place {
  readonly origin: ObtainedProgram['origin'];
  readonly find: () => Promise<string | undefined>;
}

function places(name: ProgramName, { KUBEBUILDER_ASSETS: assets, PATH = '' }: NodeJS.ProcessEnv): Place[] {
  const { installedWillDo } = recipe(name);
  const inAssets: Place = { origin: 'KUBEBUILDER_ASSETS', find: () => executable([assets ?? ''], name) };
  const onPath: Place = { origin: 'PATH', find: () => executable(PATH.split(delimiter), name) };
  const inCache: Place = { origin: 'cache', find: () => findInCache(name) };
  // Who names assets means these servers and no others; kubectl need not be among them.
  if (installedWillDo) return [...(assets ? [inAssets] : []), onPath, inCache];
  return [assets && comesWithAssets(name) ? inAssets : inCache];
}

/** What envtest lays out; the programs of a node are in no such folder. */
function comesWithAssets(name: ProgramName): boolean {
  return (controlPlanePrograms as readonly ProgramName[]).includes(name) && !recipe(name).installedWillDo;
}

async function buildProgram(name: ProgramName, log: (line: string) => void): Promise<ObtainedProgram | Unavailable> {
  if (process.platform !== 'linux')
    return unavailable(`the local control plane needs Linux, this is ${process.platform}`);
  try {
    const go = await findGo(name, log);
    if (!go) return await notBuilt(name);
    const { path, cached, seconds } = await fromCacheOrBuild(name, go, log);
    return { kind: 'program', name, path, origin: cached ? 'cache' : 'built', seconds };
  } catch (error) {
    return unavailable(`${name} could not be built: ${(error as Error).message}`);
  }
}

async function executable(folders: readonly string[], name: string): Promise<string | undefined> {
  for (const folder of folders.filter(Boolean)) {
    const path = join(folder, name);
    const usable = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (usable) return path;
  }
  return undefined;
}

async function notBuilt(name: ProgramName): Promise<Unavailable> {
  if (!(await hasGo())) return unavailable(`${name} is not in the cache, and no Go is on the PATH to build it`);
  const reason = `${name} is not in the cache`;
  return {
    kind: 'unavailable',
    reason,
    remedy: 'run `node tools/node-cluster/cli.ts build`, which takes some minutes once',
  };
}

function lacksAsset(name: ProgramName, assets: string): Unavailable {
  const reason = `KUBEBUILDER_ASSETS is ${assets}, which has no program ${name}`;
  return { kind: 'unavailable', reason, remedy: 'name a folder with etcd and kube-apiserver, or unset it' };
}

function unavailable(reason: string): Unavailable {
  const remedy =
    'set WEIR_TEST_KUBECONFIG to a cluster, KUBEBUILDER_ASSETS to a folder with etcd and kube-apiserver, ' +
    `or install Go (${goVersions('kube-apiserver').needed}, or an older one from 1.16 on that can fetch it)`;
  return { kind: 'unavailable', reason, remedy };
}
