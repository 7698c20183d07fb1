// Compilation: what a limiter cannot run is refused with a text that names the field; what it runs is frozen.
import { describe, expect, test } from '@jest/globals';
import { ownCapabilities } from '../../../src/contract/capabilities.ts';
import type { LimitConfig, LimiterConfig, Match, RedisEndpoint } from '../../../src/contract/limiter-config.ts';
import { ConfigRejected } from '../../../src/limiter/config/config-rejected.ts';
import { compileRuntime } from '../../../src/limiter/compile/runtime.ts';
import { tokens, window } from '../store/fixtures.ts';
import { compiled, config, limit, mcpRouting, modelRouting, rule } from '../fixtures.ts';

function rejection(
  change: Partial<LimiterConfig>,
  egressAllow: readonly string[] = [],
  mode: 'shared' | 'sidecar' = 'shared',
): string {
  try {
    compileRuntime(config(change), ownCapabilities(), { egressAllow }, mode);
  } catch (error) {
    if (error instanceof ConfigRejected) return error.message;
    throw error;
  }
  return '';
}

const EGRESS_FIX = 'name a Service of this namespace, or have it listed';
const rejectedLimit = (change: Partial<LimitConfig>): string =>
  rejection({ limits: [limit(), limit({ name: 'b', ...change })] });
const rejectedWhen = (match: Partial<Match>): string => rejectedLimit({ when: [{ not: false, ...match }] });

describe('compilation refuses', () => {
  test('what needs more than this limiter has', () => {
    expect(rejection({ requires: ['limit.bucket', 'measure.cost', 'adaptive'] })).toBe(
      'this limiter lacks adaptive, measure.cost: upgrade it, or remove the fields that need them',
    );
  });

  test('a star beside names: it takes their requests too', () => {
    expect(rejection({ routing: modelRouting({ models: ['*', 'm'] }) })).toBe(
      'routing.models has "*" and names: "*" stands alone',
    );
    expect(rejection({ routing: modelRouting({ models: ['*'] }) })).toBe('');
  });

  test('a target that egress does not cover', () => {
    const routing = modelRouting({ rules: [rule({ targets: [{ url: 'http://evil.example', weight: 1 }] })] });
    expect(rejection({ routing })).toBe(
      'targets[0].url host "evil.example" is not covered by the operator\'s egress.allow: ' + EGRESS_FIX,
    );
    expect(rejection({ routing: mcpRouting({ targets: [{ url: 'http://127.0.0.1:1', weight: 1 }] }) })).toBe(
      'targets[0].url host "127.0.0.1" is not covered by the operator\'s egress.allow: ' + EGRESS_FIX,
    );
    expect(rejection({ routing }, ['evil.example'])).toBe('');
  });

  describe('a Redis that an object names', () => {
    const at = (address: string): Partial<LimiterConfig> => ({ store: { type: 'redis', redis: { address } } });

    test.each([
      'cache.serving.svc:6379',
      'cache.serving.svc.cluster.local:6379',
      'redis.example:6379',
      '10.1.2.3:6379',
    ])('%s is covered', (address) => {
      expect(rejection(at(address), ['redis.example', '10.0.0.0/8'])).toBe('');
    });

    test.each([
      ['redis.example:6379', 'redis.example'],
      ['cache.other.svc:6379', 'cache.other.svc'],
      ['cache:6379', 'cache'],
      ['127.0.0.1:6379', '127.0.0.1'],
      ['localhost:6379', 'localhost'],
      ['[::1]:6379', '::1'],
      ['169.254.169.254:80', '169.254.169.254'],
    ])('%s is not', (address, host) => {
      expect(rejection(at(address), ['*.corp.example', '10.0.0.0/8'])).toBe(
        `rateLimiting.redis.address host "${host}" is not covered by the operator's egress.allow: ${EGRESS_FIX}`,
      );
    });

    test('every address of a Cluster and of Sentinels is checked', () => {
      const addresses = ['10.0.0.1:1', '192.0.2.1:1'];
      const refused = (redis: RedisEndpoint): string => rejection({ store: { type: 'redis', redis } }, ['10.0.0.0/8']);
      expect(refused({ cluster: { addresses } })).toContain('rateLimiting.redis.cluster.addresses host "192.0.2.1"');
      expect(refused({ sentinel: { masterName: 'm', addresses } })).toContain(
        'redis.sentinel.addresses host "192.0.2.1"',
      );
    });

    test('the default of the operator is always allowed, and a sidecar dials what its pod may', () => {
      const redis = { address: '127.0.0.1:6379' };
      expect(rejection({ store: { type: 'redis', redis, isDefault: true } })).toBe('');
      expect(rejection({ store: { type: 'redis', redis } }, [], 'sidecar')).toBe('');
    });
  });

  test('a target of one of several rules, by the name of the rule', () => {
    const bad = rule({ name: 'b', targets: [{ url: 'file:///etc/passwd', weight: 1 }] });
    expect(rejection({ routing: modelRouting({ rules: [rule(), bad] }) })).toBe(
      'rules[1].targets[0].url must begin with http:// or https://',
    );
  });

  test.each([
    [
      { header: { name: 'x', regex: '(?=a)' } },
      /^limits\[1\]\.when\[0\]\.header\.regex "\(\?=a\)" is not an RE2 expression: /,
    ],
    [{ path: { regex: '(' } }, /^limits\[1\]\.when\[0\]\.path\.regex "\(" is not an RE2 expression: /],
    [{ path: { present: true } }, /^limits\[1\]\.when\[0\]\.path\.present does not apply/],
    [{ path: { exact: '/a%zz' } }, /^limits\[1\]\.when\[0\]\.path\.exact "\/a%zz" is not a path/],
    [
      { clientIP: ['10.0.0.0/8', '10.0.0.0/99'] },
      /^limits\[1\]\.when\[0\]\.clientIP needs CIDRs: "10\.0\.0\.0\/99" is not one/,
    ],
    [{ header: { name: 'x' } }, /^limits\[1\]\.when\[0\]\.header has no condition that this limiter knows/],
    [{}, /^limits\[1\]\.when\[0\] needs a known condition field/],
  ])('the condition %j', (match, message) => {
    expect(rejectedWhen(match)).toMatch(message);
  });

  test.each([
    [{ rule: window(5, 'Day', 'Mars/Olympus') }, 'limits[1].rule.timeZone "Mars/Olympus" is not a time zone'],
    [{ rule: { ...window(5, 'Day'), period: 'Fortnight' as 'Day' } }, 'limits[1].rule.period "Fortnight" is not'],
    [{ rule: window(-1, 'Day') }, 'limits[1].rule.limit -1 is not a whole number from 0'],
    [{ rule: window(2e12, 'Day') }, 'limits[1].rule.limit 2000000000000 is not'],
    [{ rule: tokens(0, 1) }, 'limits[1].rule.maxTokens 0 is not a whole number from 1'],
    [{ rule: tokens(1, 0) }, 'limits[1].rule.refillPeriodMicros 0 is not'],
    [{ rule: tokens(1, 1, 0) }, 'limits[1].rule.burst 0 is not'],
    [{ rule: { kind: 'leaky' } as never }, 'limits[1].rule.kind "leaky" is not bucket or window'],
    [{ measure: 'Cost' as const }, 'limits[1].measure "Cost" is not counted by this limiter'],
    [{ cost: 1.5 }, 'limits[1].cost 1.5 is not a whole number'],
    [{ priority: 0.5 }, 'limits[1].priority 0.5 is not'],
    [{ name: '' }, 'limits[1].name "" is not a name'],
    [{ name: 'all' }, 'limits[1].name "all" is there twice'],
    [{ failurePolicy: 'Maybe' as 'Open' }, 'limits[1].failurePolicy "Maybe" is not'],
    [{ enforcement: 'Later' as 'Shadow' }, 'limits[1].enforcement "Later" is not'],
    [{ per: [{ type: 'shoe', whenAbsent: 'Share' } as never] }, 'limits[1].per[0].type "shoe" is not'],
    [{ per: [{ type: 'header', whenAbsent: 'Share' } as never] }, 'limits[1].per[0].name undefined is not'],
    [{ per: [{ type: 'constant', whenAbsent: 'Share' } as never] }, 'limits[1].per[0].value undefined is not'],
    [{ per: [{ type: 'user', whenAbsent: 'Deny' } as never] }, 'limits[1].per[0].whenAbsent "Deny" is not'],
    [
      { per: [{ type: 'clientIP', whenAbsent: 'Share', prefixV4: 33 } as never] },
      'limits[1].per[0].prefixV4 33 is not',
    ],
  ] satisfies [Partial<LimitConfig>, string][])('the limit %j', (change, message) => {
    expect(rejectedLimit(change)).toContain(message);
  });

  test.each([
    [{ routing: modelRouting({ models: [] }) }, 'routing.models is empty'],
    [{ routing: modelRouting({ rules: [] }) }, 'routing.rules is empty'],
    [{ routing: modelRouting({ pathPrefix: 'v1' }) }, 'routing.pathPrefix "v1" is not a path'],
    [
      { routing: modelRouting({ rules: [rule({ targets: [{ url: 'http://a.serving.svc', weight: -1 }] })] }) },
      'targets[0].weight -1',
    ],
    [{ namespace: 'a}b' }, 'namespace "a}b" is not a DNS label'],
    [{ identity: { required: true, trustedHops: -1 } }, 'identity.trustedHops -1 is not'],
    [
      { identity: { required: true, trustedHops: 0, trustedHeaders: { attributes: {}, trustedPeers: ['x'] } } },
      'identity.trustedHeaders.trustedPeers: "x" is not a CIDR',
    ],
  ] satisfies [Partial<LimiterConfig>, string][])('%j', (change, message) => {
    expect(rejection(change)).toContain(message);
  });

  test('what is no config at all, and says so instead of failing otherwise', () => {
    const nonsense = { kind: 'ModelRoute', requires: [] } as unknown as LimiterConfig;
    expect(() => compileRuntime(nonsense, ownCapabilities(), { egressAllow: [] })).toThrow(ConfigRejected);
  });
});

describe('compilation', () => {
  test('trap 42: fields that this limiter does not know are ignored', () => {
    const future = { ...config(), hologram: { depth: 3 }, limits: [{ ...limit(), colour: 'red' }] };
    expect(compileRuntime(future, ownCapabilities(), { egressAllow: [] }).limitSet.limits).toHaveLength(1);
  });

  test('gives a form that nothing can change', () => {
    const object = compiled({ limits: [limit()] });
    expect(Object.isFrozen(object)).toBe(true);
    expect(Object.isFrozen(object.limitSet.limits[0]?.config.rule)).toBe(true);
    expect(Object.isFrozen(object.routing.rules)).toBe(true);
  });

  test('a regular expression that takes a backtracking engine forever ends', () => {
    const evil = compiled({ limits: [limit({ when: [{ not: false, header: { name: 'x', regex: '(a+)+b' } }] })] });
    const value = 'a'.repeat(5000);
    const facts = { headers: { x: value } } as never;
    expect(evil.limitSet.limits[0]?.applies(facts)).toBe(false);
  });
});
