// How many limiters share an object's buckets: told by the operator, of this object alone, and never taken for fewer
// in an outage.
import { beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  namespaceSharersNameOf,
  sharersNameOf,
  type FleetConfig,
  type LimiterConfig,
} from '../../../src/contract/limiter-config.ts';
import { storeIdOf } from '../../../src/contract/limiter-report.ts';
import { PersistentMap } from '../../../src/lib/persistent-map.ts';
import { SharerCounts, type Told } from '../../../src/limiter/decide/sharer-counts.ts';
import { PROOF_LASTS_MS } from '../../../src/limiter/store/redis-connection.ts';
import { compiled, limit, mcpRouting, modelRouting, rule } from '../fixtures.ts';
import { HOUR, tokens } from '../store/fixtures.ts';
import { Bench } from './decider-bench.ts';

const REDIS: LimiterConfig['store'] = { type: 'redis', redis: { address: 'redis.test:6379' }, isDefault: true };
const object = compiled({ store: REDIS, limits: [limit({ rule: tokens(7, HOUR), failurePolicy: 'Local' })] });
const OWN = sharersNameOf(object.config);
const NAMESPACE = namespaceSharersNameOf(object.config.namespace);
const STORE = storeIdOf(object.config) ?? '';
const SERVING = new Set([STORE]);

function told(fleet: Partial<FleetConfig>, sharers: Readonly<Record<string, number>> = {}): Told {
  let map = PersistentMap.empty<number>();
  for (const [name, count] of Object.entries(sharers)) map = map.with(name, count);
  return { fleet: { knownLimiters: 8, ...fleet }, sharers: map };
}

/** The counts of a limiter that was told something with its object. */
function counting(first: Told, mode: 'shared' | 'sidecar' = 'sidecar'): SharerCounts {
  const counts = new SharerCounts(mode, told({ knownLimiters: 1 }));
  counts.applied(first, [object], [OWN], []);
  return counts;
}

let nowMs = 0;
/** Looks once a second, until what was told before has been settled where the store serves. */
function look(counts: SharerCounts, serving: ReadonlySet<string>, ms = 3 * PROOF_LASTS_MS): void {
  for (let passed = 0; passed <= ms; passed += 1_000) {
    nowMs += 1_000;
    counts.looked(serving, nowMs);
  }
}

beforeEach(() => {
  nowMs = 0;
});

describe('the number', () => {
  test.each<[string, Told, 'shared' | 'sidecar', number]>([
    ['sidecars alone', told({ sharedLimiters: 0 }, { [OWN]: 3 }), 'sidecar', 3],
    ['sidecars and shared limiters', told({ sharedLimiters: 2 }, { [OWN]: 3, [NAMESPACE]: 1 }), 'sidecar', 6],
    ['the same, as a shared limiter sees it', told({ sharedLimiters: 2 }, { [OWN]: 3, [NAMESPACE]: 1 }), 'shared', 6],
    ['shared limiters alone', told({ sharedLimiters: 2 }), 'shared', 2],
    ['another object’s sidecars', told({ sharedLimiters: 1 }, { 'Sharers/serving/MCPServer.chat': 5 }), 'shared', 1],
    ['a sidecar that was not told yet', told({ sharedLimiters: 2 }), 'sidecar', 8],
    ['an operator of 0.2', told({}, { [OWN]: 3 }), 'sidecar', 8],
    ['nobody', told({ sharedLimiters: 0 }), 'shared', 1],
  ])('%s', (_name, first, mode, number) => {
    expect(counting(first, mode).of(object.resourceName)).toBe(number);
  });

  test('where sidecars send to their own pods they alone share: a shared limiter has no share', () => {
    const rules = [rule({ targets: [] })];
    for (const routing of [modelRouting({ rules }), mcpRouting({ targets: [] })]) {
      const own = compiled({ ...object.config, routing, ...(routing.kind === 'mcp' ? { kind: 'MCPServer' } : {}) });
      const first = told({ sharedLimiters: 2 }, { [sharersNameOf(own.config)]: 3, [NAMESPACE]: 1 });
      const [sidecar, shared] = (['sidecar', 'shared'] as const).map((mode) => {
        const counts = new SharerCounts(mode, first);
        counts.applied(first, [own], [OWN], []);
        return counts;
      });
      expect([sidecar!.of(own.resourceName), shared!.of(own.resourceName)]).toEqual([3, Infinity]);
      expect(shared!.all()).toEqual({ [own.resourceName]: 0 });
      // Without sidecars the shared limiters are the only ones; not before the store has served.
      shared!.applied(told({ sharedLimiters: 2 }), [], [OWN], []);
      look(shared!, new Set());
      expect(shared!.of(own.resourceName)).toBe(Infinity);
      look(shared!, SERVING);
      expect(shared!.of(own.resourceName)).toBe(2);
    }
  });

  test('rises at once and falls when the store has served since', () => {
    const counts = counting(told({ sharedLimiters: 0 }, { [OWN]: 3 }));
    counts.applied(told({ sharedLimiters: 0 }, { [OWN]: 5 }), [], [OWN], []);
    expect(counts.of(object.resourceName)).toBe(5);
    look(counts, SERVING);
    counts.applied(told({ sharedLimiters: 0 }, { [OWN]: 2 }), [], [OWN], []);
    expect(counts.of(object.resourceName)).toBe(5);
    // The first look may have found a write of before it was told.
    counts.looked(SERVING, (nowMs += 1_000));
    expect(counts.of(object.resourceName)).toBe(5);
    look(counts, SERVING);
    expect(counts.of(object.resourceName)).toBe(2);
  });

  test('what was told before the object came says nothing of it', () => {
    const counts = new SharerCounts('sidecar', told({ sharedLimiters: 0, knownLimiters: 6 }));
    counts.looked(SERVING, (nowMs += 1_000));
    counts.applied(told({ sharedLimiters: 0 }, { [OWN]: 3 }), [object], [OWN], []);
    look(counts, SERVING);
    expect(counts.of(object.resourceName)).toBe(3);
  });

  test('a rise that an outage follows at once stays, whatever is told in it', () => {
    const counts = counting(told({ sharedLimiters: 0 }, { [OWN]: 3 }));
    look(counts, SERVING);
    counts.applied(told({ sharedLimiters: 0 }, { [OWN]: 5 }), [], [OWN], []);
    counts.applied(told({ sharedLimiters: 0 }, { [OWN]: 2 }), [], [OWN], []);
    look(counts, new Set());
    expect(counts.of(object.resourceName)).toBe(5);
    counts.applied(told({ sharedLimiters: 4 }, { [OWN]: 2 }), [], ['Fleet/-/-'], []);
    expect(counts.of(object.resourceName)).toBe(6);
    counts.applied(told({ sharedLimiters: 4 }, { [OWN]: 2, [NAMESPACE]: 3 }), [], [NAMESPACE], []);
    counts.applied(told({ sharedLimiters: 0 }, { [OWN]: 1 }), [], [OWN, NAMESPACE], []);
    expect(counts.of(object.resourceName)).toBe(9);
    look(counts, SERVING);
    expect(counts.of(object.resourceName)).toBe(1);
  });

  test('never falls in an outage, whatever is told in it', () => {
    const counts = counting(told({ sharedLimiters: 0 }, { [OWN]: 4 }));
    look(counts, SERVING);
    for (const [count, effective] of [
      [1, 4],
      [9, 9],
      [2, 9],
    ] as const) {
      counts.applied(told({ sharedLimiters: 0 }, { [OWN]: count }), [], [OWN], []);
      look(counts, new Set());
      expect(counts.of(object.resourceName)).toBe(effective);
    }
    look(counts, SERVING);
    expect(counts.of(object.resourceName)).toBe(2);
  });

  test('an object whose store is away keeps its number; one whose store serves does not wait for it', () => {
    const other = compiled({
      ...object.config,
      name: 'other',
      store: { type: 'redis', redis: { address: 'b.test:1' } },
    });
    const counts = new SharerCounts('shared', told({ sharedLimiters: 4 }));
    counts.applied(told({ sharedLimiters: 4 }), [object, other], [OWN], []);
    counts.applied(told({ sharedLimiters: 2 }), [], [OWN], []);
    look(counts, SERVING);
    expect([counts.of(object.resourceName), counts.of(other.resourceName)]).toEqual([2, 4]);
    expect(counts.all()).toEqual({ [object.resourceName]: 2, [other.resourceName]: 4 });
    counts.applied(told({ sharedLimiters: 2 }), [], [], [other.resourceName]);
    expect(counts.all()).toEqual({ [object.resourceName]: 2 });
  });
});

describe('trap 52: a share is a part of what the sharers of the object have, not of the cluster', () => {
  test('3 sidecars of 8 limiters, a fresh bucket of 7: floor(7 / 3) x 3 = 6 pass, the rest is unavailable', async () => {
    const bench = new Bench();
    bench.store.isAway = true;
    let passed = 0;
    for (let sidecar = 0; sidecar < 3; sidecar++) {
      const counts = counting(told({ sharedLimiters: 0 }, { [OWN]: 3 }));
      const kinds = await bench.kinds(bench.decider({ sharersOf: ({ name }) => counts.of(name) }), object, 20);
      passed += kinds.filter((kind) => kind === 'allowed').length;
      expect(kinds.slice(2)).toEqual(Array.from({ length: 18 }, () => 'unavailable'));
    }
    expect(passed).toBe(6);
  });

  test('more sharers than units: nobody has a share, and it is no refusal by the limit', async () => {
    const bench = new Bench();
    bench.store.isAway = true;
    const counts = counting(told({ sharedLimiters: 0 }, { [OWN]: 8 }));
    const decision = await bench.ask(bench.decider({ sharersOf: ({ name }) => counts.of(name) }), object);
    expect(decision).toMatchObject({ kind: 'unavailable', degraded: 'Local' });
  });

  /**
   * Limiters come, go and start anew, all while the store is away, and are told of it late, early or never. The
   * operator's rule: a number is never smaller than that of the limiters that had reached the store when the outage
   * began, until the store serves again.
   */
  test('in an outage all limiters together admit at most the limit, whoever comes, goes or starts anew', async () => {
    const step = fc.oneof(
      fc.record({ what: fc.constant('ask' as const), who: fc.nat(9), calls: fc.integer({ min: 1, max: 12 }) }),
      fc.record({ what: fc.constant('tell' as const), who: fc.nat(9), count: fc.integer({ min: 1, max: 9 }) }),
      fc.record({ what: fc.constant('restart' as const), who: fc.nat(9) }),
      fc.record({ what: fc.constant('join' as const), who: fc.nat(9) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 6 }), fc.array(step, { maxLength: 40 }), async (sharers, steps) => {
        const bench = new Bench();
        const make = (isReached: boolean) => {
          const counts = counting(told({ sharedLimiters: 0 }, { [OWN]: sharers }));
          look(counts, isReached ? SERVING : new Set());
          const decider = bench.decider({ sharersOf: ({ name }) => counts.of(name) });
          return { counts, decider, isReached };
        };
        const limiters = Array.from({ length: sharers }, () => make(true));
        bench.store.isAway = true;
        let passed = 0;
        for (const { who, ...each } of steps) {
          const place = who % limiters.length;
          const limiter = limiters[place]!;
          bench.store.isReached = limiter.isReached;
          if (each.what === 'ask') {
            const kinds = await bench.kinds(limiter.decider, object, each.calls);
            passed += kinds.filter((kind) => kind === 'allowed').length;
          } else if (each.what === 'tell') {
            limiter.counts.applied(told({ sharedLimiters: 0 }, { [OWN]: each.count }), [], [OWN], []);
            look(limiter.counts, new Set());
          } else if (each.what === 'restart') limiters[place] = make(false);
          else limiters.push(make(false));
        }
        expect(passed).toBeLessThanOrEqual(7);
      }),
    );
  });
});
