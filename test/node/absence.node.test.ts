// On a real node 3: the operator's Deployment is gone. Limiters that run keep their limits and restart from their
// disk; pods that start meanwhile carry no limiter, and the status names them once there is an operator again.
import { beforeAll, expect, test } from '@jest/globals';
import { waitFor } from '../../tools/node-cluster/wait.ts';
import { LIMITER_CONTAINER } from '../../src/reconcile/injection/names.ts';
import { conditionOf } from '../e2e/harness.ts';
import { tally } from '../e2e/traffic.ts';
import { describeInstalled, SYSTEM, type PodSeen } from './installed.ts';
import { processesOf } from './pod-processes.ts';
import { namespace, sidecarRoute, workload } from './workloads.ts';

const SPACE = 'absence';

const isReady = ({ conditions }: PodSeen['status']): boolean =>
  conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
/** Ready may still be of the limiter before, as long as the kubelet has not counted its end. */
const hasNewLimiter = ({ initContainerStatuses }: PodSeen['status']): boolean =>
  initContainerStatuses?.some(
    ({ name, restartCount, ready }) => name === LIMITER_CONTAINER && restartCount > 0 && ready,
  ) ?? false;

describeInstalled(
  'the operator is deleted',
  [namespace(SPACE, { 'weir.dev/inject': 'true' })],
  (weir) => {
    const ref = ['modelroutes', SPACE, 'chat'] as const;
    let before: PodSeen[] = [];

    beforeAll(async () => {
      const limits = [{ name: 'all', measure: 'Requests', bucket: { maxTokens: 30, refillPeriod: '8000h' } }];
      const { image } = weir();
      const lifecycle = { preStop: { sleep: { seconds: 5 } } };
      await weir().apply(
        // Its pod without a limiter is still dialled for a moment when it ends; one with a limiter is drained.
        ...workload({ namespace: SPACE, name: 'chat', image, replicas: 2, container: { lifecycle } }),
        sidecarRoute(`${SPACE}/chat`, limits),
      );
      await weir().rolledOut(SPACE, 'chat');
      await weir().untilCondition([...ref], 'Ready', { status: 'True', summary: '2/2' });
      before = await weir().pods(SPACE, 'app=chat');
      await weir().kubectl(
        'delete',
        'deployment',
        'weir-operator',
        '-n',
        SYSTEM,
        '--cascade=foreground',
        '--wait=true',
      );
    });

    test('limiters go on deciding', async () => {
      expect(tally(await weir().ask(SPACE, 'chat', 10))).toEqual({ 200: 10 });
    });

    test('a limiter that is killed starts again from its disk, with its limits', async () => {
      for (const { metadata } of before) {
        const [pid] = await processesOf(metadata.uid, 'limiter');
        expect(pid).toBeDefined();
        process.kill(pid ?? 0, 'SIGKILL');
      }
      await waitFor(
        'new limiters that are ready',
        async () => {
          const pods = await weir().pods(SPACE, 'app=chat');
          return pods.every(({ status }) => isReady(status) && hasNewLimiter(status)) || undefined;
        },
        { deadlineMs: 60_000, everyMs: 500 },
      );
      expect(tally(await weir().ask(SPACE, 'chat', 30))).toEqual({ 200: 20, 429: 10 });
    });

    test('pods that start meanwhile are admitted, without a limiter', async () => {
      await weir().kubectl('scale', 'deployment', 'chat', '-n', SPACE, '--replicas=3');
      await weir().rolledOut(SPACE, 'chat');
      const pods = await weir().pods(SPACE, 'app=chat');
      expect(pods.filter(({ metadata }) => metadata.annotations?.['weir.dev/injected'] === undefined)).toHaveLength(1);
    });

    test('on its return the status names them and says what to do; restarted, all is well', async () => {
      await weir().install();
      const object = await weir().untilCondition([...ref], 'Programmed', { status: 'False', reason: 'UnlimitedPods' });
      const [bare] = (await weir().pods(SPACE, 'app=chat')).filter(
        ({ metadata }) => metadata.annotations?.['weir.dev/injected'] === undefined,
      );
      expect(conditionOf(object, 'Programmed')?.message).toContain(bare?.metadata.name);
      expect((object.status as { unlimitedPods?: object }).unlimitedPods).toEqual({
        count: 1,
        names: [bare?.metadata.name],
      });
      await weir().restart(SPACE, 'chat');
      await weir().untilCondition([...ref], 'Ready', { status: 'True', summary: '3/3' });
      const answers = await weir().ask(SPACE, 'chat', 6);
      const pastAnyLimiter = answers.filter(({ headers }) => headers['x-ratelimit-limit-requests'] === undefined);
      expect(pastAnyLimiter).toEqual([]);
      expect(tally(answers)).toEqual({ 429: 6 });
    });
  },
  { local: true },
);
