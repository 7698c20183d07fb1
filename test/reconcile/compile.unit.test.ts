// Compile and verdicts, the cases that other products got wrong.
import { describe, expect, test } from '@jest/globals';
import { parseResourceName } from '../../src/contract/limiter-config.ts';
import { reconcile } from '../../src/reconcile/reconcile.ts';
import { ObjectTable } from '../../src/reconcile/object-table.ts';
import type { ObjectAsRead, ReconcileOutcome, ReconcileSettings } from '../../src/reconcile/types.ts';
import { type Fleet, NOW, worldOf } from './world.ts';

const REDIS: ReconcileSettings = { defaultStore: { type: 'redis', redis: { address: 'default:6379' } } };
const BUCKET = { maxTokens: 10, refillPeriod: '1m' };

function run(spec: unknown, kind: ObjectAsRead['kind'] = 'ModelRoute', fleet: Fleet = {}): ReconcileOutcome {
  const object = { kind, metadata: { name: 'a', namespace: 'n', uid: 'u', generation: 1 }, spec };
  return reconcile({ object, world: worldOf(REDIS, { fleet }), now: NOW });
}

function limits(outcome: ReconcileOutcome) {
  return outcome.inForce?.config.limits ?? [];
}

const route = (rateLimiting: unknown) => ({ modelName: 'm', rateLimiting });

describe('compile', () => {
  test('trap 10: each object keeps the Redis that it names', () => {
    const stores = ['one:6379', 'two:6379', undefined].map((address) => {
      const redis = address === undefined ? {} : { redis: { address } };
      return run(route({ ...redis, limits: [{ name: 'l', bucket: BUCKET }] })).inForce?.config.store;
    });
    expect(stores).toEqual(
      [{ address: 'one:6379' }, { address: 'two:6379' }, { address: 'default:6379', isDefault: true }].map(
        ({ address, ...mark }) => ({ type: 'redis', redis: { address }, ...mark }),
      ),
    );
  });

  test.each([
    ['cache.n:6379', 'cache.n.svc:6379'],
    ['cache.n.svc:6379', 'cache.n.svc:6379'],
    ['cache.other:6379', 'cache.other:6379'],
    ['10.1.2.3:6379', '10.1.2.3:6379'],
    ['[::1]:6379', '[::1]:6379'],
  ])('the Redis %s is dialled as %s: a short Service name is written out', (address, dialled) => {
    const { inForce } = run(route({ redis: { address }, limits: [{ name: 'l', bucket: BUCKET }] }));
    expect(inForce?.config.store).toEqual({ type: 'redis', redis: { address: dialled } });
  });

  test('trap 12: removing one limit removes that limit and leaves the others as they were', () => {
    const before = limits(
      run({ rateLimiting: { shared: BUCKET, tools: [{ name: 't', shared: BUCKET }] } }, 'MCPServer'),
    );
    const after = limits(run({ rateLimiting: { tools: [{ name: 't', shared: BUCKET }] } }, 'MCPServer'));
    expect(before.map(({ name }) => name)).toEqual(['shared', 'tools/t/shared']);
    expect(after).toEqual(before.slice(1));
  });

  test('trap 29: a limit of 0 is reported as what it does, enforced or in Shadow', () => {
    const tell = (enforcement: string) =>
      run(route({ limits: [{ name: 'shut', enforcement, window: { limit: 0, period: 'Hour' } }] })).status.limits[0]
        ?.message;
    expect(tell('Enforce')).toBe('refuses every request: its limit is 0');
    expect(tell('Shadow')).toBe('would refuse every request: its limit is 0');
  });

  test('trap 29: 0 is compiled as 0', () => {
    const [limit] = limits(run(route({ limits: [{ name: 'shut', window: { limit: 0, period: 'Hour' } }] })));
    expect(limit?.rule).toMatchObject({ kind: 'window', limit: 0 });
  });

  test('trap 37: two limits of one shape are both compiled, the looser one first or last', () => {
    const two = (a: number, b: number) =>
      limits(
        run(
          route({
            limits: [
              { name: 'a', bucket: { ...BUCKET, maxTokens: a } },
              { name: 'b', bucket: { ...BUCKET, maxTokens: b } },
            ],
          }),
        ),
      ).map(({ rule }) => (rule.kind === 'bucket' ? rule.maxTokens : 0));
    expect([two(1, 100), two(100, 1)]).toEqual([
      [1, 100],
      [100, 1],
    ]);
  });

  test('5.6: without rateLimiting there is no limit and no Redis', () => {
    const outcome = run({ targets: [{ url: 'http://u' }] }, 'MCPServer');
    expect(outcome.inForce?.config).toMatchObject({ limits: [], store: { type: 'memory' } });
    expect(outcome.status).toMatchObject({ limitCount: 0, toolCount: 0 });
  });

  test('1.11: a route of adapters alone is limited too', () => {
    const { inForce } = run({ loraAdapters: ['l'], rateLimiting: { limits: [{ name: 'x', bucket: BUCKET }] } });
    expect(inForce?.config.routing).toMatchObject({ models: ['l'] });
    expect(limits({ inForce } as ReconcileOutcome)).toHaveLength(1);
  });

  test('1.3: an empty global is refused, and a delete of what was never seen affects nobody', () => {
    expect(run({ rateLimiting: { global: {} } }, 'MCPServer').inForce).toBeUndefined();
    expect(new ObjectTable(REDIS).remove({ kind: 'ModelRoute', namespace: 'n', name: 'never' })).toEqual([]);
  });

  test('a label or a re-apply changes nothing: the version speaks of the spec alone', () => {
    const spec = route({ limits: [{ name: 'l', bucket: BUCKET }] });
    const again = JSON.parse(JSON.stringify({ rateLimiting: spec.rateLimiting, modelName: 'm' })) as unknown;
    expect(run(again).inForce?.resource.version).toBe(run(spec).inForce?.resource.version);
  });

  test('the default of the cluster domain is left to resolvers, a given one is written out', () => {
    const spec = { modelName: 'm', targets: [{ service: { name: 's', port: 80 } }] };
    const object = { kind: 'ModelRoute', metadata: { name: 'a', namespace: 'n' }, spec } as const;
    const urlWith = (settings: ReconcileSettings) => {
      const { inForce } = reconcile({ object, world: worldOf(settings), now: NOW });
      return inForce?.config.routing.kind === 'model' ? inForce.config.routing.rules[0]?.targets[0]?.url : undefined;
    };
    expect(urlWith({})).toBe('http://s.n.svc:80');
    expect(urlWith({ clusterDomain: 'corp.local' })).toBe('http://s.n.svc.corp.local:80');
  });

  test('every name of a resource can be read back', () => {
    const { inForce } = run(route({ limits: [{ name: 'l', bucket: BUCKET }] }));
    expect(parseResourceName(inForce?.resource.name ?? '')).toEqual({ kind: 'ModelRoute', namespace: 'n', name: 'a' });
  });
});

describe('Programmed', () => {
  const spec = route({ limits: [{ name: 'l', bucket: BUCKET }] });
  const reason = (fleet: Fleet) =>
    run(spec, 'ModelRoute', fleet).status.conditions.find(({ type }) => type === 'Programmed');

  test('trap 40: what was only sent is Pending', () => {
    expect(reason({ limiters: [{ name: 'one', state: 'pending' }] })).toMatchObject({
      status: 'False',
      reason: 'Pending',
    });
  });

  test('trap 41: a NACK is a condition in the words of the limiter', () => {
    const limiters = [{ name: 'one', state: 'rejected', message: 'lacks limit.bucket' }] as const;
    expect(reason({ limiters })).toMatchObject({
      status: 'False',
      reason: 'Rejected',
      message: 'limiter one: lacks limit.bucket',
    });
  });

  test('a very long rejection and many of them stay readable', () => {
    const limiters = Array.from({ length: 50 }, (_, index) => ({
      name: `limiter-${index}`,
      state: 'rejected' as const,
      message: 'x'.repeat(10_000),
    }));
    const message = reason({ limiters })?.message ?? '';
    expect(message.length).toBeLessThan(2_000);
    expect(message).toContain('and 47 more');
  });
});
