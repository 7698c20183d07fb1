// Decisions: one question to the store for all limits of a request, refusals that need no store, outages by
// failurePolicy.
import { beforeEach, describe, expect, test } from '@jest/globals';
import type { FailurePolicy } from '../../../src/contract/limiter-config.ts';
import type { Decider } from '../../../src/limiter/decide/decide.ts';
import type { Decision, RequestFacts } from '../../../src/limiter/decide/decision.ts';
import { HOUR, MINUTE, SECOND, tokens, window } from '../store/fixtures.ts';
import { Bench, remaining, withLimits } from './decider-bench.ts';
import { compiled, facts, limit, modelRouting } from '../fixtures.ts';

let bench: Bench;

beforeEach(() => {
  bench = new Bench();
});

describe('a decision', () => {
  test('asks the store once for all limits, enforced and Shadow', async () => {
    const object = withLimits({}, { enforcement: 'Shadow' }, { rule: window(5, 'Hour') });
    const decision = await bench.ask(bench.decider(), object);
    expect(decision.kind).toBe('allowed');
    expect(remaining(decision)).toEqual([9, 9, 4]);
    expect(bench.store.calls).toEqual(['reserve']);
  });

  test('without limits, or with none that applies, asks nobody', async () => {
    const absent = { per: [{ type: 'user', whenAbsent: 'Skip' }] } as const;
    for (const object of [compiled(), withLimits(absent), withLimits({ when: [{ not: false, method: ['GET'] }] })]) {
      expect(await bench.ask(bench.decider(), object)).toEqual({ kind: 'allowed', outcomes: [] });
    }
    expect(bench.store.calls).toEqual([]);
  });

  test('trap 3: a refusal by one limit takes nothing of another', async () => {
    const decider = bench.decider();
    const object = withLimits({ rule: tokens(10, HOUR) }, { rule: tokens(2, HOUR) });
    expect(await bench.kinds(decider, object, 5)).toEqual(['allowed', 'allowed', 'denied', 'denied', 'denied']);
    const refused = await bench.ask(decider, object);
    expect(remaining(refused)).toEqual([8, 0]);
    expect(refused).toMatchObject({ kind: 'denied', reason: 'exhausted', by: { limit: { name: 'l1' } } });
  });

  test('trap 43: of several refusing limits the one with the longest wait speaks', async () => {
    const decider = bench.decider();
    const object = withLimits({ rule: tokens(1, SECOND) }, { rule: tokens(1, HOUR) }, { rule: tokens(1, MINUTE) });
    await bench.ask(decider, object);
    expect(await bench.ask(decider, object)).toMatchObject({
      by: { limit: { name: 'l1' }, state: { waitMicros: HOUR }, amount: 1 },
    });
  });

  test('trap 37: a looser limit of the same shape does not hide a stricter one', async () => {
    const object = withLimits({ rule: tokens(100, MINUTE) }, { rule: tokens(2, MINUTE) });
    expect(await bench.kinds(bench.decider(), object, 4)).toEqual(['allowed', 'allowed', 'denied', 'denied']);
  });

  test('takes cost times hits', async () => {
    const decision = await bench.ask(bench.decider(), withLimits({ cost: 3 }), facts(), 2);
    expect(decision.outcomes[0]).toMatchObject({ amount: 6, state: { remaining: 4 } });
  });

  test('a Shadow limit never refuses, not even with an amount that never fits, and says that it would', async () => {
    const decider = bench.decider();
    const object = withLimits({}, { enforcement: 'Shadow', rule: tokens(1, HOUR), cost: 5 });
    const decision = await bench.ask(decider, object);
    expect(decision.kind).toBe('allowed');
    expect(decision.outcomes[1]?.state).toMatchObject({ over: true, waitMicros: Infinity });
  });

  test('each caller has its own bucket', async () => {
    const decider = bench.decider();
    const object = withLimits({ rule: tokens(1, HOUR), per: [{ type: 'user', whenAbsent: 'Share' }] });
    const by = (user?: string): Promise<Decision> =>
      bench.ask(decider, object, facts({}, user === undefined ? {} : { user }));
    const seen = [await by('ann'), await by('ann'), await by('bob'), await by(), await by()];
    expect(seen.map(({ kind }) => kind)).toEqual(['allowed', 'denied', 'allowed', 'allowed', 'denied']);
  });

  test.each([-1, 0.5, NaN])('%d hits are no question', async (hits) => {
    await expect(bench.ask(bench.decider(), withLimits({}), facts(), hits)).rejects.toMatchObject({
      code: 'invalid_request',
    });
  });

  test('a fault of the store is a fault, not a decision', async () => {
    const broken = bench.decider({ storeFor: () => { throw new TypeError('bug'); } }); // prettier-ignore
    await expect(bench.ask(broken, withLimits({ failurePolicy: 'Open' }))).rejects.toThrow('bug');
  });
});

describe('refusals that ask nobody', () => {
  test.each<FailurePolicy>(['Open', 'Closed', 'Local'])(
    'trap 29: a limit of 0 blocks, also with %s',
    async (failurePolicy) => {
      const object = withLimits({}, { rule: window(0, 'Minute'), failurePolicy });
      bench.store.isAway = true;
      for (const mode of ['ask', 'peek'] as const) {
        expect(await bench[mode](bench.decider(), object, facts(), 0)).toMatchObject({
          kind: 'denied',
          reason: 'blocked',
          by: { limit: { name: 'l1' } },
        });
      }
      expect(bench.store.calls).toEqual([]);
    },
  );

  test('trap 29: a limit of 0 in Shadow refuses nobody and is reported as over', async () => {
    const decision = await bench.ask(
      bench.decider(),
      withLimits({ rule: window(0, 'Minute'), enforcement: 'Shadow' }, {}),
    );
    expect(decision.kind).toBe('allowed');
    expect(decision.outcomes.map(({ state }) => state.over)).toEqual([true, false]);
  });

  test.each([
    [{ cost: 11 }, 1],
    [{ cost: 1 }, 11],
    [{ rule: window(10, 'Day') }, 11],
    [{ cost: 1e12, rule: tokens(1e12, HOUR) }, 2],
  ])('trap 6: what can never fit is final: %j with %d hits', async (change, hits) => {
    expect(await bench.ask(bench.decider(), withLimits(change), facts(), hits)).toMatchObject({
      kind: 'denied',
      reason: 'too-large',
      by: { state: { waitMicros: Infinity } },
    });
    expect(bench.store.calls).toEqual([]);
  });

  test('exactly the capacity fits', async () => {
    expect((await bench.ask(bench.decider(), withLimits({ cost: 10 }))).kind).toBe('allowed');
  });
});

describe('peek', () => {
  test('trap 49: at exactly the limit it says no, as a request would hear', async () => {
    const decider = bench.decider();
    const object = withLimits({ rule: tokens(3, HOUR) });
    const peek = async (): Promise<string> => (await bench.peek(decider, object)).kind;
    const seen: string[][] = [];
    for (let count = 0; count < 4; count += 1)
      seen.push([await peek(), await peek(), (await bench.ask(decider, object)).kind]);
    expect(seen).toEqual([
      ['allowed', 'allowed', 'allowed'],
      ['allowed', 'allowed', 'allowed'],
      ['allowed', 'allowed', 'allowed'],
      ['denied', 'denied', 'denied'],
    ]);
  });

  test('takes nothing of a share either', async () => {
    bench.store.isAway = true;
    const decider = bench.decider();
    const object = withLimits({ rule: tokens(1, HOUR) });
    for (let count = 0; count < 3; count += 1) {
      expect((await bench.peek(decider, object)).kind).toBe('allowed');
    }
    expect(await bench.kinds(decider, object, 2)).toEqual(['allowed', 'unavailable']);
  });
});

describe('an outage', () => {
  test('trap 44: Closed is unavailable, never a refusal by the limit', async () => {
    bench.store.isAway = true;
    const decision = await bench.ask(
      bench.decider(),
      withLimits({ failurePolicy: 'Open' }, { failurePolicy: 'Closed' }),
    );
    expect(decision).toMatchObject({ kind: 'unavailable', limit: { name: 'l1' } });
  });

  test('Open admits and says so', async () => {
    bench.store.isAway = true;
    expect(await bench.ask(bench.decider(), withLimits({ failurePolicy: 'Open' }))).toEqual({
      kind: 'allowed',
      outcomes: [],
      degraded: 'Open',
    });
  });

  test('Local goes on with what was left, divided by the limiters', async () => {
    const deciders = [1, 2, 3, 4].map(() => bench.decider({ sharersOf: () => 4 }));
    const object = withLimits({ rule: tokens(50, HOUR), failurePolicy: 'Local' });
    for (const decider of deciders) await bench.kinds(decider, object, 5);
    for (const decider of deciders) await bench.ask(decider, object, facts(), 0);
    bench.store.isAway = true;
    let admitted = 0;
    for (const decider of deciders)
      admitted += (await bench.kinds(decider, object, 20)).filter((kind) => kind === 'allowed').length;
    // 30 were left; floor(30 / 4) = 7 each.
    expect(admitted).toBe(28);
    const refused = await bench.ask(deciders[0] as Decider, object);
    expect(refused).toMatchObject({ kind: 'unavailable', degraded: 'Local', outcomes: [{ state: { remaining: 0 } }] });
  });

  test('trap 44: what is refused in an outage is unavailable, whatever policy and kind of limit', async () => {
    bench.store.isAway = true;
    for (const rule of [tokens(2, HOUR), window(2, 'Day')]) {
      for (const failurePolicy of ['Closed', 'Local'] as const) {
        const kinds = await bench.kinds(bench.decider({ sharersOf: () => 3 }), withLimits({ rule, failurePolicy }), 5);
        expect(new Set(kinds)).toEqual(new Set(['unavailable']));
      }
    }
  });

  test('Local: who has never reached the store has no share: it may stand where another has used its own', async () => {
    const object = withLimits({ rule: tokens(50, HOUR) });
    bench.store.isAway = true;
    bench.store.isReached = false;
    expect(await bench.ask(bench.decider(), object)).toMatchObject({ kind: 'unavailable', degraded: 'Local' });
    bench.store.isReached = true;
    expect(await bench.ask(bench.decider(), object)).toMatchObject({ kind: 'allowed', degraded: 'Local' });
  });

  test('a Shadow limit has no say, whatever its policy', async () => {
    bench.store.isAway = true;
    const object = withLimits({ enforcement: 'Shadow', failurePolicy: 'Closed' }, { failurePolicy: 'Open' });
    expect(await bench.ask(bench.decider(), object)).toMatchObject({ kind: 'allowed', degraded: 'Open' });
    expect(
      await bench.ask(bench.decider(), withLimits({ enforcement: 'Shadow', failurePolicy: 'Closed' })),
    ).toMatchObject({
      kind: 'allowed',
    });
  });

  test('takes from all Local limits or from none', async () => {
    bench.store.isAway = true;
    const decider = bench.decider();
    const both = withLimits({ rule: tokens(5, HOUR) }, { rule: tokens(2, HOUR) });
    expect(await bench.kinds(decider, both, 4)).toEqual(['allowed', 'allowed', 'unavailable', 'unavailable']);
    const refused = await bench.ask(decider, both);
    expect(remaining(refused)).toEqual([3, 0]);
    expect(refused).toMatchObject({ limit: { name: 'l1' } });
  });

  test('afterwards the store speaks again, and knows only what it admitted', async () => {
    const decider = bench.decider();
    const object = withLimits({ rule: tokens(10, HOUR) });
    await bench.kinds(decider, object, 4);
    bench.store.isAway = true;
    await bench.kinds(decider, object, 3);
    bench.store.isAway = false;
    const decision = await bench.ask(decider, object);
    expect(decision).not.toHaveProperty('degraded');
    expect(remaining(decision)).toEqual([5]);
  });
});

describe('explain', () => {
  test('tells which limits apply, and their keys, and takes nothing', () => {
    const object = withLimits({}, { when: [{ not: false, method: ['GET'] }] });
    const told = bench.decider().explain(object.limitSet, facts());
    expect(told).toEqual([
      { limit: 'l0', applies: true, key: object.limitSet.limits[0]?.keyPrefix },
      { limit: 'l1', applies: false },
    ]);
    expect(bench.store.calls).toEqual([]);
  });
});

describe('trap 15: callers who make up their keys', () => {
  const per = [{ type: 'header', name: 'x-key', whenAbsent: 'Share' }] as const;
  const keyed = (value: string): RequestFacts => facts({ headers: { 'x-key': value } });

  test('share one bucket beyond the bound, and the first keep theirs', async () => {
    const overflows: string[] = [];
    const decider = bench.decider({
      liveKeys: 3,
      onOverflow: (set, { config }) => overflows.push(`${set.name} ${config.name}`),
    });
    const object = withLimits({ rule: tokens(2, HOUR), per });
    const seen: string[] = [];
    for (const value of ['a', 'b', 'c', 'd', 'e', 'f', 'a', 'a'])
      seen.push((await bench.ask(decider, object, keyed(value))).kind);
    expect(seen).toEqual([...Array<string>(5).fill('allowed'), 'denied', 'allowed', 'denied']);
    expect(overflows).toEqual(Array(3).fill('ModelRoute/serving/chat l0'));
  });

  test('room comes back when buckets are full again', async () => {
    const decider = bench.decider({ liveKeys: 1 });
    const object = withLimits({ rule: tokens(1, MINUTE), per });
    await bench.ask(decider, object, keyed('a'));
    expect(decider.explain(object.limitSet, keyed('b'))[0]?.key).toMatch(/:overflow$/);
    bench.clock.advance(3 * MINUTE);
    expect(decider.explain(object.limitSet, keyed('b'))[0]?.key).not.toMatch(/:overflow$/);
  });

  test('names of models under a route of every model are bounded, names that a route has are not', async () => {
    const byModel = [limit({ per: [{ type: 'model', whenAbsent: 'Share' }] })];
    const keyOfSecond = async (models: string[]): Promise<string | undefined> => {
      const decider = bench.decider({ liveKeys: 1 });
      const object = compiled({ routing: modelRouting({ models }), limits: byModel });
      await bench.ask(decider, object, facts({ model: 'a' }));
      return decider.explain(object.limitSet, facts({ model: 'b' }))[0]?.key;
    };
    expect(await keyOfSecond(['*'])).toMatch(/:overflow$/);
    expect(await keyOfSecond(['a', 'b'])).not.toMatch(/:overflow$/);
  });

  test('identities that were established are not bounded', async () => {
    const decider = bench.decider({ liveKeys: 1 });
    const object = withLimits({ per: [{ type: 'user', whenAbsent: 'Share' }] });
    for (const user of ['a', 'b', 'c']) await bench.ask(decider, object, facts({}, { user }));
    expect(decider.explain(object.limitSet, facts({}, { user: 'd' }))[0]?.key).not.toMatch(/:overflow$/);
  });
});
