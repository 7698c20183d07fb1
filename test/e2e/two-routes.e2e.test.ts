// End to end 2: two ModelRoutes with one model name keep everything apart: numbers, buckets, Redis keys, lives. What
// matches nothing spends nothing, and of two that want the same requests one wins until it goes.
import { beforeAll, describe, expect, test } from '@jest/globals';
import { waitFor } from '../../tools/node-cluster/wait.ts';
import { describeEndToEnd } from './harness.ts';
import { modelRoute, refOf, requestLimit, type Manifest } from './manifests.ts';
import { startSidecar } from './sidecar.ts';
import { call, chat, flood, tally } from './traffic.ts';

const MODEL = 'llama';
const IN_FLIGHT = 32;

describeEndToEnd('two routes', {}, (e2e) => {
  const route = (place: string, limits: readonly object[], more: Record<string, unknown> = {}): Manifest =>
    modelRoute(place, {
      modelName: MODEL,
      targets: [{ url: e2e().upstreamUrl }],
      rateLimiting: { limits },
      ...more,
    });

  /** Sends calls to a base path over both limiters; answers how many have each status. */
  const send = async (
    path: string,
    calls: number,
    headers: Record<string, string> = {},
    model = MODEL,
  ): Promise<Record<number, number>> => {
    const urls = e2e().limiters.map(({ url }) => `${url}${path}`);
    return tally(await flood(calls, IN_FLIGHT, (index) => chat(urls[index % urls.length]!, model, headers)));
  };

  beforeAll(async () => {
    for (const name of ['blue', 'green', 'one', 'odd', 'pods']) await e2e().makeNamespace(name);
  });

  describe('with one model name in two namespaces', () => {
    test('trap 11: each keeps its own number and its own bucket (1.1)', async () => {
      await e2e().enforce(route('blue/llama', [requestLimit('all', 100)]));
      await e2e().enforce(route('green/llama', [requestLimit('all', 50)]));
      const before = await e2e().upstreamCount();
      const [blue, green] = await Promise.all([send('/blue/llama', 160), send('/green/llama', 160)]);
      expect(blue).toEqual({ 200: 100, 429: 60 });
      expect(green).toEqual({ 200: 50, 429: 110 });
      // A refused request never reaches an upstream (1.7).
      expect((await e2e().upstreamCount()) - before).toBe(150);
    });

    test('trap 11: their keys in Redis differ (1.2)', async () => {
      const [blue, green] = [await e2e().keys('blue'), await e2e().keys('green')];
      const { uid } = (await e2e().get({ kind: 'ModelRoute', namespace: 'blue', name: 'llama' })).metadata;
      expect(blue.filter((key) => key.includes(uid))).not.toEqual([]);
      expect(green.filter((key) => key.includes(uid))).toEqual([]);
    });

    test('update and delete of one leave the used amount of the other untouched (1.2)', async () => {
      const [kept, changed] = ['blue/kept', 'green/changed'];
      await e2e().enforce(route(kept, [requestLimit('all', 100)]));
      await e2e().enforce(route(changed, [requestLimit('all', 50)]));
      expect(await send(`/${kept}`, 30)).toEqual({ 200: 30 });
      expect(await send(`/${changed}`, 20)).toEqual({ 200: 20 });
      await e2e().enforce(route(changed, [requestLimit('all', 5)]));
      expect(await send(`/${kept}`, 30)).toEqual({ 200: 30 });
      await e2e().remove(refOf(route(changed, [])));
      await gone(`/${changed}`);
      expect(await send(`/${kept}`, 60)).toEqual({ 200: 40, 429: 20 });
    });
  });

  const gone = async (path: string): Promise<void> => {
    await waitFor(
      `404 at ${path}`,
      async () => {
        const counts = await send(path, e2e().limiters.length);
        return counts[404] === e2e().limiters.length || undefined;
      },
      { deadlineMs: 10_000 },
    );
  };

  describe('with one model name in one namespace', () => {
    const prefix = { pathPrefix: '/shared' };
    const premium = { rules: [{ name: 'premium', matches: { headers: [{ name: 'x-tier', exact: 'premium' }] } }] };

    test('and different matches: separate numbers, buckets and keys (1.1)', async () => {
      await e2e().enforce(route('one/premium', [requestLimit('all', 60)], { ...prefix, ...premium }));
      await e2e().enforce(route('one/standard', [requestLimit('all', 20)], prefix));
      const keysBefore = await e2e().keys('one');
      expect(await send('/shared', 100, { 'x-tier': 'premium' })).toEqual({ 200: 60, 429: 40 });
      expect(await send('/shared', 100)).toEqual({ 200: 20, 429: 80 });
      expect((await e2e().keys('one')).filter((key) => !keysBefore.includes(key)).length).toBeGreaterThanOrEqual(2);
    });

    test('update and delete of one leave the other untouched (1.2)', async () => {
      await e2e().enforce(route('one/standard', [requestLimit('all', 30)], prefix));
      expect(await send('/shared', 20, { 'x-tier': 'premium' })).toEqual({ 429: 20 });
      expect(await send('/shared', 20)).toEqual({ 200: 10, 429: 10 });
      await e2e().remove({ kind: 'ModelRoute', namespace: 'one', name: 'premium' });
      // Its requests now belong to the route that takes everything.
      await waitFor(
        'the removal',
        async () => {
          const answer = await chat(`${e2e().limiters[0]!.url}/shared`, MODEL, { 'x-tier': 'premium' });
          return answer.headers['x-ratelimit-limit-requests'] === '30' || undefined;
        },
        { deadlineMs: 10_000 },
      );
      expect(await send('/shared', 10)).toEqual({ 429: 10 });
    });
  });

  describe('with the same match', () => {
    const place = { pathPrefix: '/contested' };
    const winner = (): Manifest => route('one/winner', [requestLimit('all', 10)], place);
    const loser = (): Manifest => route('one/loser', [requestLimit('all', 25)], place);

    test('trap 14: the younger says Conflicted and names the winner, whose limit holds', async () => {
      await e2e().enforce(winner());
      // Age is told in whole seconds.
      const { creationTimestamp } = (await e2e().get(refOf(winner()))).metadata;
      await waitFor('another second', () => Date.now() >= Date.parse(creationTimestamp) + 1000 || undefined, {
        deadlineMs: 5000,
      });
      await e2e().apply(loser());
      const { status } = await e2e().untilCondition(refOf(loser()), 'Accepted', {
        status: 'False',
        reason: 'Conflicted',
      });
      expect(status?.conditions?.find(({ type }) => type === 'Accepted')?.message).toContain('winner');
      expect(status?.conditions?.find(({ type }) => type === 'Ready')).toMatchObject({
        status: 'False',
        reason: 'Conflicted',
      });
      await e2e().untilReady(refOf(winner()));
      expect(await send('/contested', 40)).toEqual({ 200: 10, 429: 30 });
    });

    test('the loser takes over when the winner goes', async () => {
      await e2e().remove(refOf(winner()));
      await e2e().untilReady(refOf(loser()));
      expect(await send('/contested', 40)).toEqual({ 200: 25, 429: 15 });
    });
  });

  describe('odd ones', () => {
    test('no rateLimiting: everything passes, the status says so (1.3)', async () => {
      const bare = modelRoute('odd/bare', { modelName: MODEL, targets: [{ url: e2e().upstreamUrl }] });
      const keys = await e2e().keys('odd');
      expect((await e2e().enforce(bare)).status?.limitCount).toBe(0);
      expect(await send('/odd/bare', 50)).toEqual({ 200: 50 });
      expect(await e2e().keys('odd')).toEqual(keys);
    });

    test('what is empty is refused with a clear message (1.3)', async () => {
      const nothing = await e2e().tryApply(route('odd/nothing', [], { rateLimiting: {} }));
      expect(nothing.stderr).toContain('at least one of limits or adaptive must be configured');
      const redis = { redis: {}, limits: [requestLimit('all', 1)] };
      const noRedis = await e2e().tryApply(route('odd/nothing', [], { rateLimiting: redis }));
      expect(noRedis.stderr).toContain('exactly one of address, sentinel or cluster must be set');
    });

    test('delete of something that was never seen harms nobody (1.3)', async () => {
      const manifest = route('odd/brief', [requestLimit('all', 5)]);
      await e2e().apply(manifest);
      await e2e().remove(refOf(manifest));
      const result = await e2e().cluster.kubectl(['delete', 'modelroutes.weir.dev', 'never', '--namespace', 'odd']);
      expect(result.stderr).toContain('NotFound');
      await gone('/odd/brief');
      expect(e2e().operator.pid()).toBeGreaterThan(0);
    });

    test('a failed match is 404 and spends nothing (1.6)', async () => {
      const rules = [{ name: 'chat', matches: { path: { prefix: '/v1/chat' }, methods: ['POST'] } }];
      await e2e().enforce(route('odd/ruled', [requestLimit('all', 10)], { rules }));
      const base = `${e2e().limiters[0]!.url}/odd/ruled`;
      const before = await e2e().upstreamCount();
      const misses = await flood(20, 4, () =>
        call(`${base}/v1/completions`, { body: { model: MODEL, prompt: 'hello' } }),
      );
      expect(tally(misses)).toEqual({ 404: 20 });
      expect(tally(await flood(5, 4, () => chat(base, 'another-model')))).toEqual({ 404: 5 });
      expect(await e2e().upstreamCount()).toBe(before);
      expect(await send('/odd/ruled', 20)).toEqual({ 200: 10, 429: 10 });
    });

    test('the target that is charged is the target that serves: one weighted draw (1.6)', async () => {
      const targets = [
        { url: `${e2e().upstreamUrl}/a`, weight: 1 },
        { url: `${e2e().upstreamUrl}/b`, weight: 1 },
      ];
      await e2e().enforce(route('odd/weights', [requestLimit('all', 60)], { targets }));
      const before = (await ledger()).length;
      expect(await send('/odd/weights', 80)).toEqual({ 200: 60, 429: 20 });
      const paths = (await ledger()).slice(before).map(({ path }) => path);
      expect(paths).toHaveLength(60);
      const toA = paths.filter((path) => path.startsWith('/a/')).length;
      expect(toA).toBeGreaterThan(10);
      expect(toA).toBeLessThan(50);
    });

    test('a model named like a route cannot reach that route (1.11)', async () => {
      await e2e().enforce(route('odd/target', [requestLimit('all', 10)]));
      const names = ['odd/target', 'ModelRoute/odd/target', 'blue/llama', MODEL.toUpperCase()];
      const answers = await flood(names.length, 2, (at) =>
        chat(`${e2e().limiters[0]!.url}/odd/target`, names[at] ?? ''),
      );
      expect(tally(answers)).toEqual({ 404: names.length });
      // Servers take blanks off the name of a model: it is the same model, and counted.
      expect((await chat(`${e2e().limiters[0]!.url}/odd/target`, `${MODEL} `)).status).toBe(200);
      expect(await send('/odd/target', 15)).toEqual({ 200: 9, 429: 6 });
    });

    test('a route of LoRA adapters alone is limited too (1.11)', async () => {
      const lora = modelRoute('odd/lora', {
        loraAdapters: ['legal-v2', 'medical-v1'],
        targets: [{ url: e2e().upstreamUrl }],
        rateLimiting: { limits: [requestLimit('all', 10, { per: [{ model: {} }] })] },
      });
      await e2e().enforce(lora);
      expect(await send('/odd/lora', 15, {}, 'legal-v2')).toEqual({ 200: 10, 429: 5 });
      expect(await send('/odd/lora', 15, {}, 'medical-v1')).toEqual({ 200: 10, 429: 5 });
      expect(await send('/odd/lora', 3)).toEqual({ 404: 3 });
    });
  });

  const ledger = async (): Promise<readonly { readonly path: string }[]> =>
    JSON.parse((await call(`${e2e().upstreamUrl}/ledger`)).body) as { path: string }[];

  test('on a sidecar, what belongs to no route is not refused; what a route claims is (1.8)', async () => {
    const labels = { app: 'vllm' };
    const sidecar = await startSidecar(e2e(), {
      namespace: 'pods',
      pod: 'vllm-0',
      labels,
      upstream: e2e().upstreamUrl,
    });
    const rules = [{ name: 'chat', matches: { path: { prefix: '/v1/chat' } } }];
    const manifest = route('pods/llama', [requestLimit('all', 10)], {
      rules,
      targets: undefined,
      workloadSelector: { matchLabels: labels },
    });
    await e2e().apply(manifest);
    await e2e().untilCondition(refOf(manifest), 'Programmed', { status: 'True', summary: '3/3' });
    const { url } = sidecar;
    expect(tally(await flood(15, 4, () => chat(url, MODEL)))).toEqual({ 200: 10, 429: 5 });
    expect(tally(await flood(20, 4, () => chat(url, 'another-model')))).toEqual({ 200: 20 });
    expect((await call(`${url}/metrics`)).status).not.toBe(429);
    // A model that the route claims, with no matching rule.
    const body = { model: MODEL, prompt: 'hello' };
    expect((await call(`${url}/v1/completions`, { body })).status).toBe(404);
  });
});
