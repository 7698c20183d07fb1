// On a real node 4: a rolling restart of the workload under traffic: no call fails, none is unlimited, every charge
// is kept.
import { beforeAll, expect, test } from '@jest/globals';
import { chat, tally, type Answer } from '../e2e/traffic.ts';
import { describeInstalled } from './installed.ts';
import { namespace, sidecarRoute, workload } from './workloads.ts';

const SPACE = 'rolling';
/** More than the calls of the test, and slow: what is charged stays charged. */
const LIMIT = 100_000;
const LEAST_CALLS = 2000;

describeInstalled('a rolling restart', [namespace(SPACE, { 'weir.dev/inject': 'true' })], (weir) => {
  const answers: Answer[] = [];
  const failures: string[] = [];

  beforeAll(async () => {
    const { image } = weir();
    await weir().apply(
      ...workload({ namespace: SPACE, name: 'chat', image, replicas: 3 }),
      sidecarRoute(`${SPACE}/chat`, [
        { name: 'all', measure: 'Requests', bucket: { maxTokens: LIMIT, refillPeriod: '8000h' } },
      ]),
    );
    await weir().rolledOut(SPACE, 'chat');
    await weir().untilCondition(['modelroutes', SPACE, 'chat'], 'Ready', { status: 'True', summary: '3/3' });
  });

  test('goes on with traffic from its beginning to its end', async () => {
    const before = await weir().pods(SPACE, 'app=chat');
    const url = await weir().serviceUrl(SPACE, 'chat');
    let isOver = false;
    const caller = async (): Promise<void> => {
      while (!isOver || answers.length < LEAST_CALLS) {
        try {
          // A new connection now and then, as callers have it: kept ones never meet a new pod.
          answers.push(await chat(url, 'llama', answers.length % 5 === 0 ? { connection: 'close' } : {}));
        } catch (error) {
          failures.push(String(error));
        }
      }
    };
    const callers = Array.from({ length: 6 }, caller);
    await weir().restart(SPACE, 'chat');
    isOver = true;
    await Promise.all(callers);
    const after = await weir().pods(SPACE, 'app=chat');
    const uids = new Set(before.map(({ metadata }) => metadata.uid));
    expect(after.filter(({ metadata }) => uids.has(metadata.uid))).toEqual([]);
    expect(answers.length).toBeGreaterThanOrEqual(LEAST_CALLS);
  });

  test('no call fails', () => {
    expect(failures).toEqual([]);
    expect(tally(answers)).toEqual({ 200: answers.length });
  });

  test('none is unlimited, and each is charged once', async () => {
    const [last] = await weir().ask(SPACE, 'chat', 1);
    expect(last?.status).toBe(200);
    expect(Number(last?.headers['x-ratelimit-remaining-requests'])).toBe(LIMIT - answers.length - 1);
  });
});
