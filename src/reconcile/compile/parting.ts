// Reconcile, compile: the last config before the operator's default Redis goes with the operator. Input: a config,
// and how many limiters share its buckets. Output: the same limits without that Redis: each limiter enforces its
// share in its own memory.
import type { BucketRule, LimitConfig, LimiterConfig, WindowRule } from '../../contract/limiter-config.ts';
import { MAX_DURATION_MICROS } from '../../lib/values/duration.ts';

/**
 * All shares together are at most the limit, unless that is less than one request for each limiter: then each lets
 * one pass, since nobody is left who could give one limiter what another does not use.
 * @returns the config itself when its buckets are elsewhere and stay
 */
export function partingConfig(config: LimiterConfig, sharers: number): LimiterConfig {
  const { store, requires, limits } = config;
  if (store.type !== 'redis' || store.isDefault !== true) return config;
  return {
    ...config,
    requires: requires.filter((id) => !id.startsWith('store.')),
    store: { type: 'memory' },
    limits: limits.map((limit) => ({ ...limit, rule: shareOf(limit, Math.max(1, sharers)) })),
  };
}

function shareOf({ rule, cost }: LimitConfig, sharers: number): BucketRule | WindowRule {
  const amountOf = (whole: number): number => Math.min(whole, Math.max(1, cost, Math.floor(whole / sharers)));
  if (rule.kind === 'window') return { ...rule, limit: amountOf(rule.limit) };
  // The rate is exact: what is lost to whole tokens comes as a longer period.
  const maxTokens = Math.max(1, Math.floor(rule.maxTokens / sharers));
  const period = Math.ceil((rule.refillPeriodMicros / rule.maxTokens) * maxTokens * sharers);
  return { ...rule, maxTokens, refillPeriodMicros: Math.min(MAX_DURATION_MICROS, period), burst: amountOf(rule.burst) };
}
