// Tests what NotSupported advises: every ability that no limiter has is covered, and following the advice never makes
// another limit of what was written.
import { describe, expect, test } from '@jest/globals';
import { CAPABILITIES } from '../../src/contract/capabilities.ts';
import { canonicalJson } from '../../src/contract/snapshot.ts';
import { presentForm } from '../../src/reconcile/form.ts';
import { REMEDIES } from '../../src/reconcile/unsupported.ts';
import { SPECIMENS, type Specimen } from './specimens.ts';

const SETTINGS = { defaultStore: { type: 'redis', redis: { address: 'redis.weir:6379' } } } as const;

const formOf = ({ kind, spec }: Specimen) =>
  presentForm({ kind, metadata: { name: 'a', namespace: 'n', uid: 'u', generation: 1 }, spec }, SETTINGS);

const problemsOf = (specimen: Specimen) =>
  formOf(specimen).problems.filter(({ reason, path }) => reason === 'NotSupported' && path !== undefined);

/** A copy of a specimen without the field at a path like `spec.rateLimiting.limits[0].cutStreams`. */
function without(specimen: Specimen, path: string): Specimen {
  const copy = JSON.parse(JSON.stringify(specimen)) as Specimen;
  const steps = path.split(/[.[\]]+/).filter((step) => step !== '');
  const holder = steps
    .slice(0, -1)
    .reduce<unknown>((value, step) => (value as Record<string, unknown>)[step], { spec: copy.spec });
  Reflect.deleteProperty(holder as object, steps.at(-1)!);
  return copy;
}

/** What of a config a limiter acts on. */
function acts(specimen: Specimen): string {
  const { limits, routing, store, identity } = formOf(specimen).config!;
  return canonicalJson({ limits, routing, store, identity });
}

describe('the advice of NotSupported', () => {
  test('covers every ability that is not enforced, and no other', () => {
    const ids = CAPABILITIES.filter(({ enforced }) => !enforced).map(({ id }) => id);
    expect(Object.keys(REMEDIES).sort()).toEqual([...new Set(ids)].sort());
  });

  test('a field is removed only where the object then means the same', () => {
    const advised = SPECIMENS.flatMap((specimen) =>
      problemsOf(specimen)
        .filter(({ message }) => /remove (it|the field)$/.test(message))
        .map(({ path }) => ({ specimen, path: path! })),
    );
    expect(advised.length).toBeGreaterThan(15);
    for (const { specimen, path } of advised) {
      const fixed = without(specimen, path);
      expect(problemsOf(fixed).map((problem) => problem.path)).not.toContain(path);
      expect([path, acts(fixed)]).toEqual([path, acts(specimen)]);
    }
  });

  test.each([
    ['tokens', { name: 'tokens', measure: 'TotalTokens', bucket: { maxTokens: 100_000, refillPeriod: '1m' } }],
    ['money', { name: 'money', measure: 'Cost', window: { maxCost: '500', period: 'Month' } }],
    ['parallel', { name: 'parallel', measure: 'Concurrency', concurrency: 3 }],
    [
      'nights',
      { name: 'nights', when: [{ schedule: { from: '22:00', to: '06:00' } }], window: { limit: 0, period: 'Hour' } },
    ],
    [
      'large',
      {
        name: 'large',
        when: [{ estimate: { measure: 'InputTokens', atLeast: 9000 } }],
        window: { limit: 0, period: 'Hour' },
      },
    ],
  ])('a limit goes as a whole where one field less would make another of it: %s', (name, limit) => {
    const rateLimiting = { limits: [limit], prices: [{ model: 'm', perRequest: '1' }] };
    const problems = problemsOf({ kind: 'ModelRoute', spec: { modelName: 'm', rateLimiting } });
    const own = problems.filter(({ path }) => path!.startsWith('spec.rateLimiting.limits[0]'));
    expect(own.length).toBeGreaterThan(0);
    for (const { message } of own) {
      expect(message).toContain(`remove the limit "${name}" (without this field it would limit something else)`);
    }
  });
});
