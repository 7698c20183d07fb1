// A thousand objects at once on a real API server: every status right in time, few reconciles, and then silence.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Kube } from '../../src/controller/kube/kube-api.ts';
import { connectKube } from '../../src/controller/kube/kube.ts';
import { type StoredObject } from '../../src/controller/kube/kube-types.ts';
import { describeOnControlPlane } from '../../tools/node-cluster/describe-cluster.ts';
import { waitFor } from '../../tools/node-cluster/wait.ts';
import { counter, OperatorRig, prepareCluster, route, verdict, type Status } from './operator-rig.ts';
import { kindOf } from '../../src/crd/kinds/kinds.ts';

const OBJECTS = 1000;
const AT_ONCE = 16;

describeOnControlPlane('a thousand objects at once', {}, (cluster) => {
  let rig: OperatorRig;
  let kube: Kube;

  beforeAll(async () => {
    await prepareCluster(cluster());
    rig = await OperatorRig.make(cluster());
    kube = connectKube({ kubeconfig: cluster().kubeconfig });
  }, 60_000);
  afterAll(async () => {
    await rig.end();
    await kube.close();
  }, 60_000);

  test('each status is right within 60 s, at most 5 reconciles per object, none when nothing happens', async () => {
    const operator = await rig.start();
    const limiters = [await rig.limiter(), await rig.limiter()];
    const names = Array.from({ length: OBJECTS }, (_, index) => `r${index}`);
    const queue = [...names];
    const work = async (): Promise<void> => {
      for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
        await kube.apply(kindOf('ModelRoute'), 'default', route(name) as StoredObject);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    await waitFor('1000 right statuses', async () => ((await countReady()) === OBJECTS ? true : undefined), {
      deadlineMs: 60_000,
      everyMs: 500,
    });
    for (const { held } of limiters)
      expect([...held.keys()].filter((name) => name !== 'Fleet/-/-')).toHaveLength(OBJECTS);
    const reconciles = await counter(operator, 'weir_reconciles_total');
    expect(reconciles).toBeLessThanOrEqual(5 * OBJECTS);

    const quiet = await waitFor('a minute of silence', silence(), { deadlineMs: 120_000, everyMs: 500 });
    expect(quiet).toBeLessThanOrEqual(5 * OBJECTS);
    process.stderr.write(
      `${OBJECTS} objects: ${quiet} reconciles, ${await counter(operator, 'weir_status_writes_total')} writes\n`,
    );
  }, 240_000);

  /** The number of reconciles after it has not moved for a minute. */
  const silence = (): (() => Promise<number | undefined>) => {
    let last = -1;
    let sinceMs = 0;
    return async () => {
      const value = await counter(rig.operator!, 'weir_reconciles_total');
      if (value !== last) [last, sinceMs] = [value, performance.now()];
      return performance.now() - sinceMs > 60_000 ? value : undefined;
    };
  };

  const countReady = async (): Promise<number> => {
    const { items } = await kube.list<StoredObject>(kindOf('ModelRoute'), { namespace: 'default' });
    return items.filter(({ status, metadata }) => {
      const seen = (status ?? {}) as Status;
      return (
        verdict(seen) === 'True Ready' &&
        seen.observedGeneration === metadata.generation &&
        seen.limiters?.summary === '2/2'
      );
    }).length;
  };
});
