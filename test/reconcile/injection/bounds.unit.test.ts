// Bounds of one request in sidecars: the injection config and annotations take exactly what `weir limiter` takes, and
// an annotation takes precedence.
import { describe, expect, test } from '@jest/globals';
import { complaintAboutBounds } from '../../../src/cli/flags/limiter-bounds.ts';
import { limiterCommand } from '../../../src/cli/limiter-command.ts';
import {
  BOUND_ANNOTATIONS,
  boundFlags,
  boundProblem,
  BOUNDS,
  wantedBounds,
  type BoundField,
} from '../../../src/reconcile/injection/bounds.ts';
import { InjectionConfigError, parseInjectionConfig } from '../../../src/reconcile/injection/settings.ts';

const FIELDS = Object.keys(BOUNDS) as BoundField[];
const TEXTS = [
  ...['1', '65536', '1Ki', '32Mi', '25MiB', '2Gi', '1Mi', '1023', '1Mi1', '0', '-1', '1.5Mi', '25M', '25MB', '1048577'],
  ...['10000', '10001', '100', '1e3', '50ms', '10s', '1m30s', '576h', '577h', '0s', '5', 'off', 'on', '', ' 1m', '1m '],
];

/** Whether the command line takes the flag. */
function isFlag(flag: string): boolean {
  const command = limiterCommand()
    .exitOverride()
    .configureOutput({ writeErr: () => undefined });
  try {
    return command.parseOptions([flag]).unknown.length === 0;
  } catch {
    return false;
  }
}

describe.each(FIELDS)('%s', (field) => {
  test.each(TEXTS)('"%s" is judged as the command line judges it', (text) => {
    const [flag = ''] = boundFlags({ [field]: text });
    expect([text, boundProblem(field, text) === undefined]).toEqual([text, isFlag(flag)]);
  });

  test('is read from the annotation of its flag', () => {
    const annotation = BOUND_ANNOTATIONS.find((name) => boundFlags({ [field]: '1' })[0] === `--${name.slice(9)}=1`)!;
    const good = field === 'bodyBudget' ? '2Gi' : TEXTS.find((text) => boundProblem(field, text) === undefined)!;
    expect(wantedBounds({ [annotation]: good }, { [field]: 'other', maxBody: '1Mi' })).toEqual({
      bounds: { maxBody: '1Mi', [field]: good },
    });
    const { complaint } = wantedBounds({ [annotation]: 'nonsense' });
    expect(complaint).toMatch(new RegExp(`^annotation ${annotation}: "nonsense": write a `));
  });
});

test('a budget for fewer than three bodies is rejected, as the command line rejects it', () => {
  const budget = 'weir.dev/body-budget';
  expect(wantedBounds({ [budget]: '96Mi' }, { maxBody: '32Mi' })).toEqual({
    bounds: { maxBody: '32Mi', bodyBudget: '96Mi' },
  });
  expect(wantedBounds({ [budget]: '95Mi' }, { maxBody: '32Mi' }).complaint).toBe(
    'annotation weir.dev/body-budget: "95Mi" is less than three times max-body 32Mi: raise it, or leave it out',
  );
  expect(wantedBounds({ 'weir.dev/max-body': '64Mi' }, { bodyBudget: '128Mi' }).complaint).toContain(
    'three times max-body 64Mi',
  );
  expect(complaintAboutBounds({ maxBody: 32 * 1024 ** 2, bodyBudget: 96 * 1024 ** 2 })).toBeUndefined();
  expect(complaintAboutBounds({ maxBody: 32 * 1024 ** 2, bodyBudget: 95 * 1024 ** 2 })).toBeDefined();
});

test('an injection config with a wrong bound is rejected, with the field and what to write', () => {
  const config = (bounds: object): string => JSON.stringify({ image: 'weir', operator: 'o:1', bounds });
  expect(parseInjectionConfig(config({ maxBody: '32Mi', maxHeaders: 200 })).bounds).toEqual({
    maxBody: '32Mi',
    maxHeaders: 200,
  });
  const refusal = (bounds: object): string => {
    try {
      parseInjectionConfig(config(bounds));
    } catch (error) {
      if (error instanceof InjectionConfigError) return error.message;
    }
    return 'taken';
  };
  expect(refusal({ maxBody: '25MB' })).toBe('bounds.maxBody: "25MB": write a size such as 512Ki, 32Mi');
  expect(refusal({ maxBodies: '1Mi' })).toMatch(/^maxBodies: no such field: one of maxBody, bodyBudget, /);
  expect(refusal({ streamIdleTimeout: 'never' })).toContain('write a duration up to 576h, such as 10m, or off');
});
