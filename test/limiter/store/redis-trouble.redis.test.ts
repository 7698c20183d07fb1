// Redis slow, gone and back: every call ends within its deadline, nothing is charged behind a caller's back,
// settlements arrive.
import { expect, test } from '@jest/globals';
import type { RedisStore, RedisStoreOptions } from '../../../src/limiter/store/redis-store.ts';
import type { BucketRef } from '../../../src/limiter/store/store.ts';
import { waitFor } from '../../../tools/node-cluster/wait.ts';
import { describeOnRedis } from '../../rig/redis/describe-redis.ts';
import { startRedis, type RedisServer } from '../../rig/redis/redis-server.ts';
import { bucket, HOUR, take, tokens, truth } from './fixtures.ts';
import { redisStore } from './redis-fixtures.ts';

const SOON = { deadlineMs: 10_000, everyMs: 20 };
const DEADLINE_MS = 100;

interface Setup {
  readonly server: RedisServer;
  readonly store: RedisStore;
  readonly circuit: string[];
}

async function setUp(options: Partial<RedisStoreOptions> = {}, persistent = false): Promise<Setup> {
  const server = await startRedis({ persistent });
  const circuit: string[] = [];
  const store = redisStore(
    { address: server.address },
    { deadlineMs: DEADLINE_MS, onCircuit: (_endpoint, state) => circuit.push(state), ...options },
  );
  await waitFor('first decision', async () => await store.peek(take([bucket(tokens(1, HOUR)), 1])), SOON);
  return { server, store, circuit };
}

const reasonOf = async (call: Promise<unknown>): Promise<string> =>
  await call.then(
    () => 'answered',
    (error: unknown) => (error as { reason: string }).reason,
  );

async function left(store: RedisStore, ref: BucketRef): Promise<number> {
  const decision = await waitFor('the store', () => store.peek(take([ref, 0])), SOON);
  return decision.states[0]!.remaining;
}

describeOnRedis('Redis in trouble', () => {
  test('trap 9: a Redis that is silent costs a caller the deadline, then nothing: the circuit opens, and closes by itself', async () => {
    const { server, store, circuit } = await setUp();
    const one = bucket(tokens(10, HOUR));
    server.pause();
    for (let call = 0; call < 3; call++) {
      const begin = performance.now();
      expect(await reasonOf(store.reserve(take([one, 1])))).toBe('timeout');
      expect(performance.now() - begin).toBeLessThan(DEADLINE_MS * 5);
    }
    const begin = performance.now();
    expect(await reasonOf(store.reserve(take([one, 1])))).toBe('circuit-open');
    expect(performance.now() - begin).toBeLessThan(DEADLINE_MS / 2);
    server.resume();
    expect(await left(store, one)).toBe(10);
    expect(circuit).toEqual(['open', 'closed']);
    await store.close();
  });

  test('a script that Redis executes after its deadline does nothing', async () => {
    const { server, store } = await setUp();
    const one = bucket(tokens(10, HOUR));
    server.pause();
    expect(await reasonOf(store.reserve(take([one, 4])))).toBe('timeout');
    server.resume();
    expect(await left(store, one)).toBe(10);
    await store.close();
  });

  test('a Redis that is gone is told at once, and used again when it is back', async () => {
    const { server, store, circuit } = await setUp({}, true);
    const one = bucket(tokens(10, HOUR));
    expect((await store.reserve(take([one, 4]))).outcome).toBe('admitted');
    await server.kill();
    for (let call = 0; call < 4; call++)
      expect(['connection', 'timeout', 'circuit-open']).toContain(await reasonOf(store.reserve(take([one, 1]))));
    await waitFor('open', () => (circuit.includes('open') ? true : undefined), SOON);
    await server.start();
    expect(await left(store, one)).toBe(6);
    expect(circuit).toEqual(['open', 'closed']);
    await store.close();
  });

  test('settlements made while Redis is away arrive when it is back, once', async () => {
    const { server, store } = await setUp({}, true);
    const one = bucket(tokens(100, HOUR));
    const reservations = Array.from({ length: 5 }, () => take([one, 10]));
    for (const reservation of reservations) await store.reserve(reservation);
    await server.kill();
    for (const reservation of reservations) {
      expect(await store.settle(truth(reservation, [2]))).toMatchObject({ applied: true });
      expect(await store.settle(truth(reservation, [2]))).toMatchObject({ applied: true });
    }
    const late = take([one, 7]);
    expect(await store.report(late)).toMatchObject({ applied: true });
    await server.start();
    await waitFor('settled', async () => ((await left(store, one)) === 100 - 10 - 7 ? true : undefined), SOON);
    await store.close();
  });

  test('a settlement that Redis executed without being heard is not applied again', async () => {
    const { server, store } = await setUp({ deadlineMs: 1000 });
    const one = bucket(tokens(100, HOUR));
    const reservation = take([one, 50]);
    await store.reserve(reservation);
    await store.settle(truth(reservation, [20]));
    server.pause();
    const settlement = truth(reservation, [20]);
    expect(await store.settle(settlement)).toMatchObject({ applied: true }); // waits in the queue, under the same id
    server.resume();
    expect(await left(store, one)).toBe(80);
    await store.close();
    const again = redisStore({ address: server.address });
    expect(await again.settle(settlement)).toMatchObject({ applied: false });
    expect(await left(again, one)).toBe(80);
    await again.close();
  });

  test('a Redis that was never there is an outage like any other, and begins to count when it comes', async () => {
    const server = await startRedis();
    await server.kill();
    const store = redisStore({ address: server.address }, { deadlineMs: DEADLINE_MS });
    const one = bucket(tokens(10, HOUR));
    expect(['connection', 'timeout']).toContain(await reasonOf(store.reserve(take([one, 1]))));
    await server.start();
    expect(await left(store, one)).toBe(10);
    await store.close();
  });

  test('a closed store rejects, and closing twice is no error', async () => {
    const { store } = await setUp();
    const pending = reasonOf(store.reserve(take([bucket(tokens(1, HOUR)), 1])));
    await store.close();
    await store.close();
    expect(['connection', 'answered']).toContain(await pending);
    expect(await reasonOf(store.reserve(take([bucket(tokens(1, HOUR)), 1])))).toBe('connection');
    expect(await reasonOf(store.settle(truth(take([bucket(tokens(1, HOUR)), 1]), [0])))).toBe('connection');
  });
});
