// What a limiter says of its stores and upstreams: not at the first sign, not at every turn, and only when it is
// something else.
import { describe, expect, test } from '@jest/globals';
import type { LimiterReport } from '../../../src/contract/limiter-report.ts';
import { HealthWatch } from '../../../src/limiter/health/health-watch.ts';
import { BAD_TO_TELL, GOOD_TO_TELL, StoreHealth } from '../../../src/limiter/store/store-health.ts';
import type { Examination, Store } from '../../../src/limiter/store/store.ts';
import { FORGET_UNCLAIMED_MS, UnclaimedModels } from '../../../src/limiter/health/unclaimed-models.ts';
import { CALM_MS, FAILURES_TO_TELL, FORGET_MS, UpstreamHealth } from '../../../src/limiter/health/upstream-health.ts';

const GOOD: Examination = { reachable: true, detail: '' };
const BAD: Examination = { reachable: false, detail: 'ECONNREFUSED' };

function noted(...examinations: Examination[]): StoreHealth {
  const health = new StoreHealth('s');
  for (const each of examinations) health.note(each);
  return health;
}
const times = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value);

describe('a store', () => {
  test('is unreachable after some bad examinations in a row, not after fewer', () => {
    expect(noted(...times(BAD_TO_TELL - 1, BAD)).trouble).toBeUndefined();
    expect(noted(...times(BAD_TO_TELL - 1, BAD), GOOD, ...times(BAD_TO_TELL - 1, BAD)).trouble).toBeUndefined();
    expect(noted(...times(BAD_TO_TELL, BAD)).trouble).toEqual({
      store: 's',
      kind: 'unreachable',
      detail: 'ECONNREFUSED',
    });
  });

  test('is well again after more good ones in a row: one that comes and goes stays in trouble', () => {
    const gone = times(BAD_TO_TELL, BAD);
    expect(noted(...gone, ...times(GOOD_TO_TELL - 1, GOOD)).trouble).toBeDefined();
    expect(noted(...gone, ...times(10, [...times(GOOD_TO_TELL - 1, GOOD), BAD]).flat()).trouble).toBeDefined();
    expect(noted(...gone, ...times(GOOD_TO_TELL, GOOD)).trouble).toBeUndefined();
  });

  test('keeps the first words of an outage that shows in several ways', () => {
    const other = { ...BAD, detail: 'no answer in time' };
    expect(noted(...times(BAD_TO_TELL, BAD), other, other).trouble?.detail).toBe('ECONNREFUSED');
    const turns = times(10, [other, BAD, BAD]).flat();
    expect(noted(...times(BAD_TO_TELL, BAD), ...turns).trouble?.detail).toBe('ECONNREFUSED');
  });

  test('takes other words that stay: a server that comes back as a replica', () => {
    const replica = { ...BAD, detail: "READONLY You can't write against a read only replica." };
    expect(noted(...times(BAD_TO_TELL, BAD), ...times(BAD_TO_TELL, replica)).trouble?.detail).toBe(replica.detail);
  });

  test('evicts until it says otherwise; an examination that did not ask changes nothing', () => {
    const evicts = { ...GOOD, evictionPolicy: 'allkeys-lru' };
    expect(noted(evicts, GOOD).trouble).toEqual({ store: 's', kind: 'evicts', detail: 'maxmemory-policy allkeys-lru' });
    expect(noted(evicts, { ...GOOD, evictionPolicy: 'noeviction' }).trouble).toBeUndefined();
  });
});

describe('an upstream', () => {
  const [OBJECT, URL] = ['ModelRoute/a/r', 'http://u.test:8000/base'];
  const dead = (): UpstreamHealth => {
    const health = new UpstreamHealth();
    for (let call = 0; call < FAILURES_TO_TELL; call++) health.unreachable(OBJECT, URL, call, 'refused');
    return health;
  };

  test('is told after some failures in a row, without its path', () => {
    expect(dead().troubles(10)).toEqual([
      { object: OBJECT, upstream: 'http://u.test:8000', detail: 'accepts no connections' },
    ]);
  });

  test('of which an answer between makes none', () => {
    const health = new UpstreamHealth();
    for (let call = 0; call < 10; call++) {
      for (let again = 1; again < FAILURES_TO_TELL; again++) health.unreachable(OBJECT, URL, call, 'refused');
      health.answered(OBJECT, URL);
    }
    expect(health.troubles(10)).toEqual([]);
  });

  test('that answers again is taken back after a calm while, not before', () => {
    const health = dead();
    health.answered(OBJECT, URL);
    expect(health.troubles(CALM_MS / 2)).toHaveLength(1);
    health.unreachable(OBJECT, URL, CALM_MS, 'refused');
    health.answered(OBJECT, URL);
    expect(health.troubles(CALM_MS + CALM_MS / 2)).toHaveLength(1);
    expect(health.troubles(3 * CALM_MS)).toEqual([]);
  });

  test('of which nothing is heard, or whose object is gone, is forgotten', () => {
    expect(dead().troubles(FORGET_MS)).toHaveLength(1);
    expect(dead().troubles(2 * FORGET_MS)).toEqual([]);
    const health = dead();
    health.forget('ModelRoute/a/other');
    expect(health.troubles(10)).toHaveLength(1);
    health.forget(OBJECT);
    expect(health.troubles(10)).toEqual([]);
  });

  test('of each of many objects costs bounded memory', () => {
    const health = new UpstreamHealth();
    for (let object = 0; object < 5_000; object++) {
      for (let call = 0; call < FAILURES_TO_TELL; call++)
        health.unreachable(`ModelRoute/a/r${object}`, URL, 0, 'refused');
    }
    expect(health.troubles(1).length).toBeLessThanOrEqual(1_000);
  });
});

describe('a report', () => {
  test('goes out when it differs from the one before, and a store that no config names is in none', async () => {
    const reports: LimiterReport[] = [];
    let examination = GOOD;
    const store = { examine: () => Promise.resolve(examination) } as unknown as Store;
    let stores = new Map([['s', store]]);
    const upstreams = new UpstreamHealth();
    const unclaimed = new UnclaimedModels();
    const parts = {
      stores: () => stores,
      upstreams,
      unclaimed,
      nowMs: () => 0,
      onReport: (each: LimiterReport) => reports.push(each),
    };
    const watch = new HealthWatch(parts);
    const look = async (count: number): Promise<void> => {
      for (let turn = 0; turn < count; turn++) await watch.look();
    };
    await look(10);
    expect(reports).toEqual([]);
    examination = BAD;
    await look(10);
    expect(reports).toHaveLength(1);
    expect(reports[0]!.stores.map(({ kind }) => kind)).toEqual(['unreachable']);
    stores = new Map();
    await look(10);
    expect(reports).toHaveLength(2);
    expect(reports[1]!.stores).toEqual([]);
    unclaimed.passed('m', 0);
    await look(10);
    expect(reports).toHaveLength(3);
    expect(reports[2]!.unclaimed).toEqual(['m']);
  });
});

describe('models that no route claims', () => {
  test('are a few names, which a caller who makes up more does not change', () => {
    const models = new UnclaimedModels();
    for (const name of ['c', 'a', 'b', 'd', 'a']) models.passed(name, 0);
    for (let made = 0; made < 10_000; made += 1) models.passed(`made-up-${made}`, 1);
    expect(models.names(2)).toEqual(['a', 'b', 'c']);
  });

  test('are forgotten when nobody names them any more, and when a route claims them', () => {
    const models = new UnclaimedModels();
    models.passed('old', 0);
    models.passed('new', 1);
    expect(models.names(FORGET_UNCLAIMED_MS + 1)).toEqual(['new']);
    models.forgetClaimed((name) => name === 'new');
    expect(models.names(2)).toEqual([]);
  });
});
