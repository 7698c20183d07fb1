// End to end: the dev stack by hand. `up` gives a stack that enforces, also after a crash; `down` leaves nothing.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { findMembers } from '../../tools/node-cluster/members.ts';
import { chooseCluster } from '../../tools/node-cluster/programs.ts';
import { leaveOut } from '../../tools/node-cluster/leave-out.ts';
import { redisMissing } from '../rig/redis/redis-server.ts';
import { projectFolder } from '../rig/stack/cluster-access.ts';
import { call, chat, flood, tally } from './traffic.ts';

const run = promisify(execFile);
const choice = await chooseCluster({ environment: { ...process.env, WEIR_TEST_KUBECONFIG: '' } });
const missing =
  redisMissing() ?? (choice.kind === 'unavailable' ? `${choice.reason}; to enable: ${choice.remedy}` : undefined);

function body(): void {
  let folder = '';
  const cli = async (...args: string[]): Promise<string> => {
    const words = [join(projectFolder, 'test', 'rig', 'dev', 'cli.ts'), ...args, '--folder', folder];
    return (await run(process.execPath, words)).stdout;
  };
  const inShell = async (script: string): Promise<string> =>
    (await run('bash', ['-euc', `source ${join(folder, 'env')}\n${script}`])).stdout.trim();
  const value = async (name: string): Promise<string> => await inShell(`printf %s "$${name}"`);
  const members = (): string[] =>
    [folder, join(folder, 'dev-cluster')].flatMap((path) => findMembers(path).map(({ name }) => name)).sort();

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'weir-dev-'));
  });
  afterAll(async () => {
    await cli('down');
    await rm(folder, { recursive: true, force: true });
  }, 60_000);

  test('up: what .run/env names is there, and the example is enforced', async () => {
    expect(await cli('up')).toContain('Weir is up after');
    expect(members()).toEqual(['etcd', 'kube-apiserver', 'limiter1', 'limiter2', 'operator', 'redis', 'upstream']);
    await inShell(`kubectl apply -f ${join(folder, 'route.yaml')}`);
    await inShell('kubectl wait -n try modelroutes.weir.dev/chat --for=condition=Ready --timeout=20s');
    const [one, two] = [await value('L1'), await value('L2')];
    const answers = await flood(20, 8, (index) => chat(`${index % 2 ? one : two}/try/chat`, 'chat'));
    expect(tally(answers)).toEqual({ 200: 5, 429: 15 });
    const upstream = await value('UP');
    expect((await call(`${upstream}/count`)).body.trim()).toBe('5');
    expect(JSON.parse((await call(`${upstream}/ledger`)).body)).toHaveLength(5);
    for (const name of ['ADMIN1', 'ADMIN2']) expect((await call(`${await value(name)}/readyz`)).status).toBe(200);
    expect(await inShell('exec 3<>/dev/tcp/127.0.0.1/$REDIS_PORT; printf "PING\\r\\n" >&3; head -1 <&3')).toContain(
      'PONG',
    );
  });

  test('the numbers are those of the processes themselves', async () => {
    for (const name of ['OPERATOR_PID', 'LIMITER1_PID', 'LIMITER2_PID', 'REDIS_PID', 'APISERVER_PID']) {
      const command = await readFile(`/proc/${await value(name)}/cmdline`, 'utf8');
      expect(command).not.toMatch(/^(\/bin\/)?(ba|da)?sh\0/);
    }
  });

  test('up again changes nothing', async () => {
    const before = await value('LIMITER1_PID');
    expect(await cli('up')).toContain('up already');
    expect(await value('LIMITER1_PID')).toBe(before);
  });

  test('restart starts one again where it was', async () => {
    const [url, pid] = [await value('L1'), await value('LIMITER1_PID')];
    process.kill(Number(pid), 'SIGKILL');
    await cli('restart', 'limiter1');
    expect(await value('LIMITER1_PID')).not.toBe(pid);
    expect(await value('L1')).toBe(url);
    // It serves from its disk or from the operator at once.
    expect((await chat(`${url}/try/chat`, 'chat')).status).toBe(429);
  });

  test('down ends it all, also after kill -9 of some; another up works', async () => {
    for (const name of ['OPERATOR_PID', 'LIMITER2_PID', 'REDIS_PID'])
      process.kill(Number(await value(name)), 'SIGKILL');
    await cli('down');
    expect(members()).toEqual([]);
    expect(existsSync(join(folder, 'env'))).toBe(false);
    await cli('up');
    process.kill(Number(await value('APISERVER_PID')), 'SIGKILL');
    await cli('up');
    expect(members()).toHaveLength(7);
    expect(await cli('down')).toContain('ended');
    expect(members()).toEqual([]);
    expect(await cli('down')).toContain('nothing was running');
  });

  test('a wrong command is told with exit code 2', async () => {
    await expect(cli('upp')).rejects.toMatchObject({ code: 2, stderr: expect.stringContaining('unknown command') });
  });
}

const TITLE = 'the dev stack';
if (missing === undefined) describe(TITLE, body);
else leaveOut(TITLE, missing, body);
