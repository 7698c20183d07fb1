// The injection config as a file: a bad one at the start names its field, a replaced one is followed, and a bad one
// later is told while the last good one stays.
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InjectionConfigFile } from '../../../src/controller/webhook/injection-config-file.ts';
import { InjectionConfigError } from '../../../src/reconcile/injection/settings.ts';
import { waitFor } from '../../../tools/node-cluster/wait.ts';
import { capturingLogger } from '../../lib/capturing-logger.ts';

const GOOD = 'image: weir:1\noperator: weir-operator.weir-system.svc:18000\n';
const soon = { deadlineMs: 5_000, everyMs: 10 };
const { log, lines } = capturingLogger();
let folder = '';
let path = '';
let file: InjectionConfigFile;

beforeEach(async () => {
  lines.length = 0;
  folder = await mkdtemp(join(tmpdir(), 'weir-injection-config-'));
  path = join(folder, 'injection.yaml');
  file = new InjectionConfigFile(path, log);
});
afterEach(async () => {
  file.stop();
  await rm(folder, { recursive: true, force: true });
});

const start = async (text: string): Promise<void> => {
  await writeFile(path, text);
  await file.start(10);
};
const until = (what: string, holds: () => boolean): Promise<unknown> =>
  waitFor(
    what,
    () => {
      if (!holds()) throw new Error(JSON.stringify(file.current()));
      return Promise.resolve(true);
    },
    soon,
  );

test('is read with its defaults', async () => {
  await start(GOOD);
  expect(file.current()).toMatchObject({ image: 'weir:1', imagePullPolicy: 'IfNotPresent', drainSeconds: 5 });
  expect(file.isFaulty).toBe(false);
});

test.each([
  ['image: weir:1\n', 'operator: required'],
  [`${GOOD}drainSecond: 5\n`, 'drainSecond: no such field: one of image,'],
  [`${GOOD}drainSeconds: soon\n`, 'drainSeconds: must be integer'],
  [`${GOOD}storeDeadline: fast\n`, 'storeDeadline: not a duration'],
  [`${GOOD}logLevel: loud\n`, 'logLevel: one of error, warn, info, debug'],
  ['image: weir:1\noperator: nowhere\n', 'operator: expected host:port'],
  [`${GOOD}resources: { limit: { memory: 1Gi } }\n`, 'limit: no such field: one of requests, limits'],
  ['image: [', 'not YAML'],
  ['', 'the config: must be object'],
])('%j at the start names the file and the field', async (text, message) => {
  const failed = start(text);
  await expect(failed).rejects.toThrow(InjectionConfigError);
  await expect(failed).rejects.toThrow(`injection config ${path}: `);
  await expect(failed).rejects.toThrow(message);
});

test('that is not there is told at the start', async () => {
  await expect(file.start()).rejects.toThrow('ENOENT');
});

test('is followed when the link to it is replaced, as the kubelet does with a ConfigMap', async () => {
  await writeFile(join(folder, 'one'), GOOD);
  await writeFile(join(folder, 'two'), GOOD.replace('weir:1', 'weir:2'));
  await symlink('one', path);
  await file.start(10);
  expect(file.current().image).toBe('weir:1');
  await symlink('two', join(folder, 'next'));
  await rename(join(folder, 'next'), path);
  await until('the second config', () => file.current().image === 'weir:2');
  expect(lines.join('')).toContain('injection config loaded');
});

test('that is bad later is told once, the last good one stays; it is well again when the file is', async () => {
  await start(GOOD);
  await writeFile(path, `${GOOD}typo: 1\n`);
  await until('the fault', () => file.isFaulty);
  expect(file.current().image).toBe('weir:1');
  await writeFile(path, GOOD);
  await until('its end', () => !file.isFaulty);
  await rm(path);
  await until('the second fault', () => file.isFaulty);
  expect(file.current().image).toBe('weir:1');
  await writeFile(path, GOOD.replace('weir:1', 'weir:3'));
  await until('the third config', () => file.current().image === 'weir:3' && !file.isFaulty);
  const told = lines.filter((line) => line.includes('injection config is invalid'));
  // A file that is being written may be seen empty, so there may be more words than these two, but never one per look.
  expect(told[0]).toMatch(/typo: no such field|the config/);
  expect(told.length).toBeLessThan(6);
  expect(told.join('')).toContain('ENOENT');
});
