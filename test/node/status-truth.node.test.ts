// On a real node, the status follows the pods: limiters that the kernel kills for want of memory, pods that are
// evicted, and a node whose kubelet does nothing for a minute.
import { setTimeout as pause } from 'node:timers/promises';
import { beforeAll, expect, test } from '@jest/globals';
import { waitFor } from '../../tools/node-cluster/wait.ts';
import { conditionOf } from '../e2e/harness.ts';
import { call, tally } from '../e2e/traffic.ts';
import { describeInstalled, type PodSeen } from './installed.ts';
import { processesOf, takeMemory } from './pod-processes.ts';
import { namespace, sidecarRoute, workload } from './workloads.ts';

const SPACE = 'truth';
const DEADLINE = { deadlineMs: 60_000, everyMs: 100 };
const REF = ['modelroutes', SPACE, 'chat'] as const;
/** A process that is short of memory may answer nothing for long. */
const MOST_ASKED_MS = 2_000;
/** Longer than the node controller waits before it calls a node dead (50 s). */
const KUBELET_STOPPED_MS = 60_000;

describeInstalled(
  'the status of an object',
  [namespace(SPACE, { 'weir.dev/inject': 'true' })],
  (weir) => {
    const limits = (maxTokens: number): object[] => [{ name: 'all', bucket: { maxTokens, refillPeriod: '8000h' } }];
    const pods = async (): Promise<PodSeen[]> => await weir().pods(SPACE, 'app=chat');
    const limiterPid = async ({ metadata }: PodSeen): Promise<number | undefined> =>
      (await processesOf(metadata.uid, 'limiter'))[0];

    beforeAll(async () => {
      await weir().apply(
        ...workload({ namespace: SPACE, name: 'chat', image: weir().image, replicas: 2 }),
        sidecarRoute(`${SPACE}/chat`, limits(1000)),
      );
      await weir().rolledOut(SPACE, 'chat');
      await weir().untilCondition([...REF], 'Ready', { status: 'True', summary: '2/2' });
    });

    test('a limiter killed for want of memory is missed while it is away, and counted when it is back', async () => {
      const [victim] = await pods();
      if (victim === undefined) throw new Error('no pod');
      // The kubelet starts it at once the first time, then after 10 s: long enough to be told.
      for (let kills = 0; kills < 2; kills++) {
        const pid = await waitFor('a limiter', async () => await limiterPid(victim), DEADLINE);
        const body = { model: 'llama', messages: [{ role: 'user', content: 'a'.repeat(5_000_000) }] };
        const ask = async (): Promise<unknown> =>
          await call(`http://${victim.status.podIP ?? ''}:18080/v1/chat/completions`, { body }).catch(() => undefined);
        await waitFor(
          'its end',
          async () => {
            if ((await limiterPid(victim)) !== pid) return true;
            // The kernel may find pages of files to take back for a long time, so all is taken again before more is
            // used.
            await takeMemory(pid);
            await Promise.race([Promise.all([ask(), ask(), ask(), ask()]), pause(MOST_ASKED_MS)]);
            return undefined;
          },
          DEADLINE,
        );
      }
      const seen = await weir().untilCondition([...REF], 'Programmed', { status: 'False', summary: '1/2' });
      expect(conditionOf(seen, 'Programmed')?.message).toContain(victim.metadata.name);
      expect(seen.status).toHaveProperty('unlimitedPods.count', 0);
      const text = await weir().kubectl('get', 'pod', victim.metadata.name, '-n', SPACE, '-o', 'json');
      const { status } = JSON.parse(text) as { status: { initContainerStatuses: { lastState: object }[] } };
      expect(JSON.stringify(status.initContainerStatuses)).toContain('OOMKilled');
      await weir().untilCondition([...REF], 'Ready', { status: 'True', summary: '2/2' });
    });

    test('an evicted pod is no longer desired, its successor is', async () => {
      const [victim] = await pods();
      const name = victim?.metadata.name ?? '';
      const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { namespace: SPACE, name } };
      const path = `/api/v1/namespaces/${SPACE}/pods/${name}/eviction`;
      const { code, stderr } = await weir().tryKubectl(['create', '--raw', path, '-f', '-'], JSON.stringify(eviction));
      expect([code, stderr]).toEqual([0, '']);
      await waitFor(
        'its successor',
        async () => {
          const now = await pods();
          const isReplaced = now.length === 2 && now.every(({ metadata }) => metadata.name !== name);
          return isReplaced ? true : undefined;
        },
        DEADLINE,
      );
      await weir().rolledOut(SPACE, 'chat');
      const object = await weir().untilCondition([...REF], 'Ready', { status: 'True', summary: '2/2' });
      expect(object.status).toHaveProperty('limiters.desired', 2);
      expect(tally(await weir().ask(SPACE, 'chat', 6))).toEqual({ 200: 6 });
    });

    test('while the kubelet does nothing limiters acknowledge edits, and no pod is called unlimited; then all are counted', async () => {
      const kubelet = weir().cluster.local?.servers.kubelet;
      kubelet?.pause();
      try {
        const stoppedMs = performance.now();
        await weir().kubectl('scale', 'deployment', 'chat', '-n', SPACE, '--replicas=3');
        await weir().apply(sidecarRoute(`${SPACE}/chat`, limits(500)));
        // The third pod is desired, and waits for its kubelet.
        await weir().untilCondition([...REF], 'Programmed', { status: 'False', summary: '2/3' });
        await waitFor(
          'the node called dead, after a minute',
          async () => {
            const ready = 'jsonpath={.items[0].status.conditions[?(@.type=="Ready")].status}';
            const status = await weir().kubectl('get', 'nodes', '-o', ready);
            return status === 'Unknown' && performance.now() - stoppedMs > KUBELET_STOPPED_MS ? true : undefined;
          },
          { deadlineMs: 120_000, everyMs: 1000 },
        );
        const object = await weir().untilCondition([...REF], 'Programmed', { status: 'False', summary: '2/3' });
        expect(object.status).toHaveProperty('unlimitedPods.count', 0);
      } finally {
        kubelet?.resume();
      }
      await weir().rolledOut(SPACE, 'chat');
      await weir().untilCondition([...REF], 'Ready', { status: 'True', summary: '3/3' });
    });
  },
  { local: true },
);
