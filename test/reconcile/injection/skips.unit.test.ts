// Why a pod carries no limiter: one table, told by the webhook, by the annotation and by docs/sidecars.md; what the
// operator makes of pods that the webhook never saw; and annotations that someone else wrote.
import { describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { formatSkip, parseSkip, SKIPS, skipText, type SkipReason } from '../../../src/reconcile/injection/skips.ts';
import { whyUnlimited, type InjectionScope, type UnlimitedFacts } from '../../../src/reconcile/injection/unlimited.ts';

const reasons = Object.keys(SKIPS) as SkipReason[];

test('docs/sidecars.md has exactly the table', () => {
  const docs = readFileSync(new URL('../../../docs/sidecars.md', import.meta.url), 'utf8');
  const section = docs.split('## What gets no limiter')[1]!.split(/^## /m)[0]!;
  const rows = section.split('\n').filter((line) => line.startsWith('| `'));
  expect(rows).toEqual(
    Object.entries(SKIPS).map(([reason, { what, mend }]) => `| \`${reason}\` | ${what} | ${mend} |`),
  );
});

test.each(reasons)(
  '%s: what is written into a pod is read again, and fits into a warning of the API server',
  (reason) => {
    const text = skipText({ reason }, 'serving');
    expect(text).not.toContain('NAMESPACE');
    expect(`weir: the pod gets no limiter: ${text}`.length).toBeLessThanOrEqual(256);
    expect(parseSkip(formatSkip(reason, text))).toEqual({ reason, text });
  },
);

describe('an annotation that someone else wrote', () => {
  test.each([
    undefined,
    '',
    'SeveralPorts',
    'SeveralPorts: ',
    'Nonsense: x',
    'toString: x',
    'constructor: x',
    '__proto__: x',
  ])('%s counts for nothing', (value) => {
    expect(parseSkip(value)).toBeUndefined();
  });

  test('is short and one line, whatever it holds', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 5000, unit: 'binary' }), (text) => {
        const read = parseSkip(`NoPort: ${text}`);
        expect((read?.text ?? '').length).toBeLessThanOrEqual(500);
        expect(read?.text ?? '').not.toMatch(/\p{Cc}/u);
      }),
    );
  });
});

describe('a pod that the webhook did not see', () => {
  const facts = (more: Partial<UnlimitedFacts> = {}): UnlimitedFacts => ({ namespace: 'serving', labels: {}, ...more });
  const scope = (more: Partial<InjectionScope> = {}): InjectionScope => ({
    isOn: true,
    isExcluded: (namespace) => namespace === 'kube-system',
    labelOf: () => 'true',
    ...more,
  });
  const label = (value: string): Partial<UnlimitedFacts> => ({ labels: { 'weir.dev/inject': value } });
  const unlabelled = scope({ labelOf: () => '' });

  test.each<[string, UnlimitedFacts, InjectionScope, SkipReason]>([
    ['nothing in its way', facts(), scope(), 'NotSeen'],
    ['its namespace not labelled', facts(), unlabelled, 'NotAsked'],
    ['its namespace labelled false', facts(), scope({ labelOf: () => 'false' }), 'NotAsked'],
    ['the labels of its namespace not known', facts(), scope({ labelOf: () => undefined }), 'NotSeen'],
    ['its own label, in a namespace that is not labelled', facts(label('true')), unlabelled, 'NotSeen'],
    ['opted out', facts(label('false')), scope(), 'OptedOut'],
    ['opted out, in a namespace that is not labelled', facts(label('false')), unlabelled, 'OptedOut'],
    ['of kube-system', facts({ namespace: 'kube-system' }), scope(), 'ExcludedNamespace'],
    ['hostNetwork', facts({ unfit: 'HostNetwork' }), scope(), 'HostNetwork'],
    ['hostNetwork, in a namespace that is not labelled', facts({ unfit: 'HostNetwork' }), unlabelled, 'HostNetwork'],
    ['static', facts({ unfit: 'MirrorPod' }), scope(), 'MirrorPod'],
    ['while nothing is injected', facts(), scope({ isOn: false }), 'NoInjector'],
    [
      'what the injector wrote, whatever the labels say now',
      facts({ notInjected: 'NoPort: none' }),
      unlabelled,
      'NoPort',
    ],
  ])('%s', (_name, pod, around, reason) => {
    expect(whyUnlimited(pod, around).reason).toBe(reason);
  });

  test('is told what to type', () => {
    expect(whyUnlimited(facts(), unlabelled).message).toContain('kubectl label namespace serving weir.dev/inject=true');
    expect(whyUnlimited(facts(), scope()).message).toContain('kubectl rollout restart');
  });
});
