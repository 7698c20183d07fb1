// The operator on a real API server: what is applied reaches limiters, and the status says what they said.
import { afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { describeOnControlPlane } from '../../tools/node-cluster/describe-cluster.ts';
import { waitFor } from '../../tools/node-cluster/wait.ts';
import { condition, counter, OperatorRig, prepareCluster, route, verdict, type Status } from './operator-rig.ts';

const ROUTE = 'modelroutes.weir.dev';

describeOnControlPlane('operator', {}, (cluster) => {
  let rig: OperatorRig;
  beforeAll(() => prepareCluster(cluster()), 60_000);
  beforeEach(async () => {
    rig = await OperatorRig.make(cluster());
  });
  afterEach(async () => {
    await rig.end();
    await cluster().mustKubectl(['delete', ROUTE, '--all', '--wait=true']);
  });

  test('trap 40: Programmed follows what limiters acknowledged, not what was sent', async () => {
    await rig.start();
    await rig.apply(route('chat'));
    const lonely = await rig.statusOf(ROUTE, 'chat', (status) => verdict(status) === 'False NoLimiters');
    expect(condition(lonely, 'Accepted')).toMatchObject({ status: 'True', observedGeneration: 1 });

    const good = await rig.limiter();
    const bad = await rig.limiter(() => 'this limiter is out of order');
    const half = await rig.statusOf(ROUTE, 'chat', (status) => verdict(status) === 'False Rejected');
    expect(half.limiters).toMatchObject({ summary: '1/2' });
    expect(condition(half, 'Programmed')?.message).toContain('this limiter is out of order');
    expect(good.held.get('ModelRoute/default/chat')?.version).toBe(half.configVersion);

    await bad.close();
    const whole = await rig.statusOf(ROUTE, 'chat', (status) => verdict(status) === 'True Ready');
    expect(whole.limiters).toMatchObject({ summary: '1/1' });
  });

  test('an edit is compiled, pushed and told once; a status of our own causes no reconcile and no second write', async () => {
    const operator = await rig.start({ reconnectGraceMs: 0 });
    const limiter = await rig.limiter();
    await rig.apply(route('once'));
    const first = await rig.statusOf(ROUTE, 'once', isReady);
    const reconciles = await stableCounter('weir_reconciles_total');
    const writes = await counter(operator, 'weir_status_writes_total');
    expect(reconciles).toBeLessThanOrEqual(4);
    expect(writes).toBeLessThanOrEqual(3);

    const { metadata } = await rig.get(ROUTE, 'once');
    await rig.apply(route('once'));
    await cluster().mustKubectl(['annotate', ROUTE, 'once', 'note=nothing that matters']);
    expect(await stableCounter('weir_reconciles_total')).toBe(reconciles);
    expect(await counter(operator, 'weir_status_writes_total')).toBe(writes);

    await rig.apply(route('once', 20));
    const second = await rig.statusOf(ROUTE, 'once', (status) => isReady(status) && status.observedGeneration === 2);
    expect(second.configVersion).not.toBe(first.configVersion);
    expect(limiter.held.get('ModelRoute/default/once')?.version).toBe(second.configVersion);
    expect(condition(second, 'Accepted')?.lastTransitionTime).toBe(condition(first, 'Accepted')?.lastTransitionTime);
    expect(metadata.generation).toBe(1);
  });

  test('a status that someone else wrote is put right', async () => {
    await rig.start({ reconnectGraceMs: 0 });
    await rig.limiter();
    await rig.apply(route('forged'));
    await rig.statusOf(ROUTE, 'forged', isReady);
    const lie = { status: { limiters: { desired: 9, synced: 9, rejected: 0, summary: '9/9' } } };
    const patch = ['--subresource=status', '--type=merge', '-p', JSON.stringify(lie)];
    await cluster().mustKubectl(['patch', ROUTE, 'forged', ...patch]);
    const status = await rig.statusOf(ROUTE, 'forged', ({ limiters }) => limiters?.summary !== '9/9');
    expect(status.limiters).toMatchObject({ summary: '1/1' });
  });

  test('trap 14: of two with the same match one is Conflicted, and takes over when the winner goes', async () => {
    await rig.start({ reconnectGraceMs: 0 });
    const limiter = await rig.limiter();
    const shared = { modelName: 'same', pathPrefix: '/same' };
    await rig.apply(route('a-first', 10, shared), route('b-second', 10, shared));
    await rig.statusOf(ROUTE, 'a-first', isReady);
    const loser = await rig.statusOf(ROUTE, 'b-second', (status) => verdict(status, 'Accepted') === 'False Conflicted');
    expect(condition(loser, 'Accepted')?.message).toContain('default/a-first');
    expect([...limiter.held.keys()]).not.toContain('ModelRoute/default/b-second');

    await cluster().mustKubectl(['delete', ROUTE, 'a-first']);
    await rig.statusOf(ROUTE, 'b-second', isReady);
    expect([...limiter.held.keys()].filter((name) => name.startsWith('ModelRoute'))).toEqual([
      'ModelRoute/default/b-second',
    ]);
  });

  test('what only the status can refuse leaves the last good form in force, also after the operator was replaced', async () => {
    const operator = await rig.start({ reconnectGraceMs: 0 });
    const limiter = await rig.limiter();
    await rig.apply(route('kept'));
    const good = await rig.statusOf(ROUTE, 'kept', isReady);
    const kept = await waitFor(
      'the kept form',
      async () => (await lastGoodNames()).find((name) => name.endsWith('-1')),
      { deadlineMs: 10_000 },
    );
    await rig.apply(route('kept', 10, { rateLimiting: notSupported() }));
    const refused = await rig.statusOf(ROUTE, 'kept', (status) => verdict(status, 'Accepted') === 'False NotSupported');
    expect(refused).toMatchObject({ observedGeneration: 2, configVersion: good.configVersion });

    await operator.stop();
    await rig.start();
    const after = await rig.limiter();
    await waitFor('the config', () => after.held.get('ModelRoute/default/kept'), { deadlineMs: 10_000 });
    for (const each of [limiter, after]) {
      expect(each.held.get('ModelRoute/default/kept')?.version).toBe(good.configVersion);
    }
    const told = await rig.statusOf(ROUTE, 'kept', ({ limiters }) => limiters?.summary === '2/2');
    expect(verdict(told, 'Accepted')).toBe('False NotSupported');
    expect(await lastGoodNames()).toEqual([kept]);

    await rig.apply(route('kept', 30));
    await rig.statusOf(ROUTE, 'kept', (status) => isReady(status) && status.observedGeneration === 3);
    await waitFor('one newer form', async () => ((await lastGoodNames())[0]?.endsWith('-3') ? true : undefined), {
      deadlineMs: 10_000,
    });
    await waitFor('nothing else', async () => ((await lastGoodNames()).length === 1 ? true : undefined), {
      deadlineMs: 10_000,
    });
    await cluster().mustKubectl(['delete', ROUTE, 'kept']);
    await waitFor('no leftovers', async () => ((await lastGoodNames()).length === 0 ? true : undefined), {
      deadlineMs: 10_000,
    });
  });

  test('a restart of the operator changes no status while limiters come back', async () => {
    const operator = await rig.start({ reconnectGraceMs: 0 });
    const limiter = await rig.limiter();
    await rig.apply(route('calm'));
    const before = await rig.statusOf(ROUTE, 'calm', isReady);
    await operator.stop();
    const second = await rig.start({ reconnectGraceMs: 6000 });
    await waitFor('the limiter', async () => (await counter(second, 'weir_connected_limiters')) === 1 || undefined, {
      deadlineMs: 15_000,
    });
    await stableCounter('weir_reconciles_total');
    expect((await rig.get(ROUTE, 'calm')).status).toEqual(before);
    expect(await counter(second, 'weir_status_writes_total')).toBe(0);
    expect(await counter(second, 'weir_push_resources_total')).toBeLessThanOrEqual(1);

    await limiter.close();
    await rig.statusOf(ROUTE, 'calm', (status) => verdict(status) === 'False NoLimiters');
  });

  test('leftovers of objects that were deleted while no operator ran are ignored and removed', async () => {
    const operator = await rig.start({ reconnectGraceMs: 0 });
    await rig.apply(route('orphan'));
    await waitFor('the kept form', async () => (await lastGoodNames())[0], { deadlineMs: 10_000 });
    await operator.stop();
    await cluster().mustKubectl(['delete', ROUTE, 'orphan']);
    await rig.start();
    await waitFor('no leftovers', async () => ((await lastGoodNames()).length === 0 ? true : undefined), {
      deadlineMs: 10_000,
    });
  });

  test('the API server restarted: limiters keep their stream, edits afterwards are in force', async () => {
    await rig.start({ reconnectGraceMs: 0 });
    const limiter = await rig.limiter();
    await rig.apply(route('restart'));
    const before = await rig.statusOf(ROUTE, 'restart', isReady);
    await cluster().plane.apiServer.restart();
    expect(limiter.held.get('ModelRoute/default/restart')?.version).toBe(before.configVersion);
    await rig.apply(route('restart', 20));
    const after = await rig.statusOf(ROUTE, 'restart', (status) => isReady(status) && status.observedGeneration === 2);
    expect(limiter.held.get('ModelRoute/default/restart')?.version).toBe(after.configVersion);
  }, 120_000);

  test('selected pods count: none, without a limiter, with one that is not there', async () => {
    await rig.start({ reconnectGraceMs: 0 });
    await rig.apply(route('beside', 10, { workloadSelector: { matchLabels: { app: 'beside' } } }));
    const none = await rig.statusOf(ROUTE, 'beside', (status) => verdict(status) !== 'absent');
    expect(verdict(none)).toBe('False NoMatchingPods');
    await rig.apply(pod('plain', { app: 'beside' }), pod('other', { app: 'elsewhere' }));
    const unlimited = await rig.statusOf(ROUTE, 'beside', (status) => verdict(status) === 'False UnlimitedPods');
    expect(unlimited).toMatchObject({ unlimitedPods: { count: 1, names: ['plain'] } });

    await cluster().mustKubectl(['annotate', 'pod', 'plain', 'weir.dev/injected=0.1.0']);
    const waiting = await rig.statusOf(ROUTE, 'beside', ({ limiters }) => limiters?.summary === '0/1');
    expect(waiting).toMatchObject({ unlimitedPods: { count: 0 } });
    await cluster().mustKubectl(['label', 'pod', 'plain', 'app=moved', '--overwrite']);
    await rig.statusOf(ROUTE, 'beside', (status) => verdict(status) === 'False NoMatchingPods');
    await cluster().mustKubectl(['delete', 'pod', 'plain', 'other', '--grace-period=0', '--force']);
  });

  test('a Service that appears and goes is followed', async () => {
    await rig.start({ reconnectGraceMs: 0 });
    await rig.apply(route('served', 10, { targets: [{ service: { name: 'model', port: 8000 } }] }));
    await rig.statusOf(ROUTE, 'served', (status) => verdict(status, 'ResolvedRefs') === 'False ServiceNotFound');
    const ports = [{ port: 8001, protocol: 'TCP' }];
    const service = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'model', namespace: 'default' },
      spec: { ports },
    };
    await rig.apply(service);
    await rig.statusOf(ROUTE, 'served', (status) => verdict(status, 'ResolvedRefs') === 'False PortNotFound');
    await rig.apply({ ...service, spec: { ports: [{ port: 8000, protocol: 'TCP' }] } });
    await rig.statusOf(ROUTE, 'served', (status) => verdict(status, 'ResolvedRefs').startsWith('True'));
    await cluster().mustKubectl(['delete', 'service', 'model']);
    await rig.statusOf(ROUTE, 'served', (status) => verdict(status, 'ResolvedRefs') === 'False ServiceNotFound');
  });

  test('an Event for each change of a reason, none for what stays', async () => {
    await rig.start({ reconnectGraceMs: 0 });
    await rig.limiter();
    await rig.apply(route('told'));
    await rig.statusOf(ROUTE, 'told', isReady);
    await rig.apply(route('told', 10, { rateLimiting: notSupported() }));
    await rig.statusOf(ROUTE, 'told', (status) => verdict(status, 'Accepted') === 'False NotSupported');
    const events = await waitFor(
      'the event',
      async () => {
        const list = JSON.parse(
          await cluster().mustKubectl([
            'get',
            'events.events.k8s.io',
            '-o',
            'json',
            '--field-selector=reason=NotSupported',
          ]),
        ) as { items: { type: string; note: string; regarding: { kind: string; name: string } }[] };
        return list.items.length > 0 ? list.items : undefined;
      },
      { deadlineMs: 10_000 },
    );
    const ours = events.filter(({ regarding }) => regarding.name === 'told');
    expect(ours).toHaveLength(1);
    expect(ours[0]).toMatchObject({ type: 'Warning', regarding: { kind: 'ModelRoute' } });
    expect(ours[0]?.note).toContain('spec.rateLimiting.consistency');
  });

  test('an ordinary scale-up writes no Warning; what persists becomes one', async () => {
    await rig.start({ reconnectGraceMs: 0, eventPersistsMs: 8_000 });
    await rig.limiter();
    await rig.apply(route('scaled'));
    await rig.statusOf(ROUTE, 'scaled', isReady);
    const warnings = async (): Promise<string[]> => {
      const list = JSON.parse(await cluster().mustKubectl(['get', 'events.events.k8s.io', '-o', 'json'])) as {
        items: { type: string; reason: string; regarding: { name: string } }[];
      };
      return list.items
        .filter(({ type, regarding }) => type === 'Warning' && regarding.name === 'scaled')
        .map(({ reason }) => reason);
    };
    // One after the other, each counted before it has answered.
    for (let count = 2; count <= 4; count++) {
      await rig.limiter();
      await rig.statusOf(
        ROUTE,
        'scaled',
        (status) => isReady(status) && status.limiters?.summary === `${count}/${count}`,
      );
    }
    expect(await warnings()).toEqual([]);
    await rig.apply(route('scaled', 10, { workloadSelector: { matchLabels: { app: 'nobody' } } }));
    await rig.statusOf(ROUTE, 'scaled', (status) => verdict(status) === 'False NoMatchingPods');
    expect(await warnings()).toEqual([]);
    await waitFor('the Warning', async () => ((await warnings()).length > 0 ? true : undefined), {
      deadlineMs: 20_000,
    });
    expect(await warnings()).toEqual(['NoMatchingPods']);
  });

  const isReady = (status: Status): boolean => verdict(status) === 'True Ready';

  const notSupported = (): unknown => ({
    scope: 'Local',
    consistency: 'Leased',
    limits: [{ name: 'requests', measure: 'Requests', bucket: { maxTokens: 1, refillPeriod: '1h' } }],
  });

  const pod = (name: string, labels: Record<string, string>): unknown => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', labels },
    spec: { serviceAccountName: 'limiter', containers: [{ name: 'main', image: 'none' }] },
  });

  const lastGoodNames = async (): Promise<string[]> => {
    const args = ['get', 'controllerrevisions', '-l', 'weir.dev/last-good', '-o', 'name'];
    return (await cluster().mustKubectl(args)).split('\n').filter((line) => line !== '');
  };

  /** The counter once it has not moved for two seconds: longer than anything that is planned. */
  const stableCounter = async (name: string): Promise<number> => {
    let last = -1;
    let sinceMs = 0;
    return waitFor(
      `${name} to come to rest`,
      async () => {
        const value = await counter(rig.operator!, name);
        if (value !== last) [last, sinceMs] = [value, performance.now()];
        return performance.now() - sinceMs > 2000 ? value : undefined;
      },
      { deadlineMs: 30_000, everyMs: 100 },
    );
  };
});
