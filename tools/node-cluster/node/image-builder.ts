// Stage: images, their builder. Input: a Dockerfile, its context and a name. Output: an archive of the image in the
// cache folder, without any registry.
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { cacheFolder } from '../program-cache.ts';
import { command } from './commands.ts';

export interface ImagePlan {
  /** Whole, such as docker.io/library/weir:1.0.0. */
  readonly name: string;
  /** Path, or the text with a line break in it. */
  readonly dockerfile: string;
  readonly context: string;
  readonly target?: string;
  readonly buildArguments?: Readonly<Record<string, string>>;
  /** Files that RUN steps see and layers do not keep, by their ids. */
  readonly secrets?: Readonly<Record<string, string>>;
  /** False: without the layers of an earlier build. */
  readonly layers?: boolean;
}

export interface BuiltImage {
  readonly name: string;
  /** Changes when its content does. */
  readonly id: string;
  /** In the form that `docker load` and `ctr images import` read. */
  readonly archive: string;
}

const buildDeadlineMs = 15 * 60_000;

/** Archives and the builder's own store: beside the cached programs, shared by all checkouts. */
export function imagesFolder(): string {
  return join(dirname(cacheFolder()), 'images');
}

/** Layers that did not change are taken from the last build, and so is the archive when no layer changed. */
export async function buildImage(plan: ImagePlan): Promise<BuiltImage> {
  const { name, context, target, buildArguments = {}, secrets = {}, layers = true } = plan;
  await mkdir(imagesFolder(), { recursive: true });
  const work = await mkdtemp(join(tmpdir(), 'weir-image-'));
  try {
    const idFile = join(work, 'id');
    const dockerfile = plan.dockerfile.includes('\n') ? join(work, 'Dockerfile') : plan.dockerfile;
    if (dockerfile !== plan.dockerfile) await writeFile(dockerfile, plan.dockerfile);
    const args = Object.entries(buildArguments).flatMap(([key, value]) => ['--build-arg', `${key}=${value}`]);
    const shown = Object.entries(secrets).flatMap(([id, source]) => ['--secret', `id=${id},src=${source}`]);
    const how = ['--isolation', 'chroot', '--format', 'docker', '--pull-never', `--layers=${layers}`];
    const what = ['--iidfile', idFile, '-t', name, '-f', dockerfile, ...(target ? ['--target', target] : [])];
    await buildah(['bud', ...how, ...what, ...args, ...shown, context]);
    const id = (await readFile(idFile, 'utf8')).trim();
    return { name, id, archive: await archiveOf(name, id) };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function archiveOf(name: string, id: string): Promise<string> {
  const archive = archivePath(name);
  const note = `${archive}.id`;
  const known = await readFile(note, 'utf8').catch(() => '');
  if (known === id && existsSync(archive)) return archive;
  const draft = `${archive}.${process.pid}.draft`;
  await rm(note, { force: true });
  await buildah(['push', id, `docker-archive:${draft}:${name}`]);
  await rename(draft, archive);
  await writeFile(note, id);
  return archive;
}

export function archivePath(name: string): string {
  return join(imagesFolder(), `${name.replace(/[^\w.-]+/g, '_')}.tar`);
}

/** A later build can begin with it, also when only its archive was kept. */
export async function inStore({ name, archive }: BuiltImage): Promise<void> {
  const found = await buildah(['inspect', '--type', 'image', name]).then(
    () => true,
    () => false,
  );
  if (!found) await buildah(['pull', `docker-archive:${archive}`]);
}

const takesPolicy = ['bud', 'push', 'pull'];

/**
 * Layers lie over one another where the kernel can do that, which is ten times faster; a whole copy each where it
 * cannot.
 */
type Driver = 'overlay' | 'vfs';
let driver: Promise<Driver> | undefined;

async function findDriver(): Promise<Driver> {
  return await command('buildah', [...placesOf('overlay'), 'info'], { timeoutMs: 60_000 }).then(
    () => 'overlay',
    () => 'vfs',
  );
}

function placesOf(which: Driver): string[] {
  const [store, run] = [join(imagesFolder(), `store-${which}`), join(imagesFolder(), `run-${which}`)];
  return ['--root', store, '--runroot', run, '--storage-driver', which];
}

async function buildah(args: readonly string[]): Promise<string> {
  const policy = join(imagesFolder(), 'policy.json');
  if (!existsSync(policy)) await writeFile(policy, JSON.stringify({ default: [{ type: 'insecureAcceptAnything' }] }));
  const [verb = '', ...rest] = args;
  driver ??= findDriver();
  const places = placesOf(await driver);
  return await command(
    'buildah',
    [...places, verb, ...(takesPolicy.includes(verb) ? ['--signature-policy', policy] : []), ...rest],
    { environment: { BUILDAH_ISOLATION: 'chroot' }, timeoutMs: buildDeadlineMs },
  );
}
