// End to end 5: edits that are refused. What the API server refuses never happened; what only the status refuses
// leaves the last good config in force, also after the operator was killed and started again, and the status says so.
import { beforeAll, describe, expect, test } from '@jest/globals';
import { conditionOf, describeEndToEnd, type WeirObject } from './harness.ts';
import { refOf, requestLimit, slowBucket, type Manifest } from './manifests.ts';

const REDIS_REQUIRED =
  "rateLimiting with scope Shared requires Redis: set rateLimiting.redis or the operator's default";

describeEndToEnd('bad edits', {}, (e2e) => {
  beforeAll(async () => {
    await e2e().makeNamespace('bad');
  });

  const route = (name: string, limits: readonly object[], more: object = {}): Manifest =>
    e2e().route(`bad/${name}`, { limits, ...more });
  /** A limit that the API server admits: what is wrong with it is an expression that no limiter could compile. */
  const uncompilable = (maxTokens: number): object =>
    requestLimit('all', maxTokens, { when: [{ header: { name: 'x-team', regex: '(' } }] });
  const restartOperator = async (): Promise<void> => {
    await e2e().operator.kill();
    await e2e().operator.start();
  };
  const messageOf = (object: WeirObject, type: string): string => conditionOf(object, type)?.message ?? '';

  describe('that the API server refuses', () => {
    const good = (): Manifest => route('refused', [requestLimit('all', 100)]);
    let before: WeirObject;

    beforeAll(async () => {
      before = await e2e().enforce(good());
      expect(await e2e().send('bad/refused', 20)).toEqual({ 200: 20 });
    });

    test.each<[string, object, RegExp]>([
      [
        'the schema',
        { limits: [{ ...requestLimit('all', 1), bucket: { maxTokens: 0, refillPeriod: '1h' } }] },
        /spec\.rateLimiting\.limits\[0\]\.bucket\.maxTokens: .*greater than or equal to 1/,
      ],
      [
        'the pattern of a duration',
        { limits: [{ ...requestLimit('all', 1), bucket: { maxTokens: 1, refillPeriod: 'soon' } }] },
        /spec\.rateLimiting\.limits\[0\]\.bucket\.refillPeriod/,
      ],
      [
        'a CEL rule',
        { limits: [{ name: 'all', measure: 'Requests' }] },
        /exactly one of bucket, window or concurrency must be set/,
      ],
      ['another CEL rule', {}, /at least one of limits or adaptive must be configured/],
      [
        'an unknown field',
        { limits: [requestLimit('all', 1, { maxToken: 5 })] },
        /unknown field .*limits\[0\]\.maxToken/,
      ],
      [
        'a name that is there twice',
        { limits: [requestLimit('all', 1), requestLimit('all', 2)] },
        /spec\.rateLimiting\.limits\[1\]: Duplicate value/,
      ],
    ])(
      'by %s: kubectl tells the field, the object and its status stay as they were',
      async (_why, rateLimiting, told) => {
        const { code, stderr } = await e2e().tryApply(e2e().route('bad/refused', rateLimiting));
        expect([code, stderr]).toEqual([1, expect.stringMatching(told)]);
        const { metadata, spec, status } = await e2e().get(refOf(good()));
        expect([metadata.generation, spec, status]).toEqual([before.metadata.generation, before.spec, before.status]);
      },
    );

    test('the limits are still those of before, and so is what was used', async () => {
      expect(await e2e().send('bad/refused', 100)).toEqual({ 200: 80, 429: 20 });
    });
  });

  describe('that only the status can refuse', () => {
    const name = 'edited';
    let good: WeirObject;

    beforeAll(async () => {
      good = await e2e().enforce(route(name, [requestLimit('all', 100)]));
      expect(await e2e().send(`bad/${name}`, 20)).toEqual({ 200: 20 });
    });

    /** What the status must say while generation 1 is in force in the place of a later one that is invalid. */
    const isLastGood = async (generation: number, summary: string): Promise<void> => {
      const ref = refOf(route(name, []));
      const object = await e2e().untilCondition(ref, 'Programmed', { status: 'True', summary });
      expect(object.metadata.generation).toBe(generation);
      expect(object.status).toMatchObject({
        observedGeneration: generation,
        configVersion: good.status?.configVersion,
        limitCount: 1,
      });
      for (const type of ['Accepted', 'Ready']) {
        expect(conditionOf(object, type)).toMatchObject({
          status: 'False',
          reason: 'Invalid',
          observedGeneration: generation,
        });
        expect(messageOf(object, type)).toContain('spec.rateLimiting.limits[0].when[0].header.regex');
        expect(messageOf(object, type)).toContain(`generation ${generation} is not in effect; generation 1 still is`);
      }
      expect(messageOf(object, 'Programmed')).toContain('acknowledged generation 1, which is still in effect');
    };

    test('the last good config stays in force, and the status says so', async () => {
      await e2e().apply(route(name, [uncompilable(1000)]));
      await isLastGood(2, '2/2');
      expect(await e2e().send(`bad/${name}`, 20)).toEqual({ 200: 20 });
      const events = await e2e().cluster.mustKubectl([
        'get',
        'events.events.k8s.io',
        '--namespace',
        'bad',
        '-o',
        'json',
      ]);
      expect(events).toContain('"reason": "Invalid"');
    });

    test('also after the operator was killed and started again, and for a limiter that never saw it', async () => {
      await restartOperator();
      const late = await e2e().startLimiter({ id: 'late' });
      await isLastGood(2, '3/3');
      expect(await e2e().send(`bad/${name}`, 21)).toEqual({ 200: 21 });
      await late.server.stop();
    });

    test('also for an edit that was made while the operator was gone', async () => {
      await e2e().operator.kill();
      await e2e().apply(route(name, [uncompilable(2000)]));
      await e2e().operator.start();
      await isLastGood(3, '2/2');
      // 61 of 100 are used.
      expect(await e2e().send(`bad/${name}`, 60)).toEqual({ 200: 39, 429: 21 });
    });

    test('an edit that mends it is in force, and what was used is kept', async () => {
      const { metadata, status } = await e2e().enforce(route(name, [requestLimit('all', 110)]));
      expect([metadata.generation, status?.observedGeneration]).toEqual([4, 4]);
      expect(await e2e().send(`bad/${name}`, 20)).toEqual({ 200: 10, 429: 10 });
    });

    test('a field that this version does not enforce is named, and the last good config stays', async () => {
      const tokens = { name: 'tokens', measure: 'TotalTokens', bucket: slowBucket(5) };
      await e2e().enforce(route('later', [requestLimit('all', 3)]));
      const bad = route('later', [requestLimit('all', 100), tokens]);
      await e2e().apply(bad);
      const expected = { status: 'False', reason: 'NotSupported', summary: '2/2' } as const;
      const object = await e2e().untilCondition(refOf(bad), 'Accepted', expected);
      expect(messageOf(object, 'Accepted')).toContain('spec.rateLimiting.limits[1].measure');
      expect(await e2e().send('bad/later', 5)).toEqual({ 200: 3, 429: 2 });
    });

    test('an object that was never good is in force nowhere, and none of its limits says otherwise', async () => {
      const bad = route('never', [uncompilable(5)]);
      await e2e().apply(bad);
      const expected = { status: 'False', reason: 'Invalid' } as const;
      const { status } = await e2e().untilCondition(refOf(bad), 'Ready', expected);
      expect(status).toMatchObject({ limitCount: 0, limits: [{ name: 'all', state: 'NotEnforced' }] });
      expect(status).not.toHaveProperty('configVersion');
      expect(await e2e().send('bad/never', 4)).toEqual({ 404: 4 });
    });
  });

  describe('that only a limiter can refuse', () => {
    test('a Redis that the egress list does not cover is dialled by nobody: the config of before stays', async () => {
      await e2e().enforce(route('dials', [requestLimit('all', 3)]));
      const away = route('dials', [requestLimit('all', 100)], { redis: { address: '169.254.169.254:80' } });
      await e2e().apply(away);
      const expected = { status: 'False', reason: 'Rejected', summary: '0/2' } as const;
      const object = await e2e().untilCondition(refOf(away), 'Programmed', expected);
      expect(messageOf(object, 'Programmed')).toContain(
        `rateLimiting.redis.address host "169.254.169.254" is not covered by the operator's egress.allow`,
      );
      expect(await e2e().send('bad/dials', 5)).toEqual({ 200: 3, 429: 2 });
    });
  });

  describe('with an operator that has no default Redis', () => {
    const depending = (): Manifest => route('depending', [requestLimit('all', 10)]);
    const own = (more: object = { redis: { address: e2e().redisAddress } }): Manifest =>
      route('own', [requestLimit('all', 10)], more);

    beforeAll(async () => {
      await e2e().weir.startOperator({ defaultRedis: false });
    });

    test('a route of scope Shared that names no Redis says RedisRequired and is in force nowhere', async () => {
      await e2e().apply(depending());
      const expected = { status: 'False', reason: 'RedisRequired' } as const;
      const object = await e2e().untilCondition(refOf(depending()), 'Accepted', expected);
      expect(messageOf(object, 'Accepted')).toBe(REDIS_REQUIRED);
      expect(conditionOf(object, 'Ready')).toMatchObject(expected);
      expect(await e2e().send('bad/depending', 4)).toEqual({ 404: 4 });
    });

    test('a route that names its own is enforced over both limiters', async () => {
      await e2e().enforce(own());
      expect(await e2e().send('bad/own', 14)).toEqual({ 200: 10, 429: 4 });
    });

    test('an edit that takes its Redis away leaves the last good config in force', async () => {
      await e2e().apply(own({}));
      const expected = { status: 'False', reason: 'RedisRequired', summary: '2/2' } as const;
      const object = await e2e().untilCondition(refOf(own()), 'Accepted', expected);
      expect(messageOf(object, 'Accepted')).toContain('generation 2 is not in effect; generation 1 still is');
      expect(await e2e().send('bad/own', 4)).toEqual({ 429: 4 });
    });

    test('scope Local needs none: each limiter counts on its own, and nothing is written to Redis', async () => {
      const before = await e2e().keys('bad');
      await e2e().enforce(route('local', [requestLimit('all', 10)], { scope: 'Local' }));
      expect(await e2e().send('bad/local', 30)).toEqual({ 200: 20, 429: 10 });
      expect(await e2e().keys('bad')).toEqual(before);
    });

    test('with a default Redis again, all of them are enforced without an edit', async () => {
      await e2e().weir.startOperator();
      for (const manifest of [depending(), own()]) await e2e().untilReady(refOf(manifest));
      expect(await e2e().send('bad/depending', 14)).toEqual({ 200: 10, 429: 4 });
      // The same Redis under another name: what was used is still there.
      expect(await e2e().send('bad/own', 4)).toEqual({ 429: 4 });
    });
  });
});
