// Stage: images, those of the project. Input: its Dockerfile and package.json. Output: its images and the ones that tests run beside them, built without a registry.
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { command } from './commands.ts';
import { buildImage, type BuiltImage } from './image-builder.ts';
import { obtainBaseImage, obtainBuildBaseImage, obtainRedisImage } from './test-images.ts';

const project = resolve(import.meta.dirname, '../../..');
const targets = ['weir', 'weir-init'];

export async function buildProjectImages(print: (line: string) => void): Promise<BuiltImage[]> {
  const base = await obtainBaseImage(print);
  const images = [base, await obtainRedisImage(print)];
  const dockerfile = join(project, 'Dockerfile');
  if (!existsSync(dockerfile)) throw new Error(`there is no ${dockerfile}`);
  const { version } = JSON.parse(await readFile(join(project, 'package.json'), 'utf8')) as { version: string };
  const buildBase = await obtainBuildBaseImage(print);
  const buildArguments = { BASE: base.name, BUILD_BASE: buildBase.name, INIT_BASE: base.name, VERSION: version };
  const secrets = await authorities();
  for (const target of targets) {
    const name = `docker.io/library/${target}:${version}`;
    print(`building ${name}`);
    images.push(await buildImage({ name, dockerfile, context: project, target, buildArguments, secrets }));
  }
  return images;
}

/** Of a registry behind a proxy with an authority of its own, which npm on this machine is told of. */
async function authorities(): Promise<Record<string, string>> {
  const file = process.env['NODE_EXTRA_CA_CERTS'] ?? (await command('npm', ['config', 'get', 'cafile'])).trim();
  return existsSync(file) ? { ca: file } : {};
}
