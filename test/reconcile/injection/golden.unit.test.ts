// Golden files of the injector: each `<case>.in.yaml` is a pod with its namespace and settings, `<case>.out.yaml` the
// pod that is made of it. `UPDATE_GOLDEN=1` writes the outcomes anew; read the difference before it is committed.
import { describe, expect, test } from '@jest/globals';
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { parse, stringify } from 'yaml';
import { inject, type NamespaceFacts } from '../../../src/reconcile/injection/inject.ts';
import type { InjectablePod } from '../../../src/reconcile/injection/pod.ts';
import { LABELLED, patchedBy, settingsWith } from './patched.ts';

interface Golden {
  readonly namespace?: NamespaceFacts;
  /** null: absent. */
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly pod: InjectablePod;
}

const FOLDER = `${import.meta.dirname}/../../../src/reconcile/injection/testdata`;
const inputs = globSync(`${FOLDER}/*.in.yaml`).sort();
const read = (path: string): Golden => {
  const golden = parse(readFileSync(path, 'utf8')) as Golden;
  return { ...golden, pod: { ...golden.pod, metadata: { ...golden.pod.metadata } } };
};

describe('golden files of the injector', () => {
  test.each(inputs.map((path) => [basename(path, '.in.yaml'), path]))('%s', (_name, path) => {
    const { pod, namespace = LABELLED, settings = {} } = read(path);
    const outcome = inject(pod, namespace, settingsWith(settings), 'drain-token');
    const { kind, warnings } = outcome;
    const shown = {
      outcome: kind === 'skipped' ? `skipped: ${outcome.reason}` : kind,
      warnings,
      pod: kind === 'unchanged' || outcome.patch.length === 0 ? 'as it came' : patchedBy(outcome.patch, pod),
    };
    const outPath = path.replace('.in.yaml', '.out.yaml');
    if (process.env['UPDATE_GOLDEN'] === '1')
      writeFileSync(outPath, stringify(shown, { lineWidth: 120, aliasDuplicateObjects: false }));
    expect(JSON.parse(JSON.stringify(shown))).toEqual(parse(readFileSync(outPath, 'utf8')));
  });

  test.each(inputs.map((path) => [basename(path, '.in.yaml'), path]))('%s: twice is once', (_name, path) => {
    const { pod, namespace = LABELLED, settings = {} } = read(path);
    const first = inject(pod, namespace, settingsWith(settings), 'drain-token');
    const once = first.kind === 'unchanged' ? pod : patchedBy(first.patch, pod);
    const second = inject(once, namespace, settingsWith(settings), 'another-token');
    if (first.kind === 'skipped') expect(second).toEqual({ ...first, patch: [] });
    else expect(second).toEqual({ kind: 'unchanged', warnings: [] });
  });
});
