// The status follows the pods and what their limiters say, on a real API server: pods that come, go, are evicted and
// do not start, limiters that connect, report and vanish, and a hundred pods that flap. Writes are counted in the
// audit log.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { readFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { storeIdOf, toReportRequest, type LimiterReport } from '../../../src/contract/limiter-report.ts';
import type { Kube } from '../../../src/controller/kube/kube-api.ts';
import { connectKube } from '../../../src/controller/kube/kube.ts';
import { RESOURCES, type Pod } from '../../../src/controller/kube/kube-types.ts';
import { INJECTED_ANNOTATION, LIMITER_CONTAINER } from '../../../src/reconcile/injection/names.ts';
import { describeOnControlPlane } from '../../../tools/node-cluster/describe-cluster.ts';
import { RawLimiter } from '../../contract/raw-limiter.ts';
import { condition, OperatorRig, prepareCluster, route, verdict, type Status } from '../operator-rig.ts';

/** The whole of it takes WEIR_FLAP_SECONDS=60. */
const FLAP_SECONDS = Number(process.env['WEIR_FLAP_SECONDS'] ?? '15');
const FLAPPING = 100;
const REDIS = 'redis.test:6379';

describeOnControlPlane('status truth', { audit: true }, (cluster) => {
  let rig: OperatorRig;
  let kube: Kube;
  const opened: RawLimiter[] = [];

  beforeAll(async () => {
    await prepareCluster(cluster());
    kube = connectKube({ kubeconfig: cluster().kubeconfig });
    rig = await OperatorRig.make(cluster());
    await rig.start({ defaultRedis: { address: REDIS, namespaces: [], acl: false } });
    await rig.apply(shared('truth', 'web'), shared('flap', 'flap'));
  }, 60_000);
  afterAll(async () => {
    for (const raw of opened) raw.close();
    await rig.end();
    await kube.close();
  }, 60_000);

  const shared = (name: string, app: string): unknown =>
    route(name, 10, {
      workloadSelector: { matchLabels: { app } },
      targets: undefined,
      rateLimiting: {
        limits: [{ name: 'requests', measure: 'Requests', bucket: { maxTokens: 9, refillPeriod: '1h' } }],
      },
    });
  const createPod = (name: string, app: string, isInjected = true): Promise<Pod> =>
    kube.create(RESOURCES.pods, 'default', {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name,
        namespace: 'default',
        labels: { app },
        ...(isInjected ? { annotations: { [INJECTED_ANNOTATION]: '0.2.0' } } : {}),
      },
      spec: { serviceAccountName: 'limiter', containers: [{ name: 'main', image: 'none' }] },
    } as unknown as Pod);
  const setStatus = async (name: string, status: object): Promise<void> => {
    const patch = ['--subresource=status', '--type=merge', '-p', JSON.stringify({ status })];
    await cluster().mustKubectl(['patch', 'pod', name, ...patch]);
  };
  const remove = (name: string): Promise<void> => kube.remove(RESOURCES.pods, 'default', name);
  /** The limiter of a pod, which acknowledges everything. */
  const limiterOf = async (pod: string): Promise<RawLimiter> => {
    const bound = ['--bound-object-kind', 'Pod', '--bound-object-name', pod, '--audience', 'weir.dev'];
    const token = (await cluster().mustKubectl(['create', 'token', 'limiter', ...bound])).trim();
    const { pushPort, caFile } = rig.operator!;
    const raw = new RawLimiter({ port: pushPort, ca: readFileSync(caFile, 'utf8'), token });
    opened.push(raw);
    raw.subscribe({ nodeId: pod });
    raw.ackAll();
    return raw;
  };
  const until = (is: (status: Status) => boolean, name = 'truth', deadlineMs = 20_000): Promise<Status> =>
    rig.statusOf('modelroute', name, is, deadlineMs);
  const untilSummary = (summary: string): Promise<Status> => until(({ limiters }) => limiters?.summary === summary);
  const report = (
    raw: RawLimiter,
    stores: LimiterReport['stores'],
    upstreams: LimiterReport['upstreams'] = [],
    unclaimed: string[] = [],
  ): void => {
    raw.send(toReportRequest({ stores, upstreams, unclaimed }));
  };
  const store = storeIdOf({
    namespace: 'default',
    store: { type: 'redis', redis: { address: REDIS }, isDefault: true },
  })!;

  test('no pod, a pod that starts, one whose image cannot be pulled, one that runs and whose limiter connects', async () => {
    const nobody = await until((status) => verdict(status) === 'False NoMatchingPods');
    expect(condition(nobody, 'Ready')!.message).toContain('app=web matches no pod that runs in namespace default');
    await createPod('one', 'web');
    await untilSummary('0/1');
    const waiting = { name: LIMITER_CONTAINER, image: 'x', imageID: '', ready: false, restartCount: 0 };
    const state = { waiting: { reason: 'ErrImagePull', message: 'no such image' } };
    await setStatus('one', { phase: 'Pending', initContainerStatuses: [{ ...waiting, state }] });
    const stuck = await until(({ conditions = [] }) => conditions.some(({ message }) => message.includes('ImagePull')));
    expect(condition(stuck, 'Programmed')!.message).toContain('pod one: limiter is not running: ImagePullBackOff');
    await setStatus('one', { phase: 'Running', initContainerStatuses: [{ ...waiting, state: { running: {} } }] });
    await limiterOf('one');
    const ready = await untilSummary('1/1');
    expect([verdict(ready), verdict(ready, 'Degraded')]).toEqual(['True Ready', 'False Healthy']);
  });

  test('a pod without a limiter is named with the mend, an evicted one and one that is gone count for nothing', async () => {
    await createPod('host', 'web', false);
    const unlimited = await until(({ unlimitedPods }) => unlimitedPods?.count === 1);
    expect(unlimited.unlimitedPods!.names).toEqual(['host']);
    expect([verdict(unlimited), condition(unlimited, 'Ready')!.message]).toEqual([
      'False UnlimitedPods',
      expect.stringContaining('(host): NoInjector: sidecar injection is disabled'),
    ]);
    await setStatus('host', { phase: 'Failed', reason: 'Evicted' });
    await until((status) => status.unlimitedPods?.count === 0 && verdict(status) === 'True Ready');
    await createPod('two', 'web');
    await untilSummary('1/2');
    await remove('two');
    await untilSummary('1/1');
  });

  test('a pod without a limiter that is ending is named until its containers have ended: until then it may answer', async () => {
    await createPod('bare', 'web', false);
    const patch = (finalizers: string[]): Promise<string> =>
      cluster().mustKubectl([
        'patch',
        'pod',
        'bare',
        '--type=merge',
        '-p',
        JSON.stringify({ metadata: { finalizers } }),
      ]);
    // Stands for a kubelet that has not yet ended it.
    await patch(['test.weir.dev/kubelet']);
    await remove('bare');
    const ending = await until(({ conditions = [] }) =>
      conditions.some(({ message }) => message.includes('terminating')),
    );
    expect([verdict(ending), ending.unlimitedPods]).toEqual(['False UnlimitedPods', { count: 1, names: ['bare'] }]);
    expect(condition(ending, 'Programmed')!.message).not.toContain('restart');
    await setStatus('bare', { phase: 'Succeeded' });
    await until((status) => status.unlimitedPods?.count === 0 && verdict(status) === 'True Ready');
    await patch([]);
  });

  test('a limiter that vanishes is desired and not synced; back, it is', async () => {
    opened.at(-1)!.close();
    await untilSummary('0/1');
    await limiterOf('one');
    await untilSummary('1/1');
  });

  test('Degraded says what limiters report, holds over a reconnect, and ends when they say so', async () => {
    const first = opened.at(-1)!;
    report(first, [{ store, kind: 'unreachable', detail: 'ECONNREFUSED' }]);
    const degraded = await until((status) => verdict(status, 'Degraded') === 'True StoreUnreachable');
    expect(condition(degraded, 'Degraded')!.message).toContain(
      `${REDIS}: ECONNREFUSED. 1 of 1 limiters (one) cannot use this store`,
    );
    expect(verdict(degraded)).toBe('True Ready');
    first.close();
    await untilSummary('0/1');
    const again = await limiterOf('one');
    expect(verdict(await untilSummary('1/1'), 'Degraded')).toBe('True StoreUnreachable');
    report(again, [{ store, kind: 'evicts', detail: 'maxmemory-policy allkeys-lru' }]);
    await until((status) => verdict(status, 'Degraded') === 'True StoreEvicts');
    const upstream = { object: 'ModelRoute/default/truth', upstream: 'http://127.0.0.1:8000', detail: '' };
    report(again, [], [upstream]);
    await until((status) => verdict(status, 'Degraded') === 'True UpstreamUnreachable');
    report(again, []);
    await until((status) => verdict(status, 'Degraded') === 'False Healthy');
    report(again, [], [], ['qwen', 'caf\u00e9']);
    const told = await until((status) => verdict(status, 'Degraded') === 'False UnclaimedRequests');
    expect(condition(told, 'Degraded')!.message).toContain('(e.g. "caf\\u00e9", "qwen")');
    report(again, []);
    await until((status) => verdict(status, 'Degraded') === 'False Healthy');
    const events = await cluster().mustKubectl(['get', 'events', '-o', 'jsonpath={.items[*].reason}']);
    expect(events.split(' ')).toEqual(
      expect.arrayContaining(['StoreUnreachable', 'StoreEvicts', 'UpstreamUnreachable', 'UnclaimedRequests']),
    );
  });

  test(
    `${FLAPPING} pods that flap for ${FLAP_SECONDS} s cost at most one write of the status per second, and it ends true`,
    async () => {
      const beginMs = performance.now();
      const endMs = beginMs + FLAP_SECONDS * 1000;
      let rounds = 0;
      const flap = async (pod: string): Promise<void> => {
        for (let turn = 0; turn < 2 || performance.now() < endMs; turn++) {
          await createPod(pod, 'flap', turn % 2 === 0);
          await kube.replaceStatus(RESOURCES.pods, await withPhase(pod, turn % 3 === 0 ? 'Failed' : 'Running'));
          await remove(pod);
          rounds += 1;
        }
        await createPod(pod, 'flap');
      };
      const withPhase = async (pod: string, phase: string): Promise<Pod> => ({
        ...(await kube.get<Pod>(RESOURCES.pods, 'default', pod)),
        status: { phase },
      });
      const truth = async (): Promise<string> => verdict((await rig.get('modelroute', 'truth')).status ?? {});
      const truthBefore = await truth();
      const before = await statusWrites('flap');
      await Promise.all(Array.from({ length: FLAPPING }, (_, index) => flap(`flap-${index}`)));
      const during = (await statusWrites('flap')) - before;
      // The last rounds end later, on a busy machine much later.
      const seconds = (performance.now() - beginMs) / 1000;
      process.stderr.write(`${rounds} rounds of pods, ${during} status writes in ${seconds.toFixed(1)} s\n`);
      expect(rounds).toBeGreaterThanOrEqual(2 * FLAPPING);
      expect(during).toBeGreaterThan(0);
      expect(during).toBeLessThanOrEqual(seconds + 1);
      await until(({ limiters }) => limiters?.summary === `0/${FLAPPING}`, 'flap');
      expect(await truth()).toBe(truthBefore);
    },
    (FLAP_SECONDS + 60) * 1000,
  );

  /** Successful writes of the status of a route, as the API server noted them. */
  const statusWrites = async (name: string): Promise<number> => {
    const lines = (await readFile(cluster().plane.auditLog!, 'utf8')).trimEnd().split('\n');
    return lines.filter((line) => line.includes('modelroutes') && isStatusWrite(line, name)).length;
  };
});

function isStatusWrite(line: string, name: string): boolean {
  const { verb, objectRef, responseStatus } = JSON.parse(line) as {
    verb: string;
    objectRef?: { resource?: string; subresource?: string; name?: string };
    responseStatus?: { code?: number };
  };
  const isWrite = ['update', 'patch'].includes(verb) && objectRef?.resource === 'modelroutes';
  return isWrite && objectRef.subresource === 'status' && objectRef.name === name && responseStatus?.code === 200;
}
