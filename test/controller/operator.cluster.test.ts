// The operator on a real API server: what is applied reaches limiters, and the status says what they said.
import { afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { describeOnControlPlane } from '../cluster/describe-cluster.ts';
import { condition, OperatorRig, prepareCluster, route, verdict } from './operator-rig.ts';

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
});
