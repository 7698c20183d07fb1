// The last config before an uninstall: what all limiters admit together is at most what the limit admits, except that
// each admits at least one request, and nothing else of the config changes.
import fc from 'fast-check';
import { describe, expect, test } from '@jest/globals';
import type {
  BucketRule,
  LimitConfig,
  LimiterConfig,
  StoreConfig,
  WindowRule,
} from '../../src/contract/limiter-config.ts';
import { partingConfig } from '../../src/reconcile/compile/parting.ts';

const TRIAL: StoreConfig = { type: 'redis', isDefault: true, redis: { address: 'weir-redis:6379' } };

function configWith(store: StoreConfig, rule: BucketRule | WindowRule, cost = 1): LimiterConfig {
  const limit = {
    name: 'all',
    measure: 'Requests',
    rule,
    cost,
    per: [],
    when: [],
    priority: 0,
  } as unknown as LimitConfig;
  const requires = ['limit.bucket', 'store.redis', 'store.redis-auth'];
  return {
    kind: 'ModelRoute',
    namespace: 'n',
    name: 'x',
    requires,
    store,
    limits: [limit],
  } as unknown as LimiterConfig;
}

function shareOf(rule: BucketRule | WindowRule, sharers: number, cost = 1): BucketRule | WindowRule {
  return partingConfig(configWith(TRIAL, rule, cost), sharers).limits[0]!.rule;
}

const amount = fc.integer({ min: 1, max: 1_000_000 });
const sharers = fc.integer({ min: 1, max: 1000 });
const period = fc.integer({ min: 1000, max: 8784 * 3_600_000 }).map((ms) => ms * 1000);

describe('with buckets in the Redis that goes', () => {
  test('shares of a token bucket add up to it, at once and over time, or each is one request', () => {
    fc.assert(
      fc.property(amount, amount, period, sharers, (maxTokens, burst, refillPeriodMicros, n) => {
        const share = shareOf({ kind: 'bucket', maxTokens, burst, refillPeriodMicros }, n) as BucketRule;
        expect(share.burst * n <= burst || share.burst === 1).toBe(true);
        const rate = (n * share.maxTokens) / share.refillPeriodMicros;
        const least = (n * 1) / (8784 * 3_600_000_000);
        expect(rate).toBeLessThanOrEqual(Math.max(maxTokens / refillPeriodMicros, least) * (1 + 1e-9));
        expect(rate).toBeGreaterThan((maxTokens / refillPeriodMicros) * 0.999 - 1e-12);
        for (const value of [share.burst, share.maxTokens, share.refillPeriodMicros]) {
          expect(Number.isSafeInteger(value) && value >= 1).toBe(true);
        }
      }),
    );
  });

  test('shares of a window add up to it, or each is one request; 0 stays 0', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1_000_000 }), sharers, (limit, n) => {
        const share = shareOf({ kind: 'window', limit, period: 'Day', timeZone: 'UTC' }, n) as WindowRule;
        expect(share.limit * n <= limit || share.limit === 1).toBe(true);
        expect(share.limit === 0).toBe(limit === 0);
      }),
    );
  });

  test.each([
    [20, 3, 5, 6],
    [20, 3, 8, 8],
    [20, 0, 1, 20],
    [20, 100, 30, 1],
  ])('of %i for %i limiters, a request of %i fits the share if it fitted the limit: %i', (burst, n, cost, expected) => {
    const rule: BucketRule = { kind: 'bucket', maxTokens: burst, burst, refillPeriodMicros: 1_000_000 };
    const share = shareOf(rule, n, cost) as BucketRule;
    expect(share.burst).toBe(cost > burst ? burst : expected);
  });

  test('needs nothing of a store any more', () => {
    const rule: WindowRule = { kind: 'window', limit: 5, period: 'Hour', timeZone: 'UTC' };
    const { store, requires } = partingConfig(configWith(TRIAL, rule), 2);
    expect([store, requires]).toEqual([{ type: 'memory' }, ['limit.bucket']]);
  });
});

test.each<[string, StoreConfig]>([
  ['in memory', { type: 'memory' }],
  ['in a Redis of the object', { type: 'redis', redis: { address: 'redis:6379' } }],
])('a config with buckets %s is the same', (_where, store) => {
  const config = configWith(store, { kind: 'window', limit: 5, period: 'Hour', timeZone: 'UTC' });
  expect(partingConfig(config, 3)).toBe(config);
});
