// Stage: images, those of the project. Input: its Dockerfile and package.json. Output: its images and the ones that
// tests run beside them, built without a registry.
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { command } from './commands.ts';
import { buildImage, type BuiltImage } from './image-builder.ts';
import { obtainBaseImage, obtainBuildBaseImage, obtainRedisImage } from './test-images.ts';

const project = resolve(import.meta.dirname, '../../..');
const targets = ['weir', 'weir-init'];

export async function buildProjectImages(print: (line: string) => void): Promise<BuiltImage[]> {
  const images = [await obtainBaseImage(print), await obtainRedisImage(print)];
  const version = await versionOf(project);
  for (const target of targets) images.push(await buildTarget({ folder: project, target, tag: version }, print));
  return images;
}

/** One image of the sources in a folder, such as those of another release; `tag` is what pods name it by. */
export async function buildTarget(
  { folder, target, tag }: { readonly folder: string; readonly target: string; readonly tag: string },
  print: (line: string) => void,
): Promise<BuiltImage> {
  const base = await obtainBaseImage(print);
  const dockerfile = join(folder, 'Dockerfile');
  if (!existsSync(dockerfile)) throw new Error(`there is no ${dockerfile}`);
  const buildBase = await obtainBuildBaseImage(print);
  const version = await versionOf(folder);
  const buildArguments = { BASE: base.name, BUILD_BASE: buildBase.name, INIT_BASE: base.name, VERSION: version };
  const name = `docker.io/library/${target}:${tag}`;
  print(`building ${name}`);
  return await buildImage({ name, dockerfile, context: folder, target, buildArguments, secrets: await authorities() });
}

async function versionOf(folder: string): Promise<string> {
  const text = await readFile(join(folder, 'package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** Of a registry behind a proxy with an authority of its own, which npm on this machine is told of. */
async function authorities(): Promise<Record<string, string>> {
  const file = process.env['NODE_EXTRA_CA_CERTS'] ?? (await command('npm', ['config', 'get', 'cafile'])).trim();
  return existsSync(file) ? { ca: file } : {};
}
