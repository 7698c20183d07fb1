// Members of the cluster that are processes of their own: started, ended, and gone with their parents.
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { endMember, isGone, startMember } from './members.ts';
import { freePorts, isOpen } from './ports.ts';
import { waitFor } from './wait.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weir-members-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

// The more memory and threads a process has, the longer it keeps its ports after it has lost its environment.
test('a killed process counts as ended when its port is free, not when it is no longer recognised', async () => {
  const [port] = (await freePorts(1)) as [number];
  const program = `globalThis.held = Array.from({ length: 100 }, () => Buffer.alloc(4 << 20, 1));
    require('node:net').createServer().listen(${port}, '127.0.0.1');`;
  const member = await startMember({
    folder,
    run: '1',
    name: 'large',
    program: process.execPath,
    args: ['-e', program],
    logFile: join(folder, 'large.log'),
  });
  try {
    await waitFor('the port', async () => (await isOpen(port)) || undefined, { deadlineMs: 20_000 });
  } finally {
    await endMember(folder, member, { signal: 'SIGKILL' });
  }
  expect(await isOpen(port)).toBe(false);
});

test('a process that becomes another program is not taken for one that ended', async () => {
  const script = join(folder, 'becomes.sh');
  const done = join(folder, 'done');
  await writeFile(script, `if [ "$1" -lt 500 ]; then exec /bin/sh "$0" $(($1 + 1)); fi; touch ${done}; exec sleep 60`);
  const options = { folder, run: '1', name: 'many', logFile: join(folder, 'many.log') };
  const member = await startMember({ ...options, program: '/bin/sh', args: [script, '0'] });
  try {
    while (!existsSync(done)) expect(isGone(member.pid)).toBe(false);
  } finally {
    await endMember(folder, member, { signal: 'SIGKILL' });
  }
  expect(isGone(member.pid)).toBe(true);
});

test('a process that becomes another program again and again is ended, whenever that is asked', async () => {
  const script = join(folder, 'restless.sh');
  await writeFile(script, 'exec /bin/sh "$0"');
  for (let round = 0; round < 100; round += 1) {
    const options = { folder, run: '1', name: `restless-${round}`, logFile: join(folder, 'restless.log') };
    const member = await startMember({ ...options, program: '/bin/sh', args: [script] });
    const end = performance.now() + (round % 10) / 3;
    while (performance.now() < end);
    await endMember(folder, member, { signal: 'SIGKILL' });
    const isEnded = isGone(member.pid);
    if (!isEnded) process.kill(member.pid, 'SIGKILL');
    expect([round, isEnded]).toEqual([round, true]);
  }
});
