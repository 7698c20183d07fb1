// Benchmark of pods, the image. In: the archive that `make image` left in the cache, and those of its bases; out: its
// size, and how much of it are layers of its own. Without compression: what a node's disk holds.
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { command } from '../tools/node-cluster/node/commands.ts';
import { archivePath, imagesFolder } from '../tools/node-cluster/node/image-builder.ts';
import { fullName } from '../tools/node-cluster/node/images.ts';

export interface ImageSize {
  readonly name: string;
  readonly wholeMiB: number;
  /** Layers that the base image does not have. */
  readonly ownMiB: number;
  readonly ownLayers: number;
}

interface Layer {
  readonly digest: string;
  readonly bytes: number;
}

/** @returns undefined when no such image was built on this machine. */
export async function imageSize(name: string): Promise<ImageSize | undefined> {
  const archive = archivePath(fullName(name));
  if (!existsSync(archive)) return undefined;
  const layers = await layersOf(archive);
  const files = (await readdir(imagesFolder())).filter((file) => file.includes('base') && file.endsWith('.tar'));
  const bases = await Promise.all(files.map((file) => layersOf(join(imagesFolder(), file))));
  const shared = Math.max(0, ...bases.map((base) => sharedLayers(layers, base)));
  if (shared === 0) throw new Error(`no image in ${imagesFolder()} is the base of ${name}: run make image again`);
  const own = layers.slice(shared);
  return { name, wholeMiB: mib(layers), ownMiB: mib(own), ownLayers: own.length };
}

/** All layers of `base`, when the image begins with them. */
function sharedLayers(layers: readonly Layer[], base: readonly Layer[]): number {
  return base.every(({ digest }, index) => layers[index]?.digest === digest) ? base.length : 0;
}

function mib(layers: readonly Layer[]): number {
  return Math.round((layers.reduce((sum, { bytes }) => sum + bytes, 0) / 2 ** 20) * 10) / 10;
}

/** Of an archive as `docker save` writes it. */
async function layersOf(archive: string): Promise<Layer[]> {
  const read = (file: string): Promise<string> => command('tar', ['-xOf', archive, file]);
  const [manifest] = JSON.parse(await read('manifest.json')) as { Config: string; Layers: string[] }[];
  if (manifest === undefined) throw new Error(`${archive} holds no image`);
  const config = JSON.parse(await read(manifest.Config)) as { rootfs: { diff_ids: string[] } };
  const listing = (await command('tar', ['-tvf', archive])).split('\n').map((line) => line.trim().split(/\s+/));
  const sizes = new Map(listing.map((fields) => [fields[5] ?? '', Number(fields[2])]));
  return manifest.Layers.map((file, index) => ({
    digest: config.rootfs.diff_ids[index] ?? file,
    bytes: sizes.get(file) ?? NaN,
  }));
}
