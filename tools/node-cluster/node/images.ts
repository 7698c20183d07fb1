// Stage: images. Input: an archive or the name of an image that was built here. Output: the image in the cluster's
// containerd, so that pods can name it.
import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { withLock } from '../build-lock.ts';
import { command } from './commands.ts';
import { archivePath, buildImage, imagesFolder, type BuiltImage } from './image-builder.ts';
import { nodeLayout, pauseImage } from './node-folder.ts';

const importDeadlineMs = 300_000;
const buildDeadlineMs = 20 * 60_000;

/**
 * `image`: the path of an archive, or a name whose archive is in the cache. Nothing happens when it is there already.
 */
export async function loadImage(folder: string, image: string): Promise<string> {
  const archive = existsSync(image) ? image : archivePath(fullName(image));
  if (!existsSync(archive)) throw new Error(`no archive ${image}, and no image of that name was built (${archive})`);
  const id = (await readFile(`${archive}.id`, 'utf8').catch(() => '')).trim();
  await importImage(folder, { name: image, id, archive });
  return archive;
}

/** As Docker reads a short name. */
export function fullName(name: string): string {
  if (/^[^/]*[.:][^/]*\//.test(name) || name.startsWith('localhost/')) return name;
  return name.includes('/') ? `docker.io/${name}` : `docker.io/library/${name}`;
}

export async function importImage(folder: string, { name, id, archive }: BuiltImage): Promise<void> {
  const noted = join(folder, 'images.json');
  await withLock(`${noted}.lock`, importDeadlineMs, async () => {
    const known = JSON.parse(await readFile(noted, 'utf8').catch(() => '{}')) as Record<string, string>;
    if (id !== '' && known[name] === id) return;
    const { socket } = nodeLayout(folder);
    await command('ctr', ['--address', socket, '--namespace', 'k8s.io', 'images', 'import', archive], {
      timeoutMs: importDeadlineMs,
    });
    await writeFile(noted, JSON.stringify({ ...known, [name]: id }, null, 2));
  });
}

/** One static program that does nothing but reap; each pod has it. */
export async function obtainPauseImage(): Promise<BuiltImage> {
  return await cachedImage(pauseImage, async () => {
    const context = await mkdtemp(join(tmpdir(), 'weir-pause-'));
    try {
      await copyFile('/usr/bin/catatonit', join(context, 'catatonit'));
      const dockerfile = 'FROM scratch\nCOPY catatonit /catatonit\nENTRYPOINT ["/catatonit", "-P"]\n';
      return await buildImage({ name: pauseImage, dockerfile, context });
    } finally {
      await rm(context, { recursive: true, force: true });
    }
  });
}

/** Built at most once for each cache folder, also when several processes ask. */
export async function cachedImage(name: string, build: () => Promise<BuiltImage>): Promise<BuiltImage> {
  const archive = archivePath(name);
  const find = async (): Promise<BuiltImage | undefined> => {
    const id = await readFile(`${archive}.id`, 'utf8').catch(() => undefined);
    return id === undefined || !existsSync(archive) ? undefined : { name, id, archive };
  };
  const ready = await find();
  if (ready) return ready;
  await mkdir(imagesFolder(), { recursive: true });
  const lock = join(imagesFolder(), '.building');
  return await withLock(lock, buildDeadlineMs, async () => (await find()) ?? (await build()));
}
