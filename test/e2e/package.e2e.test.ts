// The npm package: packed, installed in an empty folder and run by npx, the demo passes. Needs npm's registry or its
// cache.
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

const run = promisify(execFile);
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weir-package-'));
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe('the package', () => {
  test('runs the demo by npx from a packed tarball', async () => {
    // Without the build step: other tests run what is in dist/.
    const packed = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder]);
    const [{ filename }] = JSON.parse(packed.stdout) as [{ filename: string }];
    const args = ['--yes', '--prefer-offline', `--package=${join(folder, filename)}`, 'weir', 'demo'];
    const { stdout } = await run('npx', args, { cwd: folder, timeout: 110_000 });
    expect(stdout).toContain('Every count agrees with the upstream.');
    expect(stdout).toMatch(/refused [1-9]/);
  });
});
