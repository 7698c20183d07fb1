// Golden files: each `<case>.in.yaml` is an object and its world, `<case>.out.yaml` what reconcile makes of them.
// `UPDATE_GOLDEN=1` writes the outcomes anew; read the difference before it is committed.
import { describe, expect, test } from '@jest/globals';
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { parse, stringify } from 'yaml';
import { reconcile } from '../../src/reconcile/reconcile.ts';
import { ObjectTable } from '../../src/reconcile/object-table.ts';
import type { LastGood, ObjectAsRead, ReconcileOutcome, ServiceFacts } from '../../src/reconcile/types.ts';
import { type Fleet, NOW, type SecretAsWritten, worldOf } from './world.ts';

interface Golden extends Fleet {
  readonly object: ObjectAsRead;
  readonly lastGood?: LastGood;
  readonly rivals?: readonly { readonly object: ObjectAsRead; readonly lastGood?: LastGood }[];
  readonly services?: Readonly<Record<string, ServiceFacts>>;
  readonly secrets?: Readonly<Record<string, SecretAsWritten>>;
  readonly settings?: Parameters<typeof worldOf>[0];
  /** Reconcile once more, with the status of the first time. */
  readonly repeat?: boolean;
}

const FOLDER = `${import.meta.dirname}/../../src/reconcile/testdata`;
const inputs = globSync(`${FOLDER}/*.in.yaml`).sort();

function run(golden: Golden): ReconcileOutcome {
  const settings = golden.settings ?? {};
  const rivals = new ObjectTable(settings);
  for (const rival of golden.rivals ?? []) rivals.put(rival.object, rival.lastGood);
  const world = worldOf(settings, {
    fleet: golden,
    rivals,
    services: golden.services ?? {},
    secrets: golden.secrets ?? {},
  });
  const { object, lastGood } = golden;
  const input = { object, world, now: NOW, ...(lastGood === undefined ? {} : { lastGood }) };
  const first = reconcile(input);
  if (golden.repeat !== true) return first;
  return reconcile({ ...input, object: { ...object, status: first.status }, now: '2026-12-31T00:00:00Z' });
}

/** What of an outcome a reader wants to see: the bytes of the resource are the config again. */
function show({ inForce, status, statusChanged, lastGood, changedReasons }: ReconcileOutcome): unknown {
  const { resource, ...rest } = inForce ?? {};
  return {
    inForce: inForce === undefined ? 'nothing' : { ...rest, version: resource?.version },
    status,
    statusChanged,
    lastGood: lastGood === undefined ? 'none' : `generation ${lastGood.generation}`,
    changedReasons: changedReasons.map(({ type, reason }) => `${type}: ${reason}`),
  };
}

describe('golden files', () => {
  test('there are at least thirty', () => {
    expect(inputs.length).toBeGreaterThanOrEqual(30);
  });

  test.each(inputs.map((path) => [basename(path, '.in.yaml'), path]))('%s', (_name, path) => {
    const outcome = show(run(parse(readFileSync(path, 'utf8')) as Golden));
    const outPath = path.replace('.in.yaml', '.out.yaml');
    if (process.env['UPDATE_GOLDEN'] === '1')
      writeFileSync(outPath, stringify(outcome, { lineWidth: 120, aliasDuplicateObjects: false }));
    expect(JSON.parse(JSON.stringify(outcome))).toEqual(parse(readFileSync(outPath, 'utf8')));
  });
});
