// Stage: tests of a cluster with a node, its begin and end. Input: ups, downs and kill -9. Output: proof that each up
// works and each down leaves nothing on the machine.
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { beforeAll, expect, test } from '@jest/globals';
import { describeOnNode, nodeFolder } from '../describe-node.ts';
import { findMembers } from '../members.ts';
import { waitFor } from '../wait.ts';
import { command } from './commands.ts';
import { attachNode } from './node-cluster.ts';
import { obtainBaseImage } from './test-images.ts';

const cli = resolve(import.meta.dirname, '../cli.ts');
const pod = (image: string): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'stays' },
    spec: { containers: [{ name: 'stays', image, command: ['sleep', '3600'], imagePullPolicy: 'Never' }] },
  });

/** Everything on the machine that a cluster makes, as text that can be compared. */
async function traces(): Promise<Record<string, string[]>> {
  const rules = (await Promise.all(['iptables-save', 'ip6tables-save'].map((name) => command(name, [])))).join('\n');
  const list = (path: string): string[] => (existsSync(path) ? readdirSync(path) : []);
  const kernel = ['net/ipv4/ip_forward', 'net/ipv4/conf/all/route_localnet', 'kernel/panic', 'vm/overcommit_memory'];
  return {
    processes: [...findMembers(nodeFolder), ...findMembers(join(nodeFolder, 'api'))].map(({ name }) => name),
    mounts: readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .map((line) => line.split(' ')[4] ?? ''),
    links: list('/sys/class/net'),
    namespaces: list('/run/netns').filter((name) => name.startsWith('cni-')),
    rules: rules.split('\n').filter((line) => /KUBE|CNI/.test(line)),
    cgroups: list('/sys/fs/cgroup').flatMap((name) =>
      list(join('/sys/fs/cgroup', name)).filter((one) => one === 'kubepods'),
    ),
    folders: [nodeFolder, '/var/lib/kubelet/device-plugins'].filter((path) => existsSync(path)),
    kernel: kernel.map((name) => readFileSync(`/proc/sys/${name}`, 'utf8').trim()),
  };
}

describeOnNode('begin and end of a cluster with a node', { local: true }, (cluster) => {
  let usable = false;
  let before: Awaited<ReturnType<typeof traces>>;
  const node = (...args: string[]): Promise<string> =>
    command(process.execPath, [cli, ...args, '--node', '--folder', nodeFolder], { timeoutMs: 200_000 });

  beforeAll(async () => {
    // A cluster that a person brought up is not ours to end.
    usable = cluster().local?.settings.broughtUpBy === 'tests';
    if (!usable)
      throw new Error('a cluster of make cluster-up is there, and these tests end it: make cluster-down first');
    await cluster().local?.down();
    before = await traces();
  }, 120_000);

  test('twice in a row, with a pod at work: nothing is left', async () => {
    const image = await obtainBaseImage(() => undefined);
    for (let round = 0; round < 2; round++) {
      await node('up');
      await node('load-image', image.name);
      await cluster().mustKubectl(['apply', '-f', '-'], { input: pod(image.name) });
      await cluster().mustKubectl(['wait', '--for=condition=Ready', 'pod/stays', '--timeout=60s'], {
        timeoutMs: 70_000,
      });
      await node('down');
      expect(await traces()).toEqual(before);
    }
  }, 400_000);

  test('killed in the middle of up, and its containerd too: the next up works', async () => {
    const first = spawn(process.execPath, [cli, 'up', '--node', '--folder', nodeFolder], { stdio: 'ignore' });
    await waitFor(
      'a kubelet',
      () => (findMembers(nodeFolder).some(({ name }) => name === 'kubelet') ? true : undefined),
      {
        deadlineMs: 60_000,
      },
    );
    first.kill('SIGKILL');
    for (const { name, pid } of findMembers(nodeFolder)) if (name === 'containerd') process.kill(pid, 'SIGKILL');
    await node('up');
    const again = await attachNode(nodeFolder);
    expect(again?.servers.containerd.pid()).toBeDefined();
    await cluster().mustKubectl(['get', 'serviceaccount', 'default']);
    await node('down');
    expect(await traces()).toEqual(before);
  }, 400_000);
});
