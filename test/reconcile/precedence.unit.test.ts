// Precedence: who gets requests that several objects want, and who must look again when something changes.
import { describe, expect, test } from '@jest/globals';
import type { ObjectKind } from '../../src/contract/limiter-config.ts';
import { ObjectTable } from '../../src/reconcile/object-table.ts';
import { reconcile } from '../../src/reconcile/reconcile.ts';

import type { ObjectAsRead, ReconcileOutcome } from '../../src/reconcile/types.ts';
import { NOW, worldOf } from './world.ts';

const SETTINGS = { defaultStore: { type: 'memory' } } as const;
const LIMITS = { limits: [{ name: 'all', bucket: { maxTokens: 5, refillPeriod: '1h' } }] };

interface Sketch {
  readonly kind?: ObjectKind;
  readonly namespace?: string;
  /** Day of its creation; absent: a standalone manifest. */
  readonly day?: number;
  readonly spec?: Readonly<Record<string, unknown>>;
}

/** A route at host a.example.com and prefix /, of model llama, unless the sketch says otherwise. */
function sketch(name: string, { kind = 'ModelRoute', namespace = 'n', day, spec = {} }: Sketch = {}): ObjectAsRead {
  const model = kind === 'ModelRoute' ? { modelName: 'llama' } : {};
  return {
    kind,
    metadata: {
      name,
      namespace,
      uid: `uid-${name}`,
      generation: 1,
      ...(day === undefined ? {} : { creationTimestamp: `2026-01-0${day}T00:00:00Z` }),
    },
    spec: {
      ...model,
      hostnames: ['a.example.com'],
      pathPrefix: '/',
      targets: [{ url: 'http://u.example' }],
      rateLimiting: kind === 'ModelRoute' ? LIMITS : { shared: { maxTokens: 5, refillPeriod: '1h' } },
      ...spec,
    },
  };
}

/** Some objects, reconciled as a controller does it: whoever is affected is reconciled again. */
class Cluster {
  readonly table = new ObjectTable(SETTINGS);
  readonly outcomes = new Map<string, ReconcileOutcome>();
  readonly #objects = new Map<string, ObjectAsRead>();
  reconciles = 0;

  apply(...objects: readonly ObjectAsRead[]): void {
    for (const object of objects) {
      const name = `${object.kind}/${object.metadata.namespace ?? ''}/${object.metadata.name}`;
      this.#objects.set(name, object);
      this.table.put(object, this.outcomes.get(name)?.lastGood);
      this.#work([name]);
    }
  }

  remove(kind: ObjectKind, namespace: string, name: string): void {
    this.#objects.delete(`${kind}/${namespace}/${name}`);
    this.outcomes.delete(`${kind}/${namespace}/${name}`);
    this.#work(this.table.remove({ kind, namespace, name }));
  }

  /** Names of the objects of which something is in force. */
  inForce(): string[] {
    return [...this.outcomes]
      .filter(([, { inForce }]) => inForce !== undefined)
      .map(([name]) => name.split('/')[2]!)
      .sort();
  }

  accepted(name: string): string {
    const outcome = [...this.outcomes].find(([full]) => full.endsWith(`/${name}`))![1];
    return outcome.status.conditions.find(({ type }) => type === 'Accepted')!.reason;
  }

  #work(names: readonly string[]): void {
    const queue = [...names];
    for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
      const object = this.#objects.get(name);
      if (object === undefined) continue;
      const lastGood = this.outcomes.get(name)?.lastGood;
      const world = worldOf(SETTINGS, { rivals: this.table });
      const { outcome, affected } = this.table.reconcile(object, world, NOW)!;
      // What the table remembers is what the pure function says.
      expect(outcome).toEqual(reconcile({ object, world, now: NOW, ...(lastGood === undefined ? {} : { lastGood }) }));
      this.reconciles += 1;
      this.outcomes.set(name, outcome);
      this.table.put(object, outcome.lastGood);
      queue.push(...affected);
    }
  }
}

function cluster(...objects: readonly ObjectAsRead[]): Cluster {
  const made = new Cluster();
  made.apply(...objects);
  return made;
}

const rule = (matches: unknown) => ({ rules: [{ matches }] });
const pods = (labels: Readonly<Record<string, string>>) => ({ workloadSelector: { matchLabels: labels } });

describe('two objects that want the same requests', () => {
  test('trap 14: the older one is accepted and the younger one says Conflicted', () => {
    const both = cluster(sketch('young', { day: 2 }), sketch('old', { day: 1 }));
    expect(both.inForce()).toEqual(['old']);
    expect([both.accepted('old'), both.accepted('young')]).toEqual(['Accepted', 'Conflicted']);
  });

  test('in whatever order they arrive', () => {
    const both = cluster(sketch('old', { day: 1 }), sketch('young', { day: 2 }));
    expect(both.inForce()).toEqual(['old']);
  });

  test('the loser takes over when the winner goes', () => {
    const both = cluster(sketch('old', { day: 1 }), sketch('young', { day: 2 }));
    both.remove('ModelRoute', 'n', 'old');
    expect(both.inForce()).toEqual(['young']);
    expect(both.accepted('young')).toBe('Accepted');
  });

  test('without ages (standalone) the first name wins', () => {
    expect(cluster(sketch('b'), sketch('a')).inForce()).toEqual(['a']);
  });

  test('an older object that moves in displaces the younger one, also its last good form', () => {
    const moved = cluster(sketch('old', { day: 1, spec: { pathPrefix: '/other' } }), sketch('young', { day: 2 }));
    expect(moved.inForce()).toEqual(['old', 'young']);
    moved.apply({ ...sketch('old', { day: 1 }), metadata: { ...sketch('old', { day: 1 }).metadata, generation: 2 } });
    expect(moved.inForce()).toEqual(['old']);
    expect(moved.accepted('young')).toBe('Conflicted');
  });

  test('a winner whose edit is refused keeps its place by its last good form', () => {
    const both = cluster(sketch('old', { day: 1 }), sketch('young', { day: 2 }));
    const broken = sketch('old', {
      day: 1,
      spec: { hostnames: ['b.example.com'], rateLimiting: { ...LIMITS, unmetered: 'Allow' } },
    });
    both.apply({ ...broken, metadata: { ...broken.metadata, generation: 2 } });
    expect(both.accepted('old')).toBe('NotSupported');
    expect(both.accepted('young')).toBe('Conflicted');
  });

  test('who loses to a loser is in force, and steps back when the loser takes over', () => {
    const one = sketch('one', { day: 1, spec: { hostnames: ['a.example.com'] } });
    const two = sketch('two', { day: 2, spec: { hostnames: ['a.example.com', 'b.example.com'] } });
    const three = sketch('three', { day: 3, spec: { hostnames: ['b.example.com'] } });
    const all = cluster(three, two, one);
    expect(all.inForce()).toEqual(['one', 'three']);
    all.remove('ModelRoute', 'n', 'one');
    expect(all.inForce()).toEqual(['two']);
    all.remove('ModelRoute', 'n', 'two');
    expect(all.inForce()).toEqual(['three']);
  });

  test.each<[string, (table: ObjectTable) => readonly string[]]>([
    ['goes', (table) => table.remove({ kind: 'ModelRoute', namespace: 'n', name: 'old' })],
    [
      'moves away',
      (table) => {
        const moved = sketch('old', { day: 1, spec: { pathPrefix: '/moved' } });
        const object = { ...moved, metadata: { ...moved.metadata, generation: 2 } };
        table.put(object, undefined);
        return table.reconcile(object, worldOf(SETTINGS, { rivals: table }), NOW)!.affected;
      },
    ],
  ])('the loser takes over when a winner that was not reconciled yet %s', (_how, act) => {
    const both = cluster();
    both.table.put(sketch('old', { day: 1 }), undefined);
    both.apply(sketch('young', { day: 2 }));
    expect(both.accepted('young')).toBe('Conflicted');
    expect(act(both.table)).toEqual(['ModelRoute/n/young']);
    both.apply(sketch('young', { day: 2 }));
    expect(both.accepted('young')).toBe('Accepted');
  });

  test('a hundred of them: one is in force, and each is reconciled a bounded number of times', () => {
    const many = Array.from({ length: 100 }, (_, index) => sketch(`r-${String(index).padStart(3, '0')}`));
    const all = cluster(...many);
    expect(all.inForce()).toEqual(['r-000']);
    expect(all.reconciles).toBeLessThanOrEqual(300);
    all.remove('ModelRoute', 'n', 'r-000');
    expect(all.inForce()).toEqual(['r-001']);
  });

  test('objects of one model on pods of their own wake nobody', () => {
    const many = Array.from({ length: 60 }, (_, index) =>
      sketch(`r-${index}`, { day: 1, spec: { ...pods({ app: `a-${index}` }), pathPrefix: undefined } }),
    );
    const all = cluster(...many);
    expect(all.inForce()).toHaveLength(60);
    expect(all.reconciles).toBe(60);
  });

  test('an edit of the winner that keeps its place wakes nobody, one that leaves it wakes the loser', () => {
    const both = cluster(sketch('old', { day: 1 }), sketch('young', { day: 2 }));
    const edited = (generation: number, spec: Sketch['spec'] = {}) => {
      const object = sketch('old', { day: 1, spec });
      return { ...object, metadata: { ...object.metadata, generation } };
    };
    const before = both.reconciles;
    both.apply(edited(2, { targets: [{ url: 'http://other.example' }] }));
    expect(both.reconciles - before).toBe(1);
    both.apply(edited(3, { pathPrefix: '/moved' }));
    expect(both.reconciles - before).toBe(3);
    expect(both.inForce()).toEqual(['old', 'young']);
  });
});

describe('what is the same request', () => {
  const pairs: readonly (readonly [string, Sketch, Sketch, boolean])[] = [
    ['another model', { spec: { modelName: 'other' } }, {}, false],
    [
      'one adapter in common',
      { spec: { modelName: 'other', loraAdapters: ['l'] } },
      { spec: { modelName: 'mine', loraAdapters: ['l'] } },
      true,
    ],
    ['an adapter named like a model', { spec: { loraAdapters: ['llama'], modelName: 'other' } }, {}, true],
    ['another host', { spec: { hostnames: ['b.example.com'] } }, {}, false],
    ['one host in common, in other letters', { spec: { hostnames: ['b.example.com', 'A.Example.Com'] } }, {}, true],
    ['any host beside one host', { spec: { hostnames: [] } }, {}, false],
    ['another prefix', { spec: { pathPrefix: '/b' } }, {}, false],
    ['a slash at the end of the prefix', { spec: { pathPrefix: '/b/' } }, { spec: { pathPrefix: '/b' } }, true],
    ['another match', { spec: rule({ path: { prefix: '/v1' } }) }, {}, false],
    [
      'the same match, written in another order',
      {
        spec: rule({
          headers: [
            { name: 'A', exact: '1' },
            { name: 'b', exact: '2' },
          ],
          methods: ['GET', 'POST'],
        }),
      },
      {
        spec: rule({
          methods: ['POST', 'GET'],
          headers: [
            { name: 'B', exact: '2' },
            { name: 'a', exact: '1' },
          ],
        }),
      },
      true,
    ],
    [
      'one of several rules',
      { spec: { rules: [{ matches: { path: { prefix: '/a' } } }, { matches: { path: { prefix: '/b' } } }] } },
      { spec: rule({ path: { prefix: '/b' } }) },
      true,
    ],
    ['two namespaces on one shared limiter', { namespace: 'm' }, {}, true],
    [
      'default prefixes',
      { spec: { pathPrefix: undefined, hostnames: [] } },
      { spec: { pathPrefix: undefined, hostnames: [] } },
      false,
    ],
    ['selectors that a pod can satisfy', { spec: pods({ app: 'v' }) }, { spec: pods({ tier: 'gpu' }) }, true],
    ['selectors that no pod can satisfy', { spec: pods({ app: 'v' }) }, { spec: pods({ app: 'w' }) }, false],
    [
      'the same selector in two namespaces',
      { namespace: 'm', spec: pods({ app: 'v' }) },
      { spec: pods({ app: 'v' }) },
      false,
    ],
    [
      'pods with default prefixes',
      { spec: { ...pods({ app: 'v' }), pathPrefix: undefined } },
      { spec: { ...pods({ app: 'v' }), pathPrefix: undefined } },
      true,
    ],
    [
      'a default prefix beside / on one pod',
      { spec: { ...pods({ app: 'v' }), pathPrefix: undefined } },
      { spec: pods({ app: 'v' }) },
      true,
    ],
    ['pods beside no pods, one explicit prefix', { spec: pods({ app: 'v' }) }, {}, true],
    [
      'pods beside no pods of another namespace, one explicit prefix',
      { namespace: 'm', spec: pods({ app: 'v' }) },
      {},
      false,
    ],
    ['two MCP servers', { kind: 'MCPServer' }, { kind: 'MCPServer' }, true],
    [
      'two MCP servers with two prefixes',
      { kind: 'MCPServer', spec: { pathPrefix: '/b' } },
      { kind: 'MCPServer' },
      false,
    ],
    ['a model and a server', { kind: 'MCPServer' }, {}, false],
  ];

  test.each(pairs)('%s', (_case, first, second, conflict) => {
    const both = cluster(sketch('a', first), sketch('b', second));
    expect(both.inForce()).toEqual(conflict ? ['a'] : ['a', 'b']);
  });
});

describe('1.1: one model name in two namespaces', () => {
  test('trap 11: each keeps its own numbers under its own name', () => {
    const spec = (maxTokens: number) => ({
      pathPrefix: undefined,
      hostnames: [],
      rateLimiting: { limits: [{ name: 'all', bucket: { maxTokens, refillPeriod: '1m' } }] },
    });
    const both = cluster(
      sketch('chat', { namespace: 'one', spec: spec(100) }),
      sketch('chat', { namespace: 'two', spec: spec(50) }),
    );
    const amounts = [...both.outcomes.values()].map(({ inForce }) => inForce?.config.limits[0]?.rule);
    expect(amounts).toMatchObject([{ maxTokens: 100 }, { maxTokens: 50 }]);
  });
});
