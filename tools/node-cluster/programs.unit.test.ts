// Stage: tests of the choice of a cluster. Input: environments and folders made here. Output: proof of the order, of
// the reasons and of the lock.
import { chmod, mkdir, mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { withLock } from './build-lock.ts';
import { isAtLeast } from './go.ts';
import { cacheFolder } from './program-cache.ts';
import { chooseCluster, type ChoiceOptions } from './programs.ts';
import type { programNames } from './recipes.ts';
import { controlPlanePrograms, kubernetesVersion, recipe } from './recipes.ts';

let folder = '';
const cacheBefore = process.env['WEIR_CLUSTER_CACHE'];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weir-programs-'));
  process.env['WEIR_CLUSTER_CACHE'] = join(folder, 'cache');
});

afterEach(async () => {
  if (cacheBefore === undefined) delete process.env['WEIR_CLUSTER_CACHE'];
  else process.env['WEIR_CLUSTER_CACHE'] = cacheBefore;
  await rm(folder, { recursive: true, force: true });
});

async function putProgram(directory: string, name: string): Promise<string> {
  await mkdir(directory, { recursive: true });
  const path = join(directory, name);
  await writeFile(path, '');
  await chmod(path, 0o755);
  return path;
}

async function putInCache(name: (typeof programNames)[number], fingerprint: string): Promise<string> {
  const path = await putProgram(cacheFolder(), name);
  await writeFile(`${path}.json`, JSON.stringify({ fingerprint }));
  return path;
}

const choose = (environment: NonNullable<ChoiceOptions['environment']>): ReturnType<typeof chooseCluster> =>
  chooseCluster({ environment, build: false });

describe('which cluster a test gets', () => {
  test("the user's own before everything else", async () => {
    const tools = join(folder, 'tools');
    const kubectl = await putProgram(tools, 'kubectl');
    const environment = { WEIR_TEST_KUBECONFIG: '/mine', KUBEBUILDER_ASSETS: '/assets', PATH: tools };
    expect(await choose(environment)).toEqual({ kind: 'external', kubeconfig: '/mine', kubectl });
  });

  test('the assets before the cache, and kubectl from the PATH when they have none', async () => {
    const assets = join(folder, 'assets');
    const etcd = await putProgram(assets, 'etcd');
    const apiServer = await putProgram(assets, 'kube-apiserver');
    const kubectl = await putProgram(join(folder, 'tools'), 'kubectl');
    for (const name of controlPlanePrograms) await putInCache(name, recipe(name).fingerprint);
    const choice = await choose({ KUBEBUILDER_ASSETS: assets, PATH: join(folder, 'tools') });
    expect(choice).toEqual({ kind: 'local', programs: { etcd, 'kube-apiserver': apiServer, kubectl } });
  });

  test('assets that lack a server are named, not silently replaced', async () => {
    const assets = join(folder, 'assets');
    await putProgram(assets, 'etcd');
    for (const name of controlPlanePrograms) await putInCache(name, recipe(name).fingerprint);
    const reason = `KUBEBUILDER_ASSETS is ${assets}, which has no program kube-apiserver`;
    expect(await choose({ KUBEBUILDER_ASSETS: assets })).toMatchObject({ kind: 'unavailable', reason });
  });

  test('the cache, but never a program from another recipe', async () => {
    const programs: Record<string, string> = {};
    for (const name of controlPlanePrograms) programs[name] = await putInCache(name, recipe(name).fingerprint);
    expect(await choose({})).toEqual({ kind: 'local', programs });
    await putInCache('etcd', 'of an older recipe');
    expect(await choose({})).toMatchObject({ reason: expect.stringContaining('etcd is not in the cache') });
  });

  test('none: with the reason and what would help', async () => {
    const choice = await choose({});
    expect(choice).toMatchObject({ kind: 'unavailable', reason: expect.stringContaining('etcd is not in the cache') });
    expect(choice).toHaveProperty('remedy', expect.stringMatching(/Go|cli\.ts build/));
  });
});

describe('recipes', () => {
  test('take their versions from the go.mod files', () => {
    expect(kubernetesVersion()).toMatch(/^v1\.34\.\d+$/);
    expect(recipe('kube-apiserver')).toMatchObject({ version: kubernetesVersion() });
    expect(recipe('kube-apiserver').linkerFlags).toContain(`version.gitVersion=${kubernetesVersion()} `);
    expect(recipe('etcd').version).toMatch(/^v3\.6\.\d+$/);
    expect(recipe('helm').version).toMatch(/^v4\./);
    expect(recipe('coredns').linkerFlags).toBe('-s -w');
  });

  test.each([
    ['1.24.0', '1.24.0', true],
    ['1.26', '1.24.0', true],
    ['1.24rc1', '1.24.0', true],
    ['1.9.7', '1.24.0', false],
    ['1.19.8', '1.24.0', false],
    ['2.0', '1.24.0', true],
  ])('Go %s is new enough for %s: %s', (version, needed, expected) => {
    expect(isAtLeast(version, needed)).toBe(expected);
  });
});

describe('the lock of a build', () => {
  test('lets one through at a time', async () => {
    let inside = 0;
    let most = 0;
    const work = async (): Promise<void> => {
      most = Math.max(most, ++inside);
      await writeFile(join(folder, 'work'), '');
      inside--;
    };
    await Promise.all([1, 2, 3].map(() => withLock(join(folder, 'lock'), 5_000, work)));
    expect(most).toBe(1);
  });

  test('of a builder that was killed is taken over', async () => {
    const lock = join(folder, 'lock');
    await mkdir(lock);
    const past = new Date(Date.now() - 60_000);
    await utimes(lock, past, past);
    expect(await withLock(lock, 5_000, () => Promise.resolve('built'))).toBe('built');
  });

  test('of a builder that lives is not', async () => {
    const lock = join(folder, 'lock');
    await mkdir(lock);
    const attempt = withLock(lock, 300, () => Promise.resolve('built'));
    await expect(attempt).rejects.toThrow(`lock ${lock}: not within 300 ms`);
  });
});
