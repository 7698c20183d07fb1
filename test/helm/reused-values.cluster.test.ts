// `helm upgrade --reuse-values` from each older release: the chart gets the complete values of that release and
// nothing else. Every value that was added since has a default in the chart itself, so what is rendered is what the
// same values give today.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { globSync, readFileSync } from 'node:fs';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parse } from 'yaml';
import { leaveOut } from '../../tools/node-cluster/leave-out.ts';
import { CHART, findHelm, mustHelm, NO_HELM } from './helm.ts';

type Values = Readonly<Record<string, unknown>>;

const RELEASES = globSync(`${import.meta.dirname}/released/*.yaml`).sort();
const read = (path: string): Values => parse(readFileSync(path, 'utf8'), { merge: true }) as Values;
const NOW = read(join(CHART, 'values.yaml'));
const ADDED = read(join(CHART, 'files/added-values.yaml'));

/** Leaves of `now` that `before` has not. Of a path in `whole` everything below belongs to it. */
function newPaths(before: unknown, now: unknown, whole: object = {}, path: readonly string[] = []): string[] {
  const name = path.join('.');
  if (isMap(now) && Object.keys(now).length > 0 && !(name in whole)) {
    const inside = isMap(before) ? before : {};
    return Object.entries(now).flatMap(([key, value]) => newPaths(inside[key], value, whole, [...path, key]));
  }
  return before === undefined ? [name] : [];
}

function isMap(value: unknown): value is Values {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function at(values: unknown, path: string): unknown {
  return path.split('.').reduce((found, name) => (isMap(found) ? found[name] : undefined), values);
}

describe.each(RELEASES.map((path) => [basename(path, '.yaml'), path]))('values of %s', (_release, path) => {
  test('lack nothing that the chart has no default of its own for', () => {
    expect(newPaths(read(path), NOW, ADDED).filter((name) => !(name in ADDED))).toEqual([]);
  });

  test('have nothing that the chart does not know any more', () => {
    expect(newPaths(NOW, read(path))).toEqual([]);
  });
});

test('defaults of the chart itself are those of values.yaml', () => {
  // Empty bounds are the limiter's defaults, as absent ones are.
  const said = Object.keys(ADDED).filter((name) => !name.endsWith('.bounds'));
  expect(said.map((name) => [name, ADDED[name]])).toEqual(said.map((name) => [name, at(NOW, name)]));
});

function suite(): void {
  let bare = '';

  beforeAll(async () => {
    // helm coalesces given values with values.yaml; --reuse-values takes that of the older chart in its place.
    bare = join(await mkdtemp(join(tmpdir(), 'weir-bare-')), 'weir');
    await cp(CHART, bare, { recursive: true });
    await rm(join(bare, 'values.yaml'));
  });
  afterAll(async () => {
    await rm(join(bare, '..'), { recursive: true, force: true });
  });

  const render = (chart: string, ...args: string[]): Promise<string> =>
    mustHelm(['template', 'weir', chart, '--namespace', 'weir-system', ...args]);

  describe.each(RELEASES.map((path) => [basename(path, '.yaml'), path]))('values of %s', (_release, path) => {
    test.each([
      ['alone', []],
      ['and shared limiters', ['--set', 'sharedLimiter.enabled=true']],
      ['and everything that can be monitored', ['--set', 'monitoring.serviceMonitor.enabled=true']],
      ['and network policies', ['--set', 'networkPolicy.enabled=true']],
      [
        'and a new value',
        ['--set', 'operator.serviceAccount.name=runner', '--set', 'injector.sidecar.bounds.maxBody=32Mi'],
      ],
      ['and no trial Redis', ['--set', 'redis.enabled=false']],
    ])('%s', async (_what, more) => {
      expect(await render(bare, '--values', path, ...more)).toBe(await render(CHART, '--values', path, ...more));
    });
  });

  test('a part of a map that is removed stays removed', async () => {
    const text = await render(CHART, '--set', 'operator.podSecurityContext.runAsUser=null');
    const operator = text.split(/^---$/m).find((part) => /kind: Deployment[\s\S]*name: weir-operator/.test(part));
    expect(operator).toMatch(/runAsNonRoot: true/);
    expect(operator).not.toMatch(/runAsUser/);
  });
}

if (findHelm() === undefined) leaveOut('values of older releases', NO_HELM, suite);
else describe('rendered', suite);
