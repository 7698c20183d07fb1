// The files by which the chart starts the trial Redis and asks whether it lives, run with a real redis-server: the
// password is that of the mounted Secret, whatever is in it, only its hash is written, and a changed one makes the
// probe fail.
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { globSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { freePorts, isOpen } from '../../tools/node-cluster/ports.ts';
import { waitFor } from '../../tools/node-cluster/wait.ts';
import { CHART } from './helm.ts';

describe('the trial Redis of the chart', () => {
  let root = '';
  let port = 0;
  let redis: ChildProcess | undefined;

  /** The files with their folders, and the port, of this test. */
  const placed = (text: string): string =>
    text
      .replaceAll('/etc/redis', join(root, 'etc/redis'))
      .replaceAll('/data', join(root, 'data'))
      .replaceAll('redis-cli', `redis-cli -p ${port}`);
  const setPassword = (password: string): Promise<void> => writeFile(join(root, 'etc/redis-auth/password'), password);
  const script = (name: string): string => join(root, 'etc/redis', name);
  const alive = (): ReturnType<typeof spawnSync> => spawnSync('sh', [script('alive.sh')], { encoding: 'utf8' });
  const start = async (): Promise<void> => {
    redis = spawn('sh', [script('start.sh')], { stdio: 'ignore' });
    await waitFor('redis', async () => (await isOpen(port, '127.0.0.1')) || undefined, { deadlineMs: 20_000 });
  };
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    const server = redis;
    redis = undefined;
    if (server === undefined) return;
    const exit = once(server, 'exit');
    server.kill(signal);
    await exit;
  };
  const ping = (...login: string[]): string =>
    spawnSync('redis-cli', ['-p', `${port}`, ...login, 'ping'], { encoding: 'utf8' }).stdout.trim();

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'weir-trial-redis-'));
    [port = 0] = await freePorts(1);
    for (const folder of ['etc/redis', 'etc/redis-auth', 'data']) await mkdir(join(root, folder), { recursive: true });
    for (const file of globSync(join(CHART, 'files/redis/*.sh')))
      await writeFile(script(basename(file)), placed(readFileSync(file, 'utf8')));
    const settings = `port ${port}\nsave ""\ndir /data\naclfile /data/users.acl\n`;
    await writeFile(script('redis.conf'), placed(settings));
  });
  afterEach(async () => {
    await end('SIGKILL');
  });
  afterAll(() => rm(root, { recursive: true, force: true }));

  test.each([
    ['plain', 'word', 'word'],
    ['with signs that a shell or Redis could read', `a "b' $(c) \\#%n*>`, `a "b' $(c) \\#%n*>`],
    ['with the end of a line behind it', 'word\n', 'word'],
    ['with the end of a line of Windows behind it', 'word\r\n', 'word'],
  ])('takes a password %s', async (_what, stored, password) => {
    await setPassword(stored);
    await start();
    expect(ping()).toMatch(/^NOAUTH/);
    expect(ping('--no-auth-warning', '-a', 'other')).toMatch(/NOAUTH|WRONGPASS/);
    expect(ping('--no-auth-warning', '-a', password)).toBe('PONG');
    expect(alive().status).toBe(0);
    expect(readFileSync(join(root, 'data/users.acl'), 'utf8')).toMatch(
      /^user default on #[0-9a-f]{64} ~\* &\* \+@all\n$/,
    );
  });

  test('is not alive any more when the Secret has another password, and has that one when it was started again', async () => {
    await setPassword('before');
    await start();
    await setPassword('after');
    expect(alive().status).not.toBe(0);
    await end('SIGTERM');
    expect(alive().status).not.toBe(0);
    await start();
    expect(alive().status).toBe(0);
    expect(ping('--no-auth-warning', '-a', 'after')).toBe('PONG');
  });

  test('does not start without a password, and says so', async () => {
    await setPassword('\n');
    const { status, stderr } = spawnSync('sh', [script('start.sh')], { encoding: 'utf8' });
    expect([status, stderr]).toEqual([1, 'the password is empty: set it in the Secret of redis.existingSecret\n']);
  });
});
