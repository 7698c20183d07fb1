// Trap 53 on a real Redis: what a refused caller costs while requests of others on the same bucket end, each with a
// refund.
import { expect, test } from '@jest/globals';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { systemClock } from '../../../src/lib/clock.ts';
import { silentLogger } from '../../../src/lib/log.ts';
import { createStore } from '../../../src/limiter/store/create-store.ts';
import type { Reservation } from '../../../src/limiter/store/store.ts';
import { describeOnRedis } from '../../rig/redis/describe-redis.ts';
import { startRedis, stopRedis, type RedisServer } from '../../rig/redis/redis-server.ts';
import { bucket, DAY, take, tokens, truth } from './fixtures.ts';

const REFUNDS = 1_500;
/** Of one key; beside it the first question and the probes of the connection. */
const QUESTIONS_PER_SECOND = 20;

async function scriptCalls(server: RedisServer): Promise<number> {
  return Number(/cmdstat_evalsha:calls=(\d+)/.exec(await server.ask('INFO commandstats'))?.[1] ?? 0);
}

describeOnRedis('trap 53: refusals under a stream of refunds, on a real Redis', () => {
  test('cost at most 20 Redis commands a second for each key, however many callers are refused', async () => {
    const server = await startRedis();
    const store = createStore(
      { namespace: 'team', store: { type: 'redis', redis: { address: server.address } } },
      { deadlineMs: 5_000, clock: systemClock, log: silentLogger() },
    );
    const spent = bucket(tokens(2 * REFUNDS, DAY));
    const open: Reservation[] = Array.from({ length: REFUNDS }, () => take([spent, 2]));
    await Promise.all(open.map((reservation) => store.reserve(reservation)));
    const before = await scriptCalls(server);
    const beganMs = performance.now();
    let refused = 0;
    for (const reservation of open) {
      // In turns of the event loop of their own, so that no refund and question share a call.
      const refund = store.settle(truth(reservation, [1]));
      await nextTurn();
      const answers = await Promise.all([1, 2, 3].map((more) => store.reserve(take([spent, REFUNDS + more]))));
      refused += answers.filter(({ outcome }) => outcome === 'refused').length;
      await refund;
    }
    const seconds = (performance.now() - beganMs) / 1_000;
    const questions = (await scriptCalls(server)) - before - REFUNDS;
    process.stdout.write(
      `${refused} refusals in ${seconds.toFixed(2)} s beside ${REFUNDS} refunds: ${questions} questions\n`,
    );
    expect(refused).toBe(3 * REFUNDS);
    expect(questions).toBeLessThanOrEqual(2 + QUESTIONS_PER_SECOND * seconds);
    await store.close();
    await stopRedis(server);
  });
});
