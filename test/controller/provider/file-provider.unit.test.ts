// A folder as the source of objects: what editors do to files, what the API server would refuse, UIDs and generations.
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { FileProvider } from '../../../src/controller/provider/file-provider.ts';
import type { StoredObject } from '../../../src/controller/kube/kube-types.ts';
import { ManifestFolder, ManifestFolderError, stableUid } from '../../../src/controller/provider/manifest-folder.ts';
import { ManualClock, type Clock } from '../../../src/lib/clock.ts';
import { silentLogger } from '../../../src/lib/log.ts';
import { waitFor } from '../../../tools/node-cluster/wait.ts';

const SOON = { deadlineMs: 8000, everyMs: 20 };

let folder = '';
let provider: FileProvider | undefined;
let printed: string[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weir-manifests-'));
  printed = [];
});

afterEach(async () => {
  await provider?.stop();
  provider = undefined;
  await rm(folder, { recursive: true, force: true });
});

function manifest(name: string, maxTokens: number | string = 10, more = ''): string {
  return `apiVersion: weir.dev/v1alpha1
kind: ModelRoute
metadata: {name: ${name}${more}}
spec:
  modelName: m
  targets: [{url: "http://127.0.0.1:9"}]
  rateLimiting:
    scope: Local
    limits:
    - {name: requests, measure: Requests, bucket: {maxTokens: ${maxTokens}, refillPeriod: 1h}}
`;
}

const put = (file: string, text: string): Promise<void> => writeFile(join(folder, file), text);

async function start(clock?: Clock): Promise<FileProvider> {
  const made = new FileProvider({
    folder,
    token: 'token',
    log: silentLogger(),
    print: (line) => printed.push(line),
    stillMs: 60,
    pollMs: 300,
    clock,
  });
  provider = made;
  made.start();
  await made.whenReady();
  return made;
}

const route = (name: string): StoredObject | undefined => provider?.objects.ModelRoute.get(name);

const maxTokensOf = (object: StoredObject | undefined): unknown =>
  (object?.spec as { rateLimiting: { limits: [{ bucket: { maxTokens: unknown } }] } } | undefined)?.rateLimiting
    .limits[0].bucket.maxTokens;

const until = (name: string, maxTokens: number): Promise<StoredObject> =>
  waitFor(`${name} with ${maxTokens}`, () => (maxTokensOf(route(name)) === maxTokens ? route(name) : undefined), SOON);

describe('file provider', () => {
  test('gives every object of a folder and its subfolders, as written, with a UID and generation 1', async () => {
    await mkdir(join(folder, 'team'));
    await put('a.yaml', `${manifest('one')}---\n${manifest('two', 20, ', namespace: other')}`);
    await put('team/b.json', JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'not-ours' } }));
    await put('team/c.yml', manifest('three'));
    await start();
    expect([...provider!.objects.ModelRoute.keys()].sort()).toEqual(['default/one', 'default/three', 'other/two']);
    expect(route('default/one')).toMatchObject({
      metadata: { uid: stableUid('ModelRoute/default/one'), generation: 1 },
      spec: { targets: [{ url: 'http://127.0.0.1:9' }] },
    });
    expect(provider?.statuses().problems).toEqual([]);
  });

  test('an edit of the spec is a new generation of the same object; other edits are none', async () => {
    await put('a.yaml', manifest('one'));
    await start();
    const before = route('default/one');
    await put('a.yaml', `# only a comment\n${manifest('one')}`);
    await put('b.yaml', manifest('marker'));
    await until('default/marker', 10);
    expect(route('default/one')).toBe(before);
    await put('a.yaml', manifest('one', 20));
    const after = await until('default/one', 20);
    expect(after.metadata).toMatchObject({ uid: before?.metadata.uid, generation: 2 });
  });

  test('a file that is replaced by renaming, as editors save, is never seen missing', async () => {
    await put('a.yaml', manifest('one'));
    await start(new ManualClock()); // the time in which the editor works, on a machine of any speed
    const seen: (StoredObject | undefined)[] = [];
    provider!.objects.ModelRoute.onChange(({ after }) => seen.push(after));
    await put('.a.yaml.swp', 'not a manifest: [');
    await rename(join(folder, 'a.yaml'), join(folder, 'a.yaml~'));
    await put('4913', '');
    await put('a.yaml', manifest('one', 30));
    await until('default/one', 30);
    expect(seen.map(maxTokensOf)).toEqual([30]);
    expect(provider?.statuses().problems).toEqual([]);
  });

  test('a file that an editor empties first keeps its objects; one that stays empty has none', async () => {
    await put('a.yaml', manifest('one'));
    await put('b.yaml', manifest('two'));
    await start();
    await put('a.yaml', '');
    await put('b.yaml', manifest('two', 40));
    await until('default/two', 40);
    expect(route('default/one')).toBeDefined();
    await waitFor('the removal', () => (route('default/one') === undefined ? true : undefined), SOON);
  });

  test('what the API server would refuse keeps its former version, and is told with file, line and field', async () => {
    await put('a.yaml', `${manifest('one')}---\n${manifest('two')}`);
    await start();
    await put('a.yaml', `${manifest('one', 0)}---\n${manifest('two', 50)}`);
    await until('default/two', 50);
    expect(maxTokensOf(route('default/one'))).toBe(10);
    const path = 'spec.rateLimiting.limits[0].bucket.maxTokens';
    expect(provider?.statuses().problems).toMatchObject([{ file: 'a.yaml', line: 10, path }]);
    expect(printed).toEqual([expect.stringContaining(`a.yaml:10: ${path}: `)]);

    await put('a.yaml', manifest('two', 50));
    await waitFor('the removal', () => (route('default/one') === undefined ? true : undefined), SOON);
    expect(provider?.statuses().problems).toEqual([]);
  });

  test('text that cannot be read as YAML takes nothing away', async () => {
    await put('a.yaml', manifest('one'));
    await start();
    await put('a.yaml', 'kind: [ModelRoute\n\tmetadata');
    await waitFor('the problem', () => (provider?.statuses().problems.length === 0 ? undefined : true), SOON);
    expect(maxTokensOf(route('default/one'))).toBe(10);
  });

  test('of two objects with one name the first file counts, and it is said', async () => {
    await put('a.yaml', manifest('one', 1));
    await put('b.yaml', manifest('one', 2));
    await start();
    expect(maxTokensOf(route('default/one'))).toBe(1);
    expect(provider?.statuses().problems).toMatchObject([{ file: 'b.yaml', path: 'metadata.name' }]);
    await rm(join(folder, 'a.yaml'));
    await until('default/one', 2);
  });

  test('a status is written to the version that it was computed from, and served', async () => {
    await put('a.yaml', manifest('one'));
    await start();
    const object = route('default/one')!;
    const status = {
      observedGeneration: 1,
      limitCount: 1,
      toolCount: 0,
      limiters: { desired: 0, synced: 0, rejected: 0, summary: '0/0' },
      limits: [],
      unlimitedPods: { count: 0, names: [] },
      conditions: [],
    };
    expect(await provider!.write(object, status)).toBe('written');
    expect(await provider!.write(object, status)).toBe('outdated');
    expect(provider?.statuses().objects).toMatchObject([
      { name: 'one', generation: 1, status: { observedGeneration: 1 } },
    ]);
    await rm(join(folder, 'a.yaml'));
    await waitFor('the removal', () => (route('default/one') === undefined ? true : undefined), SOON);
    expect(await provider!.write(object, status)).toBe('gone');
  });

  test('a file that goes while the folder is being read is missed after a second, not never', async () => {
    await put('target', manifest('chat'));
    await symlink('target', join(folder, 'chat.yaml'));
    const clock = new ManualClock();
    const manifests = new ManifestFolder(folder, clock);
    expect(await manifests.refresh()).toBe(true);
    expect(manifests.waitsForFiles).toBe(false);
    // Listed, and no longer to be found: a link without its target is to a reader what a file is that goes in between.
    await rm(join(folder, 'target'));
    expect(await manifests.refresh()).toBe(false);
    expect(manifests.waitsForFiles).toBe(true);
    clock.advance(999_000);
    expect(await manifests.refresh()).toBe(false);
    expect(manifests.manifests().size).toBe(1);
    clock.advance(1_000);
    expect(await manifests.refresh()).toBe(true);
    expect(manifests.manifests().size).toBe(0);
    expect(await manifests.refresh()).toBe(false);
    expect(manifests.waitsForFiles).toBe(false);
  });

  test('a folder that is not there is an error that names it', async () => {
    await expect(new ManifestFolder(join(folder, 'absent')).refresh()).rejects.toThrow(ManifestFolderError);
    await expect(new ManifestFolder(join(folder, 'absent')).refresh()).rejects.toThrow(/absent/);
  });
});
