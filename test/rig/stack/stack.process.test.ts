// Test of a test part: the processes of a stack are started, found from elsewhere, started again and ended, and no
// others.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { freePorts } from '../../../tools/node-cluster/ports.ts';
import { waitFor } from '../../../tools/node-cluster/wait.ts';
import { shellWord, type ProcessRecord } from './process-record.ts';
import { Stack } from './stack.ts';

const SERVER =
  "require('node:http').createServer((_, answer) => answer.end('ok')).listen(+process.env.PORT, '127.0.0.1')";

async function serverRecord(name: string): Promise<ProcessRecord> {
  const [port = 0] = await freePorts(1);
  return {
    name,
    program: process.execPath,
    args: ['-e', SERVER],
    environment: { PORT: String(port) },
    ready: { kind: 'http', url: `http://127.0.0.1:${port}/` },
  };
}

describe('a stack', () => {
  let folder = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'weir-stack-'));
  });
  afterEach(async () => {
    await (await Stack.attach(folder))?.end();
    await rm(folder, { recursive: true, force: true });
  });

  test('starts a process on what is written down of it, again after kill -9, and ends it', async () => {
    const stack = await Stack.create(folder, { guarded: true });
    const server = await stack.start(await serverRecord('one'));
    const first = server.pid();
    await server.kill();
    expect(server.pid()).toBeUndefined();
    await server.start();
    expect(server.pid()).toBeGreaterThan(0);
    expect(server.pid()).not.toBe(first);
    await stack.end();
    expect(server.pid()).toBeUndefined();
  });

  test('is found by another process, which ends all of it', async () => {
    const stack = await Stack.create(folder, { guarded: false });
    const records = [await serverRecord('one'), await serverRecord('two')];
    await Promise.all(records.map((record) => stack.start(record)));
    const found = await Stack.attach(folder);
    expect(found?.names().sort()).toEqual(['one', 'two']);
    await found?.end();
    expect(stack.server('one').pid()).toBeUndefined();
    expect(stack.server('two').pid()).toBeUndefined();
  });

  test('ends what an earlier one left in its folder', async () => {
    const earlier = await Stack.create(folder, { guarded: false });
    const server = await earlier.start(await serverRecord('one'));
    const stack = await Stack.create(folder, { guarded: false });
    expect(server.pid()).toBeUndefined();
    expect(stack.names()).toEqual([]);
  });

  test('knows a process that was started by hand with its start script', async () => {
    const stack = await Stack.create(folder, { guarded: false });
    const server = await stack.start(await serverRecord('one'));
    await server.kill();
    expect(await readFile(join(folder, 'one.cmd'), 'utf8')).toContain('exec ');
    const child = spawn('sh', [join(folder, 'one.cmd')], { stdio: 'ignore' });
    const ended = once(child, 'exit');
    await waitFor('the process by its name', () => server.pid(), { deadlineMs: 5000 });
    await server.start();
    expect(server.pid()).toBe(child.pid);
    await stack.end();
    await ended;
  });

  test('tells the end of the log of a process that ends before it is ready', async () => {
    const stack = await Stack.create(folder, { guarded: true });
    const record = await serverRecord('broken');
    await expect(stack.start({ ...record, args: ['-e', "throw new Error('no such flag')"] })).rejects.toThrow(
      /broken ended before it was ready[^]*no such flag/,
    );
    await stack.end();
  });
});

test.each([
  ['plain/word-1', 'plain/word-1'],
  ['two words', "'two words'"],
  ["it's", "'it'\\''s'"],
  ['$HOME', "'$HOME'"],
  ['', "''"],
])('%j is %s in a shell', (text, expected) => {
  expect(shellWord(text)).toBe(expected);
});
