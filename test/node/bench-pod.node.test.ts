// On a real node, the benchmark's row `pod` still works: one pod of each kind; its figures can be figures. None of
// them is judged.
import { expect, test } from '@jest/globals';
import { benchPod } from '../../bench/pod.ts';
import { describeInstalled } from './installed.ts';

describeInstalled('the row pod of make bench', [], (weir) => {
  test('pods start with and without a limiter, which the kubelet knows the memory of', async () => {
    const result = await benchPod({ pods: 1, seconds: 0 }, weir().cluster.kubeconfig);
    expect([result.bare.count, result.injected.count]).toEqual([1, 1]);
    expect(result.bare.medianMs).toBeGreaterThan(0);
    expect(result.injected.medianMs).toBeGreaterThan(0);
    expect(result.limiterIdleMiB.workingSet).toBeGreaterThan(10);
    if (result.image !== undefined) expect(result.image.ownMiB).toBeLessThan(80);
  }, 300_000);
});
