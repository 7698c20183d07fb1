// `weir limiter` as a process: what nobody catches is logged and counted, and the process goes on to serve.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { freePorts } from '../../tools/node-cluster/ports.ts';
import { until } from '../limiter/running.ts';

const PROGRAM = join(import.meta.dirname, '../../src/cli/main.ts');
/** Loaded into the process before it runs: throws where nobody can catch it, on a signal. */
const THROWER = `
process.on('SIGUSR2', () => {
  void Promise.reject(new Error('nobody awaits this'));
  setImmediate(() => { throw new Error('nobody catches this'); });
});
`;

let child: ChildProcess | undefined;
const folder = mkdtempSync(join(tmpdir(), 'weir-net-'));
afterEach(() => {
  child?.kill('SIGKILL');
  rmSync(folder, { recursive: true });
});

test('an error that nobody catches does not end a limiter', async () => {
  const thrower = join(folder, 'thrower.mjs');
  writeFileSync(thrower, THROWER);
  const [traffic, admin] = await freePorts(2);
  const flags = [`--listen=127.0.0.1:${traffic}`, `--admin-listen=127.0.0.1:${admin}`, '--decision-listen=off'];
  const args = ['--import', thrower, PROGRAM, 'limiter', ...flags, '--state-dir=', '--unconfigured-wait=1ms'];
  child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr?.on('data', (chunk: Buffer) => (log += chunk.toString()));
  await until(() => log.includes('limiter started'), 30_000);

  child.kill('SIGUSR2');
  const counted = async (): Promise<number> => {
    const text = await (await fetch(`http://127.0.0.1:${admin}/metrics`)).text();
    return Number(/weir_internal_errors_total\{place="process"\} (\d+)/.exec(text)?.[1] ?? 0);
  };
  await until(async () => (await counted()) === 2, 30_000);
  expect(log.match(/"message":"internal error"/g)).toHaveLength(1);
  expect(log).toContain('nobody awaits this');
  expect((await fetch(`http://127.0.0.1:${traffic}/`)).status).toBe(503);

  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  expect(await ended).toEqual([0, null]);
});
