// On a real node: the previous release, installed with its own chart and image, is upgraded with --reuse-values under
// traffic, and rolled back. Sidecars of that release stay in their pods; no call fails, and limits count over old
// sidecars and the new operator.
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { join } from 'node:path';
import { describeOnNode } from '../../tools/node-cluster/describe-node.ts';
import { leaveOut } from '../../tools/node-cluster/leave-out.ts';
import { buildTarget } from '../../tools/node-cluster/node/project-images.ts';
import { tally } from '../e2e/traffic.ts';
import { projectFolder } from '../rig/stack/cluster-access.ts';
import { previousSources } from '../rig/upgrade/previous-release.ts';
import { Installed, SYSTEM, version as currentVersion, type PodSeen } from './installed.ts';
import { namespace, sidecarRoute, workload } from './workloads.ts';

jest.setTimeout(600_000);

const SPACE = 'upgraded';
const CHART = join(projectFolder, 'deploy', 'helm');
const PLENTY = { maxTokens: 1_000_000, refillPeriod: '8000h' };

const sources = await previousSources();

if ('missing' in sources) leaveOut('an upgrade from the previous release', sources.missing, () => undefined);
else {
  const { folder, version } = sources;

  describeOnNode(`an upgrade from ${version} with its values`, { local: true }, (cluster) => {
    const weir = (): Installed => new Installed(cluster());
    const now = currentVersion();
    const before = `released-${version}`;
    const upgrade = (...more: readonly string[]): Promise<string> =>
      weir().helm(['upgrade', 'weir', CHART, '-n', SYSTEM, '--reuse-values', '--wait', '--timeout', '3m', ...more]);
    const limit = (name: string, bucket: object, modelName: string): object =>
      sidecarRoute(`${SPACE}/${name}`, [{ name: 'all', bucket }], {
        modelName,
        workloadSelector: { matchLabels: { app: 'chat' } },
      });
    const ready = (name: string): Promise<unknown> =>
      weir().untilCondition(['modelroutes', SPACE, name], 'Ready', { status: 'True', summary: '2/2' }, 120_000);
    const uids = async (component: string): Promise<string[]> => {
      const pods: PodSeen[] = await weir().pods(SYSTEM, `app.kubernetes.io/component=${component}`);
      return pods.map(({ metadata }) => metadata.uid).sort();
    };
    const noneFailed = async (step: () => Promise<unknown>): Promise<void> => {
      const answers = tally(await weir().callsDuring([SPACE, 'chat'], step));
      expect(Object.keys(answers)).toEqual(['200']);
    };

    beforeAll(async () => {
      await cluster().kubectl(['delete', 'namespace', SPACE, '--ignore-not-found', '--timeout=120s']);
      await cluster().helm(['uninstall', 'weir', '-n', SYSTEM, '--ignore-not-found', '--wait']);
      await cluster().kubectl(['delete', 'namespace', SYSTEM, '--ignore-not-found', '--timeout=120s']);
      await buildTarget({ folder, target: 'weir', tag: before }, () => undefined);
      for (const image of [`weir:${before}`, `weir:${now}`, `weir-init:${now}`, 'redis:7.0'])
        await cluster().loadImage(image);
      await weir().helm([
        ...['install', 'weir', join(folder, 'deploy', 'helm'), '-n', SYSTEM, '--create-namespace', '--wait'],
        ...['--timeout', '3m', '--set', `image.tag=${before}`, '--set', 'operator.logLevel=debug'],
      ]);
      await weir().apply(namespace(SPACE, { 'weir.dev/inject': 'true' }));
      await weir().apply(
        ...workload({ namespace: SPACE, name: 'chat', image: weir().image, replicas: 2 }),
        limit('chat', PLENTY, 'llama'),
      );
      await weir().rolledOut(SPACE, 'chat');
      await ready('chat');
    });

    afterAll(async () => {
      await cluster().kubectl(['delete', 'namespace', SPACE, '--wait=false', '--ignore-not-found']);
    });

    test('no call fails, its values stay, and the password of the trial Redis is in the cluster alone', async () => {
      await noneFailed(() => upgrade('--set', `image.tag=${now}`));
      const operator = await weir().kubectl('get', 'deployment', 'weir-operator', '-n', SYSTEM, '-o', 'yaml');
      expect(operator).toContain('--log-level=debug');
      const secrets = await weir().kubectl('get', 'secrets', '-n', SYSTEM, '-o', 'name');
      expect(secrets).toContain('secret/weir-redis-auth');
      expect(secrets).not.toMatch(/secret\/weir-redis$/m);
      const manifest = await weir().helm(['get', 'manifest', 'weir', '-n', SYSTEM]);
      expect(manifest).not.toMatch(/^kind: Secret$/m);
      await weir().helm(['test', 'weir', '-n', SYSTEM]);
    });

    test('sidecars of that release count one limit together, in the new Redis', async () => {
      const pods = await weir().pods(SPACE, 'app=chat');
      expect(pods.map(({ metadata }) => metadata.annotations?.['weir.dev/injected'])).toEqual([version, version]);
      await weir().apply(limit('few', { maxTokens: 7, refillPeriod: '8000h' }, 'few'));
      await ready('few');
      expect(tally(await weir().ask(SPACE, 'chat', 12, 'few'))).toEqual({ 200: 7, 429: 5 });
    });

    test('a second upgrade with the same values restarts nothing; one with more memory restarts Redis alone', async () => {
      const first = { operator: await uids('operator'), redis: await uids('redis') };
      await upgrade();
      expect({ operator: await uids('operator'), redis: await uids('redis') }).toEqual(first);
      await noneFailed(() => upgrade('--set', 'redis.maxMemory=200mb'));
      expect(await uids('operator')).toEqual(first.operator);
      expect(await uids('redis')).not.toEqual(first.redis);
      await ready('few');
    });

    test('a rollback to that release: no call fails, and it goes on', async () => {
      await noneFailed(() => weir().helm(['rollback', 'weir', '1', '-n', SYSTEM, '--wait', '--timeout', '3m']));
      await ready('chat');
      await weir().apply(limit('few', { maxTokens: 3, refillPeriod: '8000h' }, 'few'));
      await ready('few');
      expect(tally(await weir().ask(SPACE, 'chat', 6, 'few'))).toEqual({ 200: 3, 429: 3 });
    });
  });
}
