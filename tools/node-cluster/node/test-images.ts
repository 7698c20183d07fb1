// Stage: images, those of tests. Input: Debian's archive and the project's Node. Output: a base image and a Redis
// image, built without a registry and kept in the cache.
import { copyFile, mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { command } from './commands.ts';
import { buildImage, inStore, type BuiltImage } from './image-builder.ts';
import { cachedImage } from './images.ts';

const debian = 'bookworm';
const debianDeadlineMs = 10 * 60_000;

/** Debian's minimal system and the Node that the project runs on: for tests, in the place of an official Node image. */
export const baseImage = `localhost/weir-test-base:${debian}-node${process.versions.node}`;

/** Takes the place of the official image of this name, as far as its entrypoint and user are concerned. */
export const redisImage = 'docker.io/library/redis:7.0';

export async function obtainBaseImage(print: (line: string) => void): Promise<BuiltImage> {
  const image = await cachedImage(baseImage, () => buildBase(print));
  await inStore(image);
  return image;
}

async function buildBase(print: (line: string) => void): Promise<BuiltImage> {
  print(`building ${baseImage}: debootstrap ${debian}, once, a minute or two`);
  const context = await mkdtemp(join(tmpdir(), 'weir-base-'));
  try {
    const system = join(context, 'system');
    await command('debootstrap', ['--variant=minbase', '--include=ca-certificates', debian, system], {
      timeoutMs: debianDeadlineMs,
      environment: { PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` },
    });
    await rm(join(system, 'var/cache/apt/archives'), { recursive: true, force: true });
    await rm(join(system, 'var/lib/apt/lists'), { recursive: true, force: true });
    await command('tar', ['-C', system, '-cf', join(context, 'system.tar'), '--exclude=./dev/*', '.'], {
      timeoutMs: debianDeadlineMs,
    });
    await rm(system, { recursive: true, force: true });
    await copyFile(process.execPath, join(context, 'node'));
    const dockerfile = 'FROM scratch\nADD system.tar /\nCOPY --chmod=755 node /usr/local/bin/node\nCMD ["node"]\n';
    return await buildImage({ name: baseImage, dockerfile, context });
  } finally {
    await rm(context, { recursive: true, force: true });
  }
}

/** The base with the machine's npm in it: builds need it, pods do not. */
export async function obtainBuildBaseImage(print: (line: string) => void): Promise<BuiltImage> {
  const base = await obtainBaseImage(print);
  const npm = join(dirname(await realpath((await command('sh', ['-c', 'command -v npm'])).trim())), '..');
  const { version } = JSON.parse(await readFile(join(npm, 'package.json'), 'utf8')) as { version: string };
  const dockerfile = [
    `FROM ${base.name}`,
    'COPY . /usr/local/lib/node_modules/npm',
    'RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm\n',
  ].join('\n');
  const name = `${baseImage}-npm${version}`;
  const image = await cachedImage(name, () => buildImage({ name, dockerfile, context: npm }));
  await inStore(image);
  return image;
}

/** Its layers are in the builder's store, so that the second time takes a moment. */
export async function obtainRedisImage(print: (line: string) => void): Promise<BuiltImage> {
  const base = await obtainBaseImage(print);
  print(`building ${redisImage}: Debian's redis-server on the base image`);
  const context = await mkdtemp(join(tmpdir(), 'weir-redis-'));
  try {
    await writeFile(join(context, 'entrypoint'), redisEntrypoint);
    await writeFile(join(context, 'policy-rc.d'), '#!/bin/sh\nexit 101\n');
    return await buildImage({ name: redisImage, dockerfile: redisDockerfile(base.name), context });
  } finally {
    await rm(context, { recursive: true, force: true });
  }
}

/**
 * Flags alone, or the name of a settings file, are arguments of redis-server; protected mode is off unless it is
 * named.
 */
const redisEntrypoint = `#!/bin/sh
set -e
case "\${1:-}" in
  -* | *.conf) set -- redis-server "$@" ;;
esac
if [ "$1" = redis-server ]; then
  case "$*" in
    *protected-mode*) ;;
    *) set -- "$@" --protected-mode no ;;
  esac
fi
if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
  exec setpriv --reuid=redis --regid=redis --clear-groups "$@"
fi
exec "$@"
`;

function redisDockerfile(base: string): string {
  return `FROM ${base}
COPY --chmod=755 policy-rc.d /usr/sbin/policy-rc.d
RUN groupadd -r -g 999 redis && useradd -r -g redis -u 999 -d /data redis \\
  && apt-get update -qq && apt-get install -y -qq --no-install-recommends redis-server redis-tools \\
  && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /usr/sbin/policy-rc.d && install -d -o 999 -g 999 /data
COPY --chmod=755 entrypoint /usr/local/bin/docker-entrypoint.sh
USER 999:999
WORKDIR /data
VOLUME /data
EXPOSE 6379
ENTRYPOINT ["/usr/local/bin/docker-entrypoint.sh"]
CMD ["redis-server"]
`;
}
