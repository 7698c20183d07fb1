// End to end 1: one bucket, two limiters, many callers at once: exactly the bucket's content reaches the upstream,
// every refusal is well-formed, and the status tells who enforces what.
import OpenAI, { RateLimitError } from 'openai';
import { beforeAll, expect, test } from '@jest/globals';
import { waitFor } from '../../tools/node-cluster/wait.ts';
import { describeEndToEnd, type EndToEnd } from './harness.ts';
import { modelRoute, refOf, requestLimit } from './manifests.ts';
import { chat, flood, tally, type Answer } from './traffic.ts';

const TOTAL = 400;
const IN_FLIGHT = 64;

describeEndToEnd('exactly fifty', {}, (e2e) => {
  const route = (e: EndToEnd) =>
    modelRoute('fifty/llama', {
      modelName: 'llama-3-70b',
      targets: [{ url: e.upstreamUrl }],
      rateLimiting: {
        limits: [{ name: 'hourly', measure: 'Requests', bucket: { maxTokens: 50, refillPeriod: '1h' } }],
      },
    });
  let answers: Answer[] = [];

  beforeAll(async () => {
    const e = e2e();
    await e.makeNamespace('fifty');
    await e.enforce(route(e));
    const bases = [e.base(0, 'fifty', 'llama'), e.base(1, 'fifty', 'llama')];
    answers = await flood(TOTAL, IN_FLIGHT, (index) => chat(bases[index % 2]!, 'llama-3-70b'));
  }, 60_000);

  test('400 requests at 64 in flight over two limiters: exactly 50 reach the upstream', async () => {
    expect(tally(answers)).toEqual({ 200: 50, 429: 350 });
    expect(await e2e().upstreamCount()).toBe(50);
  });

  test('every refusal has the header set, all of it from the one bucket', () => {
    for (const { headers } of answers.filter(({ status }) => status === 429)) {
      expect(headers).toMatchObject({
        'content-type': expect.stringContaining('application/json'),
        'x-ratelimit-limit-requests': '50',
        'x-ratelimit-remaining-requests': '0',
        'x-ratelimit-reset-requests': expect.stringMatching(/^(1h0m0s|5\dm[\d.]+s)$/),
        'x-request-id': expect.stringMatching(/./),
        // A token comes back every 72 s: longer than a client should sit out.
        'x-should-retry': 'false',
      });
      const seconds = Number(headers['retry-after']);
      const milliseconds = Number(headers['retry-after-ms']);
      expect(Math.ceil(milliseconds / 1000)).toBe(seconds);
      expect(seconds).toBeGreaterThan(40);
      expect(seconds).toBeLessThanOrEqual(72);
    }
  });

  test('what passed carries the remaining amount, and none is told twice', () => {
    const remaining = answers
      .filter(({ status }) => status === 200)
      .map(({ headers }) => Number(headers['x-ratelimit-remaining-requests']));
    expect(remaining.sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, index) => index));
  });

  test('so far nobody had anything to warn of', async () => {
    for (const name of ['operator', 'limiter1', 'limiter2']) {
      const lines = (await e2e().weir.stack.log(name)).split('\n').filter((line) => line !== '');
      expect(lines.length).toBeGreaterThan(0);
      expect(lines.filter((line) => (JSON.parse(line) as { level: string }).level !== 'info')).toEqual([]);
    }
  });

  test('the official client reads the refusal', async () => {
    const client = new OpenAI({ baseURL: `${e2e().base(0, 'fifty', 'llama')}/v1`, apiKey: 'none', maxRetries: 0 });
    const asked = client.chat.completions.create({
      model: 'llama-3-70b',
      messages: [{ role: 'user', content: 'hello' }],
    });
    const error: unknown = await asked.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(RateLimitError);
    expect(error).toMatchObject({ status: 429, type: 'insufficient_quota', code: 'insufficient_quota', param: null });
    expect((error as RateLimitError).message).toContain('"hourly"');
  });

  test('conditions are true at this generation, and both limiters have acknowledged', async () => {
    const { metadata, status } = await e2e().untilReady(refOf(route(e2e())));
    expect(status).toMatchObject({
      observedGeneration: metadata.generation,
      configVersion: expect.stringMatching(/./),
      limitCount: 1,
      limiters: { desired: 2, synced: 2, rejected: 0, summary: '2/2' },
    });
    for (const type of ['Accepted', 'ResolvedRefs', 'Programmed', 'Ready']) {
      const condition = status?.conditions?.find((one) => one.type === type);
      expect(condition).toMatchObject({ type, status: 'True', observedGeneration: metadata.generation });
    }
    const printed = await e2e().cluster.mustKubectl(['get', 'modelroutes.weir.dev', '--namespace', 'fifty']);
    expect(printed).toMatch(/^NAME +MODEL +LIMITS +READY +LIMITERS +DEGRADED +REASON +AGE/);
    expect(printed).toMatch(/^llama +llama-3-70b +1 +True +2\/2 /m);
    const described = await e2e().cluster.mustKubectl([
      'describe',
      'modelroutes.weir.dev/llama',
      '--namespace',
      'fifty',
    ]);
    expect(described).toMatch(/Summary: +2\/2/);
  });

  test('from apply to the first refusal under a new limit', async () => {
    const e = e2e();
    const place = 'fifty/quick';
    const spec = (maxTokens: number): Record<string, unknown> => ({
      modelName: 'quick',
      targets: [{ url: e.upstreamUrl }],
      rateLimiting: { limits: [requestLimit('all', maxTokens)] },
    });
    await e.enforce(modelRoute(place, spec(1_000_000)));
    const base = e.base(1, 'fifty', 'quick');
    expect((await chat(base, 'quick')).status).toBe(200);
    const begin = performance.now();
    const applied = e.apply(modelRoute(place, spec(1))).then(() => performance.now());
    const refused = await waitFor(
      'the first refusal',
      async () => ((await chat(base, 'quick')).status === 429 ? performance.now() : undefined),
      { deadlineMs: 10_000, everyMs: 10 },
    );
    const stored = await applied;
    process.stdout.write(
      `from apply to the first refusal under a new limit: ${(refused - begin).toFixed(0)} ms from the start of kubectl, ` +
        `${(refused - stored).toFixed(0)} ms from its end\n`,
    );
    await e.untilReady(refOf(modelRoute(place, {})));
  });
});
