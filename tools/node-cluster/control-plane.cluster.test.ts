// Stage: tests of the test cluster. Input: a control plane of its own. Output: proof that what other tests lean on
// holds.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { attach, up, type ControlPlane } from './control-plane.ts';
import { describeOnControlPlane } from './describe-cluster.ts';
import { mustKubectl } from './kubectl.ts';
import { findMembers } from './members.ts';
import { waitFor } from './wait.ts';

function configMap(name: string, data: Record<string, string>): string {
  return JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data });
}

interface Review {
  readonly status: {
    readonly authenticated?: boolean;
    readonly audiences?: readonly string[];
    readonly user?: { readonly username: string; readonly extra: Record<string, string[]> };
  };
}

describeOnControlPlane('control plane', { audit: true }, (cluster) => {
  const review = async (token: string, audience: string): Promise<Review['status']> => {
    const input = JSON.stringify({
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenReview',
      spec: { token, audiences: [audience] },
    });
    const printed = await cluster().mustKubectl(['create', '-f', '-', '-o', 'json'], { input });
    return (JSON.parse(printed) as Review).status;
  };

  test('keeps what kubectl applies', async () => {
    await cluster().mustKubectl(['apply', '-f', '-'], { input: configMap('kept', { a: '1' }) });
    expect(await cluster().mustKubectl(['get', 'configmap', 'kept', '-o', 'jsonpath={.data.a}'])).toBe('1');
  });

  test('a refused command is a result with the words of the API server', async () => {
    const { code, stdout, stderr } = await cluster().kubectl(['get', 'configmap', 'absent']);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain('configmaps "absent" not found');
  });

  test('reviews a token bound to a pod, for its audience only', async () => {
    const { mustKubectl } = cluster();
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'limiter-0' },
      spec: { serviceAccountName: 'limiter', containers: [{ name: 'main', image: 'none' }] },
    };
    await mustKubectl(['create', 'serviceaccount', 'limiter']);
    await mustKubectl(['create', '-f', '-'], { input: JSON.stringify(pod) });
    const binding = ['--bound-object-kind', 'Pod', '--bound-object-name', 'limiter-0'];
    const printed = await mustKubectl(['create', 'token', 'limiter', '--audience', 'weir.dev', ...binding]);
    const uid = await mustKubectl(['get', 'pod', 'limiter-0', '-o', 'jsonpath={.metadata.uid}']);

    const accepted = await review(printed.trim(), 'weir.dev');
    expect(accepted).toMatchObject({
      authenticated: true,
      audiences: ['weir.dev'],
      user: {
        username: 'system:serviceaccount:default:limiter',
        extra: {
          'authentication.kubernetes.io/pod-name': ['limiter-0'],
          'authentication.kubernetes.io/pod-uid': [uid],
        },
      },
    });
    expect((await review(printed.trim(), 'elsewhere')).authenticated).not.toBe(true);
  });

  test('a user has the rights that RBAC gives, and no others', async () => {
    const kubeconfig = await cluster().plane.kubeconfigFor({ user: 'jane', groups: ['readers'] });
    const before = await cluster().kubectl(['get', 'configmaps'], { kubeconfig });
    expect(before.stderr).toContain('User "jane" cannot list resource "configmaps"');
    // A role of its own: the rules of "view" are filled in by a controller, and none runs here.
    await cluster().mustKubectl(['create', 'clusterrole', 'reader', '--verb=list', '--resource=configmaps']);
    await cluster().mustKubectl(['create', 'clusterrolebinding', 'readers', '--clusterrole=reader', '--group=readers']);
    await waitFor(
      'the new rights',
      async () => (await cluster().kubectl(['get', 'configmaps'], { kubeconfig })).code === 0 || undefined,
      { deadlineMs: 10_000 },
    );
    const write = await cluster().kubectl(['create', 'configmap', 'janes'], { kubeconfig });
    expect(write.stderr).toContain('cannot create resource "configmaps"');
  });

  test('the API server comes back on its address with its data, stopped or killed', async () => {
    const { plane, mustKubectl, kubectl } = cluster();
    await mustKubectl(['create', 'configmap', 'survivor']);
    const first = plane.apiServer.pid();
    await plane.apiServer.restart();
    await mustKubectl(['get', 'configmap', 'survivor']);
    const second = plane.apiServer.pid();

    await plane.apiServer.kill();
    expect(plane.apiServer.pid()).toBeUndefined();
    expect((await kubectl(['get', 'configmap', 'survivor'])).stderr).toContain('refused');
    await plane.apiServer.start();
    await mustKubectl(['get', 'configmap', 'survivor']);
    expect(new Set([first, second, plane.apiServer.pid()]).size).toBe(3);
  });

  test('after a compaction and a restart an old resource version is gone', async () => {
    const { plane, mustKubectl, kubectl } = cluster();
    await mustKubectl(['apply', '-f', '-'], { input: configMap('old', { a: '1' }) });
    const old = await mustKubectl(['get', 'configmap', 'old', '-o', 'jsonpath={.metadata.resourceVersion}']);
    await mustKubectl(['apply', '-f', '-'], { input: configMap('old', { a: '2' }) });
    expect(await plane.compact()).toBeGreaterThan(Number(old));
    await plane.apiServer.restart();
    const path = `/api/v1/namespaces/default/configmaps?resourceVersion=${old}&resourceVersionMatch=Exact&limit=1`;
    expect((await kubectl(['get', '--raw', path])).stderr).toMatch(/too old|Expired|compacted/);
  });

  test('the audit log has the write before its answer', async () => {
    await cluster().mustKubectl(['create', 'configmap', 'audited']);
    const events = (await readFile(cluster().plane.auditLog!, 'utf8'))
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { verb: string; objectRef?: { name?: string }; user: { username: string } });
    const write = events.find(({ verb, objectRef }) => verb === 'create' && objectRef?.name === 'audited');
    expect(write?.user.username).toBe('weir-test-admin');
  });
});

describeOnControlPlane('processes of a control plane', {}, (cluster) => {
  let folder = '';
  let plane: ControlPlane | undefined;

  const programs = async (): Promise<{ etcd: string; 'kube-apiserver': string }> => {
    const settings = await readFile(join(cluster().plane.folder, 'settings.json'), 'utf8');
    return (JSON.parse(settings) as { programs: { etcd: string; 'kube-apiserver': string } }).programs;
  };

  /** Brings a control plane up in another process, which prints its pids and then waits to be killed. */
  const upElsewhere = async (guarded: boolean): Promise<{ kill: () => Promise<void> }> => {
    const script = `
      import { up } from ${JSON.stringify(join(import.meta.dirname, 'control-plane.ts'))};
      await up(${JSON.stringify({ folder, programs: await programs(), guarded })});
      process.stdout.write('up');
      setInterval(() => undefined, 1000);`;
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exited = once(child, 'exit');
    const first = await Promise.race([once(child.stdout, 'data'), exited]);
    expect(String(first[0])).toBe('up');
    return {
      kill: async () => {
        child.kill('SIGKILL');
        await exited;
      },
    };
  };

  beforeEach(async () => {
    folder = await realpath(await mkdtemp(join(tmpdir(), 'weir-cluster-')));
    plane = undefined;
  });

  afterEach(async () => {
    await (plane ?? (await attach(folder)))?.down();
    await rm(folder, { recursive: true, force: true });
  });

  test('down leaves none of its own and touches no other', async () => {
    plane = await up({ folder, programs: await programs() });
    const names = findMembers(folder).map(({ name }) => name);
    expect(names.sort()).toEqual(['etcd', 'kube-apiserver']);
    await plane.down();
    expect(findMembers(folder)).toEqual([]);
    expect(findMembers(cluster().plane.folder)).toHaveLength(2);
  });

  test('end by themselves when the process that holds them is killed', async () => {
    const holder = await upElsewhere(true);
    expect(findMembers(folder)).toHaveLength(2);
    await holder.kill();
    await waitFor('end of its processes', () => findMembers(folder).length === 0 || undefined, { deadlineMs: 10_000 });
  });

  test('the next up right after a kill keeps its own', async () => {
    await (await upElsewhere(true)).kill();
    plane = await up({ folder, programs: await programs() });
    await mustKubectl(['get', 'namespace', 'default'], { kubeconfig: plane.kubeconfig });
    expect(findMembers(folder)).toHaveLength(2);
  });

  test('unguarded ones stay, and the next up takes their place with their data and address', async () => {
    await (await upElsewhere(false)).kill();
    const left = findMembers(folder).map(({ pid }) => pid);
    expect(left).toHaveLength(2);
    const before = await attach(folder);
    const access = { kubeconfig: before!.kubeconfig };
    await mustKubectl(['create', 'configmap', 'left-behind'], access);

    plane = await up({ folder, programs: await programs() });
    expect(plane.server).toBe(before!.server);
    await mustKubectl(['get', 'configmap', 'left-behind'], access);
    expect(findMembers(folder).filter(({ pid }) => left.includes(pid))).toEqual([]);
  });

  test('a server that cannot start says why', async () => {
    const attempt = up({ folder, programs: await programs(), flags: { 'no-such-flag': '1' } });
    await expect(attempt).rejects.toThrow(/ended before it was ready.*unknown flag: --no-such-flag/s);
    expect(findMembers(folder)).toEqual([]);
  });
});
