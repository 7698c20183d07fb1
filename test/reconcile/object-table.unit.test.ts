// The object table: each of the three steps of the path is taken when what it depends on changed, and not otherwise.
import { describe, expect, test } from '@jest/globals';
import { reconcile } from '../../src/reconcile/reconcile.ts';
import { ObjectTable } from '../../src/reconcile/object-table.ts';
import type { ObjectAsRead, ReconcileOutcome, World } from '../../src/reconcile/types.ts';
import { type Fleet, NOW, type SecretAsWritten, worldOf } from './world.ts';

const SETTINGS = { defaultStore: { type: 'memory' } } as const;
const NAME = 'ModelRoute/n/a';

const SECRET_REF = { passwordSecretRef: { name: 'redis', key: 'password' } };

interface Edit {
  readonly uid?: string;
  readonly generation?: number;
  readonly maxTokens?: number;
  readonly status?: unknown;
}

/** A route whose Redis has a password. Each call makes new values, as a new list of the API server does. */
function route({ uid = 'u', generation = 1, maxTokens = 5, status }: Edit = {}): ObjectAsRead {
  return {
    kind: 'ModelRoute',
    metadata: { name: 'a', namespace: 'n', uid, generation },
    spec: {
      modelName: 'llama',
      targets: [{ url: 'http://u.example' }],
      rateLimiting: {
        redis: { address: 'redis.example:6379', ...SECRET_REF },
        limits: [{ name: 'all', bucket: { maxTokens, refillPeriod: '1h' } }],
      },
    },
    status,
  };
}

/** A table and the world around it, which notes what it is asked for. */
class Rig {
  readonly table = new ObjectTable(SETTINGS);
  fleet: Fleet = {};
  secrets: Readonly<Record<string, SecretAsWritten>> = { 'n/redis': { data: { password: 'one' } } };
  rivalsAsked = 0;

  world(): World {
    const world = worldOf(SETTINGS, { fleet: this.fleet, secrets: this.secrets, rivals: this.table });
    return {
      ...world,
      rivalsOf: (keys) => {
        this.rivalsAsked += 1;
        return world.rivalsOf(keys);
      },
    };
  }

  reconcile(object: ObjectAsRead): ReconcileOutcome {
    return this.table.reconcile(object, this.world(), NOW)!.outcome;
  }
}

function rigWith(object: ObjectAsRead): Rig {
  const rig = new Rig();
  rig.table.put(object, undefined);
  return rig;
}

describe('the object table', () => {
  test('decides what is in force once, and the status at each answer of a limiter', () => {
    const rig = rigWith(route());
    const first = rig.reconcile(route());
    rig.fleet = { limiters: [{ name: 'one', state: 'synced' }] };
    const second = rig.reconcile(route({ status: first.status }));
    expect(rig.rivalsAsked).toBe(1);
    expect(second.inForce).toBe(first.inForce);
    expect([first, second].map(({ status }) => status.limiters.summary)).toEqual(['0/0', '1/1']);
  });

  test('takes over what it knows when an object is put again as it is', () => {
    const rig = rigWith(route());
    const first = rig.reconcile(route());
    rig.table.put(route({ status: first.status }), first.lastGood);
    expect(rig.reconcile(route()).inForce).toBe(first.inForce);
    expect(rig.rivalsAsked).toBe(1);
  });

  test.each<[string, Edit]>([
    ['an edit', { generation: 2, maxTokens: 9 }],
    ['another object of that name', { uid: 'v', maxTokens: 9 }],
    ['another spec of one generation', { maxTokens: 9 }],
  ])('makes everything anew for %s', (_case, edit) => {
    const rig = rigWith(route());
    rig.reconcile(route());
    rig.table.put(route(edit), undefined);
    const { inForce } = rig.reconcile(route(edit));
    expect(inForce?.config.limits[0]?.rule).toMatchObject({ maxTokens: 9 });
    expect(inForce).toEqual(reconcile({ object: route(edit), world: rig.world(), now: NOW }).inForce);
  });

  test('reads Secrets again when told, and says the same as without a memory', () => {
    const rig = rigWith(route());
    const before = rig.reconcile(route());
    rig.secrets = { 'n/redis': { resourceVersion: '2', data: { password: 'two' } } };
    expect(rig.reconcile(route()).inForce).toBe(before.inForce);
    rig.table.outdate([NAME, 'ModelRoute/n/never']);
    const after = rig.reconcile(route());
    expect(after).toEqual(reconcile({ object: route(), world: rig.world(), now: NOW }));
    expect([...(after.inForce?.resource.secrets?.values() ?? [])]).toEqual(['two']);
  });

  test('knows nothing of an object that was not put, or is gone', () => {
    const rig = rigWith(route());
    rig.table.remove({ kind: 'ModelRoute', namespace: 'n', name: 'a' });
    expect(rig.table.reconcile(route(), rig.world(), NOW)).toBeUndefined();
  });
});
