// Changes to what is in force: applied as one step, answered one by one, the last good version kept.
import { describe, expect, test } from '@jest/globals';
import { FLEET_RESOURCE_NAME } from '../../../src/contract/limiter-config.ts';
import { ConfigApplier } from '../../../src/limiter/config/config-applier.ts';
import type { VersionedConfig } from '../../../src/limiter/config/config-source.ts';
import { HOUR, tokens } from '../store/fixtures.ts';
import { config, limit } from '../fixtures.ts';
import { LOOPBACK_FLEET, routeTo, versioned } from '../running.ts';

const NAME = 'ModelRoute/serving/chat';
const create = (withoutCapabilities: string[] = []): ConfigApplier =>
  new ConfigApplier({ route: { mode: 'shared' }, withoutCapabilities, egressAllow: [] }, () => undefined);
const route = (...amounts: number[]): VersionedConfig[] =>
  versioned(
    routeTo('http://127.0.0.1:1', {
      limits: amounts.map((amount, index) => limit({ name: `l${index}`, rule: tokens(amount, HOUR) })),
    }),
  );
const amountsOf = (applier: ConfigApplier): unknown =>
  applier.inForce.set.get(NAME)?.limitSet.limits.map(({ capacity }) => capacity);

describe('a change', () => {
  test('applies Fleet first: it says what the others may dial', () => {
    const applier = create();
    expect(applier.apply({ updates: route(1), removals: [] })).toMatchObject([{ name: NAME, accepted: false }]);
    const outcomes = applier.apply({ updates: [...route(1), LOOPBACK_FLEET], removals: [] });
    expect(outcomes.map(({ accepted }) => accepted)).toEqual([true, true]);
  });

  test('trap 12: removing one limit removes that one, an empty list all', () => {
    const applier = create();
    applier.apply({ updates: [LOOPBACK_FLEET, ...route(1, 2)], removals: [] });
    applier.apply({ updates: route(1), removals: [] });
    expect(amountsOf(applier)).toEqual([1]);
    applier.apply({ updates: route(), removals: [] });
    expect(amountsOf(applier)).toEqual([]);
  });

  test('that is refused leaves the last good version, the others of the change in force', () => {
    const applier = create();
    applier.apply({ updates: [LOOPBACK_FLEET, ...route(1)], removals: [] });
    const bad = route(-5);
    const other = versioned(config({ name: 'other', routing: { ...config().routing, pathPrefix: '/other' } as never }));
    const outcomes = applier.apply({ updates: [...bad, ...other], removals: [] });
    expect(outcomes).toMatchObject([
      { accepted: false, message: expect.stringContaining('limits[0]') },
      { name: 'ModelRoute/serving/other' },
    ]);
    expect(amountsOf(applier)).toEqual([1]);
    expect(applier.versions().get(NAME)).toBe(route(1)[0]?.version);
  });

  test('trap 41: a capability that is missing is a refusal in words', () => {
    const applier = create(['limit.bucket']);
    const needs = versioned(config({ requires: ['limit.bucket', 'measure.requests'] }));
    expect(applier.apply({ updates: needs, removals: [] })).toMatchObject([
      { accepted: false, message: expect.stringContaining('lacks limit.bucket') },
    ]);
  });

  test('whose name and content differ, or that is no config at all, is refused without harm', () => {
    const applier = create();
    const [update] = route(1);
    const wrong = [
      { ...update!, name: 'ModelRoute/serving/else' },
      { name: 'ModelRoute/serving/none', version: '1', resource: {} as never },
      { name: 'ModelRoute/serving/null', version: '1', resource: null as never },
      { name: FLEET_RESOURCE_NAME, version: '1', resource: update!.resource },
    ];
    const outcomes = applier.apply({ updates: wrong, removals: [] });
    expect(outcomes.map(({ accepted }) => accepted)).toEqual([false, false, false, false]);
    expect(applier.inForce.set.size).toBe(0);
  });

  test('removes, and removing what is not there is no error', () => {
    const applier = create();
    applier.apply({ updates: [LOOPBACK_FLEET, ...route(1)], removals: [] });
    expect(applier.apply({ updates: [], removals: [NAME, 'ModelRoute/serving/never'] })).toEqual([]);
    expect(applier.inForce.set.size).toBe(0);
    expect(applier.versions().has(NAME)).toBe(false);
  });
});

describe('the number of sharers', () => {
  const NAME = 'Sharers/serving/ModelRoute.chat';
  const sharers = (limiters: unknown, name = 'ModelRoute.chat'): VersionedConfig => ({
    name: NAME,
    version: String(limiters),
    resource: { kind: 'Sharers', namespace: 'serving', name, limiters } as VersionedConfig['resource'],
  });

  test('is held beside the objects, and changes none of them', () => {
    const applier = create();
    applier.apply({ updates: [LOOPBACK_FLEET, ...route(1), sharers(3)], removals: [] });
    const before = applier.inForce.set.get('ModelRoute/serving/chat');
    expect(applier.apply({ updates: [sharers(4)], removals: [] })).toEqual([
      { name: NAME, version: '4', accepted: true },
    ]);
    expect(applier.inForce.sharers.get(NAME)).toBe(4);
    expect(applier.inForce.set.get('ModelRoute/serving/chat')).toBe(before);
    applier.apply({ updates: [], removals: [NAME] });
    expect(applier.inForce.sharers.get(NAME)).toBeUndefined();
    expect([...applier.versions().keys()]).toEqual([FLEET_RESOURCE_NAME, 'ModelRoute/serving/chat']);
  });

  test.each([[-1], [1.5], ['3'], [undefined]])('%p is refused in words, and the last good one stays', (limiters) => {
    const applier = create();
    applier.apply({ updates: [sharers(3)], removals: [] });
    expect(applier.apply({ updates: [sharers(limiters)], removals: [] })).toMatchObject([
      { accepted: false, message: 'limiters must be at least 0' },
    ]);
    expect(applier.inForce.sharers.get(NAME)).toBe(3);
  });

  test('of another object under this name is refused, and no object hides under the name of Sharers', () => {
    const applier = create();
    expect(applier.apply({ updates: [sharers(3, 'ModelRoute.other')], removals: [] })).toMatchObject([
      { accepted: false },
    ]);
    const [object] = route(1);
    const outcomes = applier.apply({ updates: [{ ...object!, name: NAME }], removals: [] });
    expect(outcomes).toMatchObject([{ accepted: false, message: expect.stringContaining('another object') }]);
  });
});
