// End to end 6: operators and limiters that go and come back. Limiters decide without an operator, also after a
// restart of their own; what changed meanwhile is in force on its return; a status never says more than limiters
// acknowledge.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { waitFor } from '../../tools/node-cluster/wait.ts';
import type { Limiter } from '../rig/stack/weir-stack.ts';
import { conditionOf, describeEndToEnd, MODEL, type Expected, type WeirObject } from './harness.ts';
import { refOf, requestLimit, type Manifest } from './manifests.ts';
import { call, chat, flood, tally } from './traffic.ts';

/** A limiter that is lost must be told within this. */
const TOLD_WITHIN_MS = 30_000;

describeEndToEnd('the operator is gone', {}, (e2e) => {
  const route = (name: string, maxTokens: number): Manifest =>
    e2e().route(`gone/${name}`, { limits: [requestLimit('all', maxTokens)] });
  const windowed = (name: string): Manifest =>
    e2e().route(`gone/${name}`, {
      limits: [{ name: 'yearly', measure: 'Requests', window: { limit: 4, period: 'Year' } }],
    });
  const limiter = (place: number): Limiter => {
    const found = e2e().limiters[place];
    if (found === undefined) throw new Error(`no limiter at place ${place}`);
    return found;
  };
  /** Sends calls to one limiter; answers how many have each status. */
  const sendTo = async ({ url }: Limiter, name: string, calls: number): Promise<Record<number, number>> =>
    tally(await flood(calls, 8, () => chat(`${url}/gone/${name}`, MODEL)));
  const configsOf = async ({ adminUrl }: Limiter): Promise<Readonly<Record<string, string>>> =>
    (JSON.parse((await call(`${adminUrl}/config_dump`)).body) as { versions: Record<string, string> }).versions;
  const until = async (
    manifest: Manifest,
    type: string,
    expected: Expected,
    deadlineMs?: number,
  ): Promise<WeirObject> => await e2e().untilCondition(refOf(manifest), type, expected, deadlineMs);

  beforeAll(async () => {
    await e2e().makeNamespace('gone');
  });

  describe('killed, with edits made before its return', () => {
    let kept: WeirObject;

    beforeAll(async () => {
      kept = await e2e().enforce(route('kept', 100));
      for (const name of ['edited', 'deleted', 'small']) await e2e().enforce(route(name, 5));
      expect(await e2e().send('gone/kept', 20)).toEqual({ 200: 20 });
      expect(await e2e().send('gone/edited', 10)).toEqual({ 200: 5, 429: 5 });
      await e2e().operator.kill();
    });

    test('limiters keep deciding, exactly', async () => {
      expect(await e2e().send('gone/kept', 20)).toEqual({ 200: 20 });
      expect(await e2e().send('gone/small', 20)).toEqual({ 200: 5, 429: 15 });
    });

    test('a limiter that is killed and started again serves from its disk, the same configs', async () => {
      const one = limiter(1);
      const before = await configsOf(one);
      await one.server.kill();
      await one.server.start();
      await waitFor(
        'the limiter to be ready',
        async () => (await call(`${one.adminUrl}/readyz`)).status === 200 || undefined,
        { deadlineMs: 30_000 },
      );
      expect(await configsOf(one)).toEqual(before);
      expect(Object.keys(before)).toContain('ModelRoute/gone/kept');
      expect(await sendTo(one, 'kept', 20)).toEqual({ 200: 20 });
      expect(await sendTo(one, 'small', 5)).toEqual({ 429: 5 });
    });

    test('also one that was told to stop, and then both at once', async () => {
      await limiter(0).server.restart();
      await Promise.all(e2e().limiters.map(({ server }) => server.kill()));
      await Promise.all(e2e().limiters.map(({ server }) => server.start()));
      // 60 of 100 are used.
      expect(await e2e().send('gone/kept', 20)).toEqual({ 200: 20 });
      expect(await e2e().send('gone/small', 4)).toEqual({ 429: 4 });
    });

    test('edits made meanwhile wait for it; nothing of them is half in force', async () => {
      await e2e().apply(route('edited', 8), route('new', 3));
      await e2e().remove(refOf(route('deleted', 5)));
      expect(await e2e().send('gone/edited', 4)).toEqual({ 429: 4 });
      expect(await e2e().send('gone/new', 4)).toEqual({ 404: 4 });
      expect(await e2e().send('gone/deleted', 2)).toEqual({ 200: 2 });
      const { metadata, status } = await e2e().get(refOf(route('edited', 8)));
      expect([metadata.generation, status?.observedGeneration]).toEqual([2, 1]);
    });

    test('on its return all of them are in force, and nothing is lost', async () => {
      await e2e().operator.start();
      for (const manifest of [route('edited', 8), route('new', 3)]) await e2e().untilReady(refOf(manifest));
      expect(await e2e().send('gone/edited', 10)).toEqual({ 200: 3, 429: 7 });
      expect(await e2e().send('gone/new', 6)).toEqual({ 200: 3, 429: 3 });
      await waitFor('the removal', async () => (await e2e().send('gone/deleted', 4))[404] === 4 || undefined, {
        deadlineMs: 10_000,
      });
      // 80 of 100 are used.
      expect(await e2e().send('gone/kept', 40)).toEqual({ 200: 20, 429: 20 });
    });

    test('the status of what nobody touched is what it was, to the letter', async () => {
      const { metadata, status } = await e2e().untilReady(refOf(route('kept', 100)));
      expect([metadata.generation, status]).toEqual([1, kept.status]);
    });
  });

  describe('there, and a limiter lacks a capability', () => {
    let old: Limiter;

    beforeAll(async () => {
      // Both are there before the limiter comes: its first response carries both.
      await e2e().enforce(windowed('windowed'));
      await e2e().enforce(route('plain', 6));
      await e2e().enforce(route('changing', 6));
      old = await e2e().startLimiter({ id: 'old', flags: ['--without-capability=limit.window'] });
    });

    const rejected = { status: 'False', reason: 'Rejected', summary: '2/3' } as const;

    test("trap 41: its NACK is told: Programmed is False, Rejected, in the limiter's own words", async () => {
      const object = await until(windowed('windowed'), 'Programmed', rejected);
      const message = conditionOf(object, 'Programmed')?.message ?? '';
      expect(message).toMatch(/limiter \S*old: .*limit\.window/);
      expect(await e2e().weir.stack.log('old')).toContain(message.slice(message.indexOf(': ') + 2).slice(0, 40));
      expect(object.status?.limiters).toMatchObject({ desired: 3, synced: 2, rejected: 1 });
      expect(conditionOf(object, 'Ready')).toMatchObject({ status: 'False', reason: 'Rejected' });
      expect(conditionOf(object, 'Accepted')).toMatchObject({ status: 'True' });
      const metrics = (await call(`${e2e().weir.operatorAdminUrl}/metrics`)).body;
      expect(Number(/^weir_push_nacks_total (\d+)/m.exec(metrics)?.[1])).toBeGreaterThan(0);
    });

    test('the other objects of the same response are in force there, and say so', async () => {
      await until(route('plain', 6), 'Ready', { status: 'True', summary: '3/3' });
      expect(await sendTo(old, 'plain', 9)).toEqual({ 200: 6, 429: 3 });
      expect(await sendTo(old, 'windowed', 2)).toEqual({ 404: 2 });
      expect(await configsOf(old)).not.toHaveProperty('ModelRoute/gone/windowed');
    });

    test('trap 40: what was sent is not what is in force: its last good config goes on, and the others have the edit', async () => {
      await e2e().apply(windowed('changing'));
      const object = await until(windowed('changing'), 'Programmed', rejected);
      expect((await configsOf(limiter(0)))['ModelRoute/gone/changing']).toBe(object.status?.configVersion);
      expect((await configsOf(old))['ModelRoute/gone/changing']).not.toBe(object.status?.configVersion);
      expect(await sendTo(old, 'changing', 9)).toEqual({ 200: 6, 429: 3 });
      expect(await sendTo(limiter(0), 'changing', 6)).toEqual({ 200: 4, 429: 2 });
    });

    test('trap 42: a limiter that lacks something still gets every config that does not need it', async () => {
      await e2e().enforce(route('after', 3));
      expect(await e2e().send('gone/after', 6)).toEqual({ 200: 3, 429: 3 });
    });

    test('an edit that needs less ends the rejection; a limiter that can ends it too', async () => {
      await e2e().apply(route('changing', 7));
      await until(route('changing', 7), 'Programmed', { status: 'True', summary: '3/3' });
      await e2e().startLimiter({ id: 'old' });
      await until(windowed('windowed'), 'Programmed', { status: 'True', summary: '3/3' });
      expect(await sendTo(old, 'windowed', 6)).toEqual({ 200: 4, 429: 2 });
    });

    test('a limiter that says goodbye is no longer counted', async () => {
      await old.server.stop();
      await until(windowed('windowed'), 'Programmed', { status: 'True', summary: '2/2' });
    });
  });

  describe('there, and limiters are not', () => {
    const watched = (): Manifest => route('watched', 50);

    beforeAll(async () => {
      await e2e().enforce(watched());
    });
    afterAll(() => {
      for (const { server } of e2e().limiters) server.resume();
    });

    test('trap 40: a stopped limiter is told as 1/2, PartiallyProgrammed; continued, as 2/2', async () => {
      const { server } = limiter(1);
      const beganMs = performance.now();
      server.pause();
      const partial = { status: 'False', reason: 'PartiallyProgrammed', summary: '1/2' } as const;
      const object = await until(watched(), 'Programmed', partial, TOLD_WITHIN_MS);
      const told = performance.now();
      expect(conditionOf(object, 'Ready')).toMatchObject({ status: 'False', reason: 'PartiallyProgrammed' });
      // An edit reaches the one that runs.
      await e2e().apply(route('watched', 3));
      await until(route('watched', 3), 'Programmed', partial);
      expect(await sendTo(limiter(0), 'watched', 6)).toEqual({ 200: 3, 429: 3 });
      const resumedMs = performance.now();
      server.resume();
      await until(watched(), 'Programmed', { status: 'True', summary: '2/2' }, TOLD_WITHIN_MS);
      process.stdout.write(
        `a limiter stopped with SIGSTOP: told after ${(told - beganMs).toFixed(0)} ms; ` +
          `continued: told after ${(performance.now() - resumedMs).toFixed(0)} ms\n`,
      );
      expect(await sendTo(limiter(1), 'watched', 3)).toEqual({ 429: 3 });
    });

    test('without any limiter: NoLimiters; with two again: 2/2', async () => {
      await Promise.all(e2e().limiters.map(({ server }) => server.stop()));
      const none = { status: 'False', reason: 'NoLimiters', summary: '0/0' } as const;
      const object = await until(watched(), 'Programmed', none);
      expect(conditionOf(object, 'Ready')).toMatchObject({ status: 'False', reason: 'NoLimiters' });
      await e2e().apply(route('lonely', 3));
      await until(route('lonely', 3), 'Programmed', none);
      for (const place of [0, 1]) await limiter(place).server.start();
      await until(watched(), 'Ready', { status: 'True', summary: '2/2' });
      await until(route('lonely', 3), 'Ready', { status: 'True', summary: '2/2' });
      expect(await e2e().send('gone/lonely', 6)).toEqual({ 200: 3, 429: 3 });
    });
  });
});
