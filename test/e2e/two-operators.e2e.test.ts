// End to end 7: two operators, of which one leads. Killed, told to stop, stopped and woken: no config is lost,
// limiters keep deciding, changes come into force, and the API server's audit log shows one writer at a time.
import { afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { waitFor } from '../../tools/node-cluster/wait.ts';
import { describeEndToEnd, type WeirObject } from './harness.ts';
import { refOf, requestLimit, type Manifest } from './manifests.ts';
import { isLeader, OperatorPair, type PairedOperator } from './operator-pair.ts';
import { call } from './traffic.ts';

/** After the leader was killed, a change is in force within this. */
const IN_FORCE_MS = 20_000;
/** After SIGTERM another leads within this. */
const HANDED_OVER_MS = 2_000;

describeEndToEnd('two operators', { audit: true, operator: false, limiters: 0 }, (e2e) => {
  let pair: OperatorPair;
  const route = (name: string, maxTokens: number): Manifest =>
    e2e().route(`pair/${name}`, { limits: [requestLimit('all', maxTokens)] });
  const enforced = (manifest: Manifest, deadlineMs?: number): Promise<WeirObject> =>
    e2e().untilReady(refOf(manifest), deadlineMs);
  /** What limiters hold, whatever the status says. */
  const configVersions = async (name: string): Promise<(string | undefined)[]> =>
    await Promise.all(
      e2e().limiters.map(async ({ adminUrl }) => {
        const { versions } = JSON.parse((await call(`${adminUrl}/config_dump`)).body) as {
          versions: Readonly<Record<string, string>>;
        };
        return versions[`ModelRoute/pair/${name}`];
      }),
    );
  const untilOnlyLabelled = async ({ name }: PairedOperator): Promise<void> => {
    await waitFor(
      `the label on ${name} alone`,
      async () => {
        const labelled = await pair.labelled();
        if (labelled.length === 1 && labelled[0] === name) return true;
        throw new Error(labelled.join(', '));
      },
      { deadlineMs: 5000, everyMs: 50 },
    );
  };

  beforeAll(async () => {
    await e2e().cluster.mustKubectl(['apply', '--server-side', '-f', 'deploy/leader-fence.yaml']);
    await e2e().makeNamespace('pair');
    pair = await OperatorPair.start(e2e());
    const second = pair.operators[1]?.pushPort ?? 0;
    for (const id of ['limiter1', 'limiter2']) {
      await e2e().startLimiter({ id, flags: ['--store-deadline', '2s', '--operator', `127.0.0.1:${second}`] });
    }
  }, 120_000);

  afterEach(async () => {
    for (const { server } of pair.operators) {
      if (server.pid() === undefined) await server.start();
    }
  });

  test('both are ready, one leads, and its pod has the label', async () => {
    await e2e().enforce(route('first', 10));
    expect(await e2e().send('pair/first', 20)).toEqual({ 200: 10, 429: 10 });
    const { leader, follower } = await pair.roles();
    for (const { adminUrl } of pair.operators) expect((await call(`${adminUrl}/readyz`)).status).toBe(200);
    expect([await isLeader(leader), await isLeader(follower)]).toEqual([true, false]);
    await untilOnlyLabelled(leader);
  });

  test('the API server refuses a status from the one that does not lead, as if it had been under way', async () => {
    const { leader, follower } = await pair.roles();
    const object = await e2e().enforce(route('refused', 10));
    const writeAs = async ({ kubeconfig }: PairedOperator): Promise<{ code: number | null; stderr: string }> =>
      await e2e().cluster.kubectl(['replace', '--subresource', 'status', '-f', '-'], {
        kubeconfig,
        input: JSON.stringify(object),
      });
    const late = await writeAs(follower);
    expect(late.code).not.toBe(0);
    expect(late.stderr).toContain('does not hold the Lease weir-system/weir-operator');
    expect(await writeAs(leader)).toMatchObject({ code: 0 });
  });

  test('SIGTERM hands over within 2 s', async () => {
    const { leader, follower } = await pair.roles();
    await e2e().enforce(route('handed', 10));
    const before = await pair.lease();
    const toldMs = Date.now();
    await leader.server.stop();
    const after = await pair.untilLeads(follower, 5000);
    expect(Date.parse(after.acquireTime) - toldMs).toBeLessThan(HANDED_OVER_MS);
    expect(after.leaseTransitions).toBe(before.leaseTransitions + 1);
    await untilOnlyLabelled(follower);
    expect(await e2e().send('pair/handed', 20)).toEqual({ 200: 10, 429: 10 });
    await e2e().apply(route('handed', 15));
    await enforced(route('handed', 15));
    expect(await e2e().send('pair/handed', 20)).toEqual({ 200: 5, 429: 15 });
  });

  describe('kill -9 of the leader in the middle of edits', () => {
    test('no config is lost, limiters decide, a change made meanwhile is in force within 20 s, a bad edit is not', async () => {
      const { leader, follower } = await pair.roles();
      const names = ['one', 'two', 'three', 'four', 'five'];
      for (const name of [...names, 'kept', 'bad']) await e2e().enforce(route(name, 10));
      const kept = await configVersions('kept');
      const uncompilable = requestLimit('all', 99, { when: [{ header: { name: 'x-tier', regex: '(?=gold)' } }] });
      const edits = names.map((name, index) => route(name, 20 + index));
      const bad = e2e().route('pair/bad', { limits: [uncompilable] });
      await e2e().apply(bad);
      await e2e().untilCondition(refOf(bad), 'Accepted', { status: 'False', reason: 'Invalid' });
      await e2e().apply(...edits.slice(0, 2));
      await leader.server.kill();
      const changedMs = Date.now();
      await e2e().apply(...edits.slice(2));
      expect(await e2e().send('pair/kept', 4)).toEqual({ 200: 4 });
      for (const edit of edits) await enforced(edit, IN_FORCE_MS + changedMs - Date.now());
      expect(await configVersions('kept')).toEqual(kept);
      expect(await e2e().send('pair/kept', 20)).toEqual({ 200: 6, 429: 14 });
      expect(await e2e().send('pair/three', 30)).toEqual({ 200: 22, 429: 8 });
      expect(await e2e().send('pair/bad', 20)).toEqual({ 200: 10, 429: 10 });
      await untilOnlyLabelled(follower);
    });
  });

  test('SIGSTOP for longer than the lease, then SIGCONT: nothing of the old one is written any more', async () => {
    const { leader, follower } = await pair.roles();
    const edited = [route('stopped', 10), route('woken', 10)];
    await e2e().apply(...edited);
    leader.server.pause();
    try {
      const { acquireTime } = await pair.untilLeads(follower, 20_000);
      leader.server.resume();
      await e2e().apply(route('woken', 12));
      for (const edit of [route('stopped', 10), route('woken', 12)]) await enforced(edit);
      await waitFor('the old one to know', async () => !(await isLeader(leader)) || undefined, { deadlineMs: 5000 });
      const sinceMs = Date.parse(acquireTime);
      const late = (await pair.writes()).filter(({ pod, atMs }) => pod === leader.name && atMs >= sinceMs);
      expect(late.filter(({ code }) => code < 300)).toEqual([]);
      const current = (await pair.writes()).filter(({ pod, code }) => pod === follower.name && code < 300);
      expect(current.some(({ atMs }) => atMs >= sinceMs)).toBe(true);
      await untilOnlyLabelled(follower);
      expect((await call(`${leader.adminUrl}/readyz`)).status).toBe(200);
    } finally {
      leader.server.resume();
    }
  });

  test('a cut network: the old one stops by itself before another leads, and nothing that it had sent is written when it arrives', async () => {
    const { leader, follower } = await pair.roles();
    const names = ['cut-one', 'cut-two', 'cut-three', 'cut-four'];
    for (const name of names) await e2e().enforce(route(name, 10));
    const edits = names.map((name) => route(name, 20));
    await e2e().apply(...edits.slice(0, 2));
    leader.network.stall();
    const changedMs = Date.now();
    try {
      await e2e().apply(...edits.slice(2));
      expect(await e2e().send('pair/first', 2)).toEqual({ 429: 2 });
      const { acquireTime } = await pair.untilLeads(follower, 20_000);
      expect(await isLeader(leader)).toBe(false);
      for (const edit of edits) await enforced(edit, IN_FORCE_MS + changedMs - Date.now());
      leader.network.heal();
      await e2e().apply(...names.map((name) => route(name, 30)));
      for (const name of names) await enforced(route(name, 30));
      expect(await e2e().send('pair/cut-four', 40)).toEqual({ 200: 30, 429: 10 });
      const sinceMs = Date.parse(acquireTime);
      const late = (await pair.writes()).filter(({ pod, atMs }) => pod === leader.name && atMs >= sinceMs);
      expect(late.filter(({ code }) => code < 300)).toEqual([]);
      await untilOnlyLabelled(follower);
      // It has seen what happened meanwhile, and can lead again.
      await follower.server.stop();
      await pair.untilLeads(leader, 5000);
      await e2e().apply(route('cut-one', 40));
      await enforced(route('cut-one', 40));
      expect(await e2e().send('pair/cut-two', 40)).toEqual({ 200: 30, 429: 10 });
    } finally {
      leader.network.heal();
    }
  });

  test('at no time of all this did two write', async () => {
    const writers = (await pair.writes()).filter(({ code }) => code < 300).map(({ pod }) => pod);
    const terms = writers.filter((pod, index) => pod !== writers[index - 1]);
    const { leaseTransitions } = await pair.lease();
    expect(terms.length).toBeLessThanOrEqual(leaseTransitions + 1);
    expect(terms.length).toBeGreaterThan(1);
  });
});
