// End to end 4: edits keep what was used. Each test uses up 60 of a bucket of 100 over both limiters, edits the object,
// waits until both limiters have acknowledged, and counts what then passes.
import { beforeAll, expect, test } from '@jest/globals';
import { waitFor } from '../../tools/node-cluster/wait.ts';
import { describeEndToEnd } from './harness.ts';
import { modelRoute, refOf, requestLimit, slowBucket, type Manifest } from './manifests.ts';
import { chat, flood, tally, type Answer } from './traffic.ts';

const MODEL = 'llama';
const IN_FLIGHT = 16;

describeEndToEnd('edits', {}, (e2e) => {
  beforeAll(async () => {
    await e2e().makeNamespace('edits');
  });

  const route = (name: string, limits: readonly object[], labels?: Record<string, string>): Manifest =>
    modelRoute(
      `edits/${name}`,
      { modelName: MODEL, targets: [{ url: e2e().upstreamUrl }], rateLimiting: { limits } },
      labels,
    );

  /** Sends calls over both limiters; answers how many passed. */
  const passed = async (name: string, calls: number, headers: Record<string, string> = {}): Promise<number> => {
    const bases = [e2e().base(0, 'edits', name), e2e().base(1, 'edits', name)];
    const counts = tally(await flood(calls, IN_FLIGHT, (index) => chat(bases[index % 2]!, MODEL, headers)));
    expect((counts[200] ?? 0) + (counts[429] ?? 0)).toBe(calls);
    return counts[200] ?? 0;
  };

  const one = async (name: string): Promise<Answer> => await chat(e2e().base(0, 'edits', name), MODEL);

  /** A route with a bucket of 100, of which 60 are used. */
  const useSixty = async (name: string): Promise<void> => {
    await e2e().enforce(route(name, [requestLimit('all', 100)]));
    expect(await passed(name, 60)).toBe(60);
  };

  test('trap 13: raised from 100 to 200 with 60 used, 140 pass', async () => {
    await useSixty('raise');
    await e2e().enforce(route('raise', [requestLimit('all', 200)]));
    expect(await passed('raise', 200)).toBe(140);
  });

  test('trap 13: lowered from 100 to 50 with 60 used, nothing passes until it has flowed back', async () => {
    await useSixty('lower');
    await e2e().enforce(route('lower', [requestLimit('all', 50)]));
    expect(await passed('lower', 20)).toBe(0);
    // 11 units must flow back at 50 per 8000 h.
    const wait = Number((await one('lower')).headers['retry-after']);
    const expected = (11 * 8000 * 3600) / 50;
    expect(wait).toBeGreaterThan(expected - 120);
    expect(wait).toBeLessThanOrEqual(expected);
    await e2e().enforce(route('lower', [requestLimit('all', 61)]));
    expect(await passed('lower', 20)).toBe(1);
  });

  test('trap 38: a refusal that a limiter remembers does not outlive a raised limit', async () => {
    await e2e().enforce(route('remembered', [requestLimit('all', 5)]));
    expect(await passed('remembered', 40)).toBe(5);
    await e2e().enforce(route('remembered', [requestLimit('all', 8)]));
    expect(await passed('remembered', 40)).toBe(3);
  });

  test('trap 13: labels, annotations and the same again change nothing', async () => {
    await useSixty('same');
    const manifest = route('same', [requestLimit('all', 100)]);
    const { configVersion } = (await e2e().get(refOf(manifest))).status ?? {};
    await e2e().apply(manifest);
    await e2e().apply(route('same', [requestLimit('all', 100)], { team: 'blue' }));
    await e2e().cluster.mustKubectl(['annotate', 'modelroutes.weir.dev/same', 'note=hello', '--namespace', 'edits']);
    expect((await e2e().untilReady(refOf(manifest))).status?.configVersion).toBe(configVersion);
    expect(await passed('same', 60)).toBe(40);
  });

  test('trap 13: a change of the period, of when and of the policy keeps what was used', async () => {
    await useSixty('policy');
    await e2e().enforce(
      route('policy', [
        {
          ...requestLimit('all', 100, { when: [{ method: ['POST'] }] }),
          bucket: { maxTokens: 100, refillPeriod: '8784h' },
        },
      ]),
    );
    expect(await passed('policy', 60)).toBe(40);
  });

  test.each<[string, object]>([
    ['key parts', requestLimit('all', 100, { per: [{ header: 'x-team' }] })],
    ['the kind of limit', { name: 'all', measure: 'Requests', window: { limit: 100, period: 'Year' } }],
    ['the name', requestLimit('renamed', 100)],
  ])('a change of %s starts a new bucket', async (what, limit) => {
    const name = what.replaceAll(' ', '-');
    await useSixty(name);
    await e2e().enforce(route(name, [limit]));
    expect(await passed(name, 120, { 'x-team': 'blue' })).toBe(100);
  });

  test('trap 12: a limit that is removed is gone, and the other one keeps what was used', async () => {
    const [first, second] = [requestLimit('first', 10), requestLimit('second', 100)];
    await e2e().enforce(route('remove', [first, second]));
    expect(await passed('remove', 30)).toBe(10);
    await e2e().enforce(route('remove', [second]));
    expect(await passed('remove', 120)).toBe(90);
  });

  test('all limits removed: nothing is limited', async () => {
    await useSixty('unlimited');
    await e2e().apply(modelRoute('edits/unlimited', { modelName: MODEL, targets: [{ url: e2e().upstreamUrl }] }));
    await e2e().untilReady({ kind: 'ModelRoute', namespace: 'edits', name: 'unlimited' });
    expect(await passed('unlimited', 150)).toBe(150);
    expect((await one('unlimited')).headers).not.toHaveProperty('x-ratelimit-limit-requests');
  });

  test('deleted and made again: a fresh start', async () => {
    await useSixty('again');
    const manifest = route('again', [requestLimit('all', 100)]);
    await e2e().remove(refOf(manifest));
    await waitFor('404 at both limiters', async () => (await statuses('again')).every((s) => s === 404) || undefined, {
      deadlineMs: 10_000,
    });
    await e2e().enforce(manifest);
    expect(await passed('again', 120)).toBe(100);
  });

  const statuses = async (name: string): Promise<number[]> =>
    (await Promise.all([0, 1].map((at) => chat(e2e().base(at, 'edits', name), MODEL)))).map(({ status }) => status);

  test('the buckets of a removed limit go when they would be full', async () => {
    const quick = { name: 'quick', measure: 'Requests', bucket: { maxTokens: 5, refillPeriod: '2s' } };
    const before = await e2e().keys('edits');
    await e2e().enforce(route('expiry', [quick, requestLimit('slow', 100)]));
    expect(await passed('expiry', 3)).toBe(3);
    const made = (await e2e().keys('edits')).filter((key) => !before.includes(key));
    expect(made.length).toBeGreaterThanOrEqual(2);
    await e2e().enforce(route('expiry', [requestLimit('slow', 100)]));
    const bucketOf = (limit: string): string | undefined => made.find((key) => key.includes(`:${limit}:`));
    await waitFor(
      'the end of the bucket',
      async () => !(await e2e().keys('edits')).includes(bucketOf('quick') ?? '') || undefined,
      { deadlineMs: 10_000 },
    );
    expect(await e2e().keys('edits')).toContain(bucketOf('slow'));
  });

  test('a limit of 0 by a window blocks at once with 403, and 1 again leaves what was used', async () => {
    const limit = (amount: number): object => ({
      name: 'all',
      measure: 'Requests',
      window: { limit: amount, period: 'Year' },
    });
    await e2e().enforce(route('zero', [limit(100)]));
    expect(await passed('zero', 60)).toBe(60);
    await e2e().enforce(route('zero', [limit(0)]));
    expect(await one('zero')).toMatchObject({ status: 403, headers: { 'x-should-retry': 'false' } });
    await e2e().enforce(route('zero', [limit(100)]));
    expect(await passed('zero', 60)).toBe(40);
  });

  test('burst: raising it alone lets that much more pass', async () => {
    const limit = (burst: number): object => requestLimit('all', 100, { bucket: { ...slowBucket(100), burst } });
    await e2e().enforce(route('burst', [limit(100)]));
    expect(await passed('burst', 60)).toBe(60);
    await e2e().enforce(route('burst', [limit(150)]));
    expect(await passed('burst', 120)).toBe(90);
  });
});
