// Tests the line of a limit in the status: it speaks of the requests to which the limit applies (when, per, group),
// of what enforcement does to them, and of what happens without the store. A table, and the limiter's own verdict as
// the judge.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ownCapabilities } from '../../../src/contract/capabilities.ts';
import type { LimiterConfig, ObjectKind } from '../../../src/contract/limiter-config.ts';
import { compileRuntime } from '../../../src/limiter/compile/runtime.ts';
import { bucketKey } from '../../../src/limiter/decide/keys.ts';
import { applicableLimits } from '../../../src/limiter/decide/match.ts';
import type { RequestFacts } from '../../../src/limiter/decide/decision.ts';
import { presentForm } from '../../../src/reconcile/form.ts';
import { describeLimit } from '../../../src/reconcile/status/limit-text.ts';

const SETTINGS = { defaultStore: { type: 'redis', redis: { address: 'redis.weir:6379' } } } as const;
const BUCKET = { maxTokens: 60, refillPeriod: '1m' };
const ZERO = { limit: 0, period: 'Hour' };
const WHEN = [{ header: { name: 'x-tier', exact: 'free' } }];
const SKIP = [{ header: 'x-team', whenAbsent: 'Skip' }];

function configOf(rateLimiting: object, kind: ObjectKind = 'ModelRoute'): LimiterConfig {
  const authentication = { trustedHeaders: { user: 'x-user', application: 'x-app' }, trustedPeers: ['10.0.0.0/8'] };
  const spec = { ...(kind === 'ModelRoute' ? { modelName: 'm' } : {}), authentication, rateLimiting };
  const { config, problems } = presentForm({ kind, metadata: { name: 'a', namespace: 'n', uid: 'u' }, spec }, SETTINGS);
  expect(problems).toEqual([]);
  return config!;
}

/** The lines of all limits, without what happens in an outage unless it is asked for. */
function linesOf(rateLimiting: object, kind?: ObjectKind): string[] {
  const config = configOf(rateLimiting, kind);
  return config.limits.map((limit) => describeLimit(limit, config));
}

const withoutOutage = (line: string) => line.replace(/; while Redis does not answer: .*$/, '');
const bare = (limits: object[], common = {}) => linesOf({ ...common, limits }).map(withoutOutage);

describe('a limit of 0', () => {
  test.each([
    ['plain', {}, 'refuses every request: its limit is 0'],
    ['when', { when: WHEN }, 'refuses every request that its `when` matches: its limit is 0'],
    ['per', { per: [{ user: {} }] }, 'refuses every request: its limit is 0'],
    ['per with Skip', { per: SKIP }, 'refuses every request that has a header x-team: its limit is 0'],
    [
      'when and Skip',
      { when: WHEN, per: SKIP },
      'refuses every request that its `when` matches and that has a header x-team: its limit is 0',
    ],
    ['Shadow', { enforcement: 'Shadow' }, 'would refuse every request: its limit is 0'],
    [
      'Shadow and when',
      { enforcement: 'Shadow', when: WHEN },
      'would refuse every request that its `when` matches: its limit is 0',
    ],
    ['the first of a group', { group: 'tier' }, 'refuses every request: its limit is 0'],
  ])('%s', (_name, fields, line) => {
    expect(bare([{ name: 'stop', window: ZERO, ...fields }])).toEqual([line]);
  });

  test('in a group, after a tier with a condition, and after one without', () => {
    const tiers = [
      { name: 'premium', group: 'tier', priority: 10, when: WHEN, bucket: BUCKET },
      { name: 'others', group: 'tier', window: ZERO },
      { name: 'never', group: 'tier', priority: -1, window: ZERO },
    ];
    expect(bare(tiers).slice(1)).toEqual([
      'refuses every request that no earlier limit of group "tier" takes: its limit is 0',
      'never applies: limit "others" of group "tier" takes every request first; give this limit a higher priority, or the other one a `when`',
    ]);
  });

  test('a tier in Shadow takes nothing from an enforced one', () => {
    const tiers = [
      { name: 'trial', group: 'tier', priority: 10, enforcement: 'Shadow', bucket: BUCKET },
      { name: 'others', group: 'tier', window: ZERO },
    ];
    expect(bare(tiers)[1]).toBe('refuses every request: its limit is 0');
  });
});

describe('an amount', () => {
  test.each([
    [
      'bucket',
      { bucket: BUCKET },
      '60 per 1m for all callers together, at most 60 at once; up to 120 may pass in the first period',
    ],
    [
      'window',
      { window: { limit: 5, period: 'Day', timeZone: 'Europe/Berlin' } },
      '5 per calendar Day in Europe/Berlin for all callers together',
    ],
    [
      'for each',
      { per: [{ user: {} }], window: { limit: 5, period: 'Hour' } },
      '5 per calendar Hour in UTC for each user',
    ],
    [
      'combinations',
      {
        per: [{ claim: 'org.team' }, { header: 'X-Team' }, { clientIP: {} }, { constant: 'c' }],
        window: { limit: 5, period: 'Hour' },
      },
      '5 per calendar Hour in UTC for each combination of claim org.team, header x-team, client address',
    ],
    [
      'cost',
      { cost: 2, window: { limit: 5, period: 'Hour' } },
      '5 per calendar Hour in UTC for all callers together, 2 for each request',
    ],
    [
      'when',
      { when: WHEN, window: { limit: 5, period: 'Hour' } },
      'for every request that its `when` matches; 5 per calendar Hour in UTC for all callers together',
    ],
    [
      'Shadow',
      { enforcement: 'Shadow', window: { limit: 5, period: 'Hour' } },
      '5 per calendar Hour in UTC for all callers together; counts and reports, and never refuses',
    ],
    [
      'too small',
      { cost: 9, window: { limit: 5, period: 'Hour' } },
      'refuses every request: one costs 9, and the limit holds at most 5',
    ],
    [
      'too small, in Shadow, with when',
      { cost: 9, when: WHEN, enforcement: 'Shadow', bucket: BUCKET },
      'for every request that its `when` matches; 60 per 1m for all callers together, at most 60 at once, 9 for each request; up to 120 may pass in the first period; counts and reports, and never refuses',
    ],
    [
      'too small, in Shadow',
      { cost: 99, enforcement: 'Shadow', when: WHEN, bucket: BUCKET },
      'would refuse every request that its `when` matches: one costs 99, and the limit holds at most 60',
    ],
  ])('%s', (_name, fields, line) => {
    expect(bare([{ name: 'one', ...fields }])).toEqual([line]);
  });

  test('the short form of an MCP server names the tool', () => {
    const shared = { maxTokens: 10, refillPeriod: '1m' };
    const lines = linesOf({ scope: 'Local', shared, tools: [{ name: 'search', perUser: shared }] }, 'MCPServer');
    expect(lines).toEqual([
      '10 per 1m for all callers together, at most 10 at once; up to 20 may pass in the first period',
      'for every call of tool "search"; 10 per 1m for each user, at most 10 at once; up to 20 may pass in the first period',
    ]);
  });
});

describe('what happens without the store', () => {
  const outage = (rateLimiting: object) => linesOf(rateLimiting).map((line) => /while Redis .*$/.exec(line)?.[0]);
  const hour = { name: 'hour', window: { limit: 5, period: 'Hour' } };
  const day = { name: 'day', window: { limit: 5, period: 'Day' } };

  test('by default: per limit, and why', () => {
    expect(outage({ limits: [hour, day] })).toEqual([
      'while Redis does not answer: each limiter admits its share (failurePolicy Local, the default)',
      'while Redis does not answer: refuses with 503 (failurePolicy Closed, the default for windows of a Day or longer)',
    ]);
  });

  test('as the object says', () => {
    expect(outage({ failurePolicy: 'Open', limits: [hour, day] })).toEqual([
      'while Redis does not answer: admits without counting (failurePolicy Open)',
      'while Redis does not answer: admits without counting (failurePolicy Open)',
    ]);
    expect(outage({ failurePolicy: 'Closed', limits: [hour, day] })).toEqual([
      'while Redis does not answer: refuses with 503 (failurePolicy Closed)',
      'while Redis does not answer: refuses with 503 (failurePolicy Closed)',
    ]);
  });

  test('nothing of it for a limit in Shadow, a limit of 0, and a store in memory', () => {
    const limits = [
      { ...day, enforcement: 'Shadow' },
      { ...hour, window: ZERO },
    ];
    expect(outage({ limits })).toEqual([undefined, undefined]);
    expect(outage({ scope: 'Local', limits: [day] })).toEqual([undefined]);
  });
});

describe('what the limiter does', () => {
  const limit = fc.record({
    group: fc.constantFrom(undefined, 'a', 'b'),
    priority: fc.constantFrom(0, 1),
    enforcement: fc.constantFrom('Enforce', 'Shadow'),
    when: fc.subarray([{ header: { name: 'x-a', present: true } }, { header: { name: 'x-b', present: true } }]),
    per: fc.subarray([{ header: 'x-a', whenAbsent: 'Skip' }, { header: 'x-b' }]),
    window: fc.constantFrom({ limit: 0, period: 'Hour' }, { limit: 9, period: 'Hour' }),
  });
  const requests = [{}, { 'x-a': '1' }, { 'x-b': '1' }, { 'x-a': '1', 'x-b': '1' }].map((headers): RequestFacts => ({
    method: 'POST',
    host: '',
    path: '/',
    upstreamPath: '/',
    query: new URLSearchParams(),
    headers,
    peerAddress: '10.0.0.1',
    identity: { attributes: {}, clientAddress: '10.0.0.1' },
  }));

  test('a line without a condition is of a limit that applies to every request, and "never applies" is of none', () => {
    fc.assert(
      fc.property(fc.array(limit, { minLength: 1, maxLength: 5 }), (drawn) => {
        const limits = drawn.map(({ group, ...rest }, index) => ({
          name: `l${index}`,
          ...(group === undefined ? {} : { group }),
          ...rest,
        }));
        const config = configOf({ scope: 'Local', limits });
        const object = compileRuntime(config, ownCapabilities(), { egressAllow: [] });
        config.limits.forEach((each, index) => {
          const applies = requests.map((facts) =>
            applicableLimits(object.limitSet, facts).some(
              (runtime) => runtime === object.limitSet.limits[index] && bucketKey(runtime, facts) !== undefined,
            ),
          );
          const line = describeLimit(each, config);
          if (line.startsWith('never applies')) expect(applies).not.toContain(true);
          else if (!line.includes('every request that')) expect(applies).not.toContain(false);
        });
      }),
      { numRuns: 500 },
    );
  });
});
