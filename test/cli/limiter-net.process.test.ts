// `weir limiter` and `weir standalone` as processes: what nobody catches is logged and counted, and they go on.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
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
let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'weir-net-'));
});
afterEach(() => {
  child?.kill('SIGKILL');
  rmSync(folder, { recursive: true });
});

interface Started {
  readonly args: readonly string[];
  /** What it prints once it serves. */
  readonly sign: string;
  /** The answer to `GET /`. */
  readonly status: number;
}

const COMMANDS: readonly (readonly [name: string, start: () => Promise<Started>])[] = [
  [
    'limiter',
    () =>
      Promise.resolve({
        args: ['--decision-listen=off', '--state-dir=', '--unconfigured-wait=1ms'],
        sign: 'limiter started',
        status: 503,
      }),
  ],
  [
    'standalone',
    async () => {
      const [decision, operator] = await freePorts(2);
      const ports = [`--decision-listen=127.0.0.1:${decision}`, `--operator-admin-listen=127.0.0.1:${operator}`];
      const args = [`--manifests=${folder}`, `--state-dir=${join(folder, 'state')}`, ...ports];
      return { args, sign: 'admin     http', status: 404 };
    },
  ],
];

test.each(COMMANDS)('an error that nobody catches does not end weir %s', async (name, start) => {
  const thrower = join(folder, 'thrower.mjs');
  writeFileSync(thrower, THROWER);
  const [traffic, admin] = await freePorts(2);
  const { args: own, sign, status } = await start();
  const flags = [`--listen=127.0.0.1:${traffic}`, `--admin-listen=127.0.0.1:${admin}`, ...own];
  child = spawn(process.execPath, ['--import', thrower, PROGRAM, name, ...flags], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  for (const output of [child.stdout, child.stderr]) output?.on('data', (chunk: Buffer) => (log += chunk.toString()));
  await until(() => log.includes(sign), 30_000);

  child.kill('SIGUSR2');
  const counted = async (): Promise<number> => {
    const text = await (await fetch(`http://127.0.0.1:${admin}/metrics`)).text();
    return Number(/weir_internal_errors_total\{place="process"\} (\d+)/.exec(text)?.[1] ?? 0);
  };
  await until(async () => (await counted()) === 2, 30_000);
  expect(log.match(/"message":"internal error"/g)).toHaveLength(1);
  expect(log).toContain('nobody awaits this');
  expect((await fetch(`http://127.0.0.1:${traffic}/`)).status).toBe(status);

  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  expect(await ended).toEqual([0, null]);
});
