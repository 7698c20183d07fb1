// What a config requires of a limiter, and what limiters have, are ids of one table: a limiter that has everything
// takes every config, on the day on which an ability is switched on too.
import { describe, expect, test } from '@jest/globals';
import { CAPABILITIES, missingCapabilities, usesOf } from '../../src/contract/capabilities.ts';
import { MEASURES } from '../../src/contract/measures.ts';
import { presentForm } from '../../src/reconcile/form.ts';
import { RELEASE, SETTINGS } from '../crd/release-0.2.0.ts';
import { SPECIMENS } from './specimens.ts';

const EVERY_ID = new Set(CAPABILITIES.map(({ id }) => id));
const objects = [...RELEASE.objects, ...SPECIMENS];
const metadata = { name: 'a', namespace: 'n', uid: 'u', generation: 1 };
const requiredBy = ({ kind, spec }: (typeof objects)[number]): readonly string[] =>
  presentForm({ kind, metadata, spec }, SETTINGS).config?.requires ?? [];

describe('trap 55: the name of an ability', () => {
  test('is that of the table in every config, also for what is not enforced yet', () => {
    for (const object of objects) expect(missingCapabilities(requiredBy(object), EVERY_ID)).toEqual([]);
  });

  test('is the same in the message of NotSupported and in the config', () => {
    for (const object of objects) {
      const required = new Set(requiredBy(object));
      if (required.size === 0) continue;
      const asked = usesOf({ spec: object.spec }).filter(({ path }) => path.endsWith('.measure'));
      expect(asked.filter(({ id }) => !required.has(id))).toEqual([]);
    }
  });

  test('of a measure is written once, in the table of measures', () => {
    const rows = CAPABILITIES.filter(({ path }) => path.endsWith('.measure'));
    expect(Object.fromEntries(rows.map(({ values, id }) => [String(values), id]))).toEqual(
      Object.fromEntries(Object.entries(MEASURES).map(([name, { capability }]) => [name, capability])),
    );
  });

  test('has one form', () => {
    for (const id of EVERY_ID) expect(id).toMatch(/^[a-z]+(-[a-z]+)*(\.[a-z]+(-[a-z]+)*)?$/);
  });
});
