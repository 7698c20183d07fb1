// Reservations of the decision API: settled by id, by their owner, within 10 minutes.
import { beforeEach, expect, test } from '@jest/globals';
import { REFUND } from '../../../src/limiter/decide/usage.ts';
import { ReservationRegistry, SETTLE_WITHIN_MS } from '../../../src/limiter/decision-api/reservation-registry.ts';
import { Bench, withLimits } from '../decide/decider-bench.ts';
import { HOUR, tokens } from '../store/fixtures.ts';

let bench: Bench;
let registry: ReservationRegistry;

beforeEach(() => {
  bench = new Bench();
  registry = new ReservationRegistry(1, () => bench.clock.monotonicMs());
});

async function added(id: string): Promise<void> {
  const { admission } = await bench.take(bench.decider(), withLimits({ rule: tokens(10, HOUR) }));
  registry.add(id, 'loopback', admission);
}

test('an unknown id, one that is too old, and one that was pushed out are unknown', async () => {
  for (const id of ['first', 'second', 'third']) await added(id);
  expect(await registry.settle('never', 'loopback', REFUND)).toBe('unknown');
  expect(await registry.settle('first', 'loopback', REFUND)).toBe('unknown');
  bench.clock.advance(SETTLE_WITHIN_MS * 1000 + 1000);
  expect(await registry.settle('third', 'loopback', REFUND)).toBe('unknown');
  expect(bench.store.calls).not.toContain('settle');
});

test('the first settlement wins, also of a decision that took nothing', async () => {
  await added('a');
  expect(await registry.settle('a', 'loopback', REFUND)).toBe('settled');
  expect(await registry.settle('a', 'loopback', REFUND)).toBe('repeated');
  registry.add('free', 'loopback');
  expect(await registry.settle('free', 'loopback', REFUND)).toBe('settled');
  expect(await registry.settle('free', 'loopback', REFUND)).toBe('repeated');
});
