// Both planes on one manifest: what the operator compiles, a limiter of this version runs.
import { describe, expect, test } from '@jest/globals';
import { ownCapabilities } from '../../src/contract/capabilities.ts';
import { judgeText } from '../../src/crd/validate.ts';
import { compileRuntime } from '../../src/limiter/compile/runtime.ts';
import { presentForm } from '../../src/reconcile/form.ts';
import { loadCorpus } from '../crd/corpus.ts';

const SETTINGS = { defaultStore: { type: 'memory' } } as const;
const ANYWHERE = { egressAllow: ['*', '0.0.0.0/0', '::/0'] };

const compiled = loadCorpus().flatMap(({ name, text }) => {
  const object = judgeText(text)[0]?.object;
  const form = object === undefined ? undefined : presentForm(object, SETTINGS);
  return form?.config === undefined || form.problems.length > 0 ? [] : [{ name, config: form.config }];
});

describe('what the operator puts in force', () => {
  test('is something', () => {
    expect(compiled.length).toBeGreaterThan(20);
  });

  test.each(compiled)('$name', ({ config }) => {
    const overTheWire = JSON.parse(JSON.stringify(config)) as typeof config;
    const object = compileRuntime(overTheWire, ownCapabilities(), ANYWHERE);
    expect(object.limitSet.limits.map((limit) => limit.config.name)).toEqual(config.limits.map(({ name }) => name));
  });
});
