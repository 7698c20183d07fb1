// The memory store against the contract of every store, and what is its own: it forgets buckets that are full again.
import { describe, expect, test } from '@jest/globals';
import { ManualClock } from '../../../src/lib/clock.ts';
import { MemoryStore } from '../../../src/limiter/store/memory-store.ts';
import { START, storeContract } from './contract.ts';
import { bucket, SECOND, take, tokens } from './fixtures.ts';

const clock = new ManualClock(START);
const store = new MemoryStore(clock);

storeContract('memory', () => ({
  store,
  setTime: (micros) => {
    clock.advance(micros - clock.nowMicros());
    return Promise.resolve();
  },
}));

describe('memory store', () => {
  test('forgets buckets that are full again, a few with each operation', async () => {
    const own = new ManualClock(START);
    const small = new MemoryStore(own);
    for (let index = 0; index < 100; index++) await small.reserve(take([bucket(tokens(1, SECOND)), 1]));
    expect(small.size).toBe(100);
    own.advance(2 * SECOND);
    expect(small.size).toBe(100);
    own.advance(SECOND);
    const survivor = bucket(tokens(1, SECOND));
    for (let index = 0; index < 60; index++) await small.reserve(take([survivor, 1]));
    expect(small.size).toBe(1);
  });
});
