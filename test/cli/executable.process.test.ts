// The executable `weir` as a process: its exit codes, and that it says on the error stream what is wrong.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';

const PROGRAM = join(import.meta.dirname, '../../src/cli/main.ts');
const folder = mkdtempSync(join(tmpdir(), 'weir-executable-'));

afterAll(() => {
  rmSync(folder, { recursive: true });
});

describe('weir', () => {
  test.each<[readonly string[], number, string, Record<string, string>?]>([
    [['--help'], 0, ''],
    [['validate', '--help'], 0, ''],
    [['no-such-command'], 2, "unknown command 'no-such-command'"],
    [['validate'], 2, "missing required argument 'paths'"],
    [['validate', '--no-such-flag', '-'], 2, "unknown option '--no-such-flag'"],
    [['validate', '--output', 'xml', '-'], 2, 'Allowed choices are text, json'],
    [['validate', join(folder, 'absent.yaml')], 2, 'cannot be read'],
    [
      ['validate', '-'],
      2,
      'WEIR_VALIDATE_REQUIRE_REDIS must be true or false',
      { WEIR_VALIDATE_REQUIRE_REDIS: 'maybe' },
    ],
    [['grant', '-n', 'Tools', '--secret', 'a'], 2, 'is not the name of a namespace'],
    [['grant', '-f', join(folder, 'absent.yaml')], 2, 'cannot be read'],
  ])('%j ends with %i', (args, code, complaint, environment = {}) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [PROGRAM, ...args], {
      encoding: 'utf8',
      input: '',
      env: { ...process.env, NODE_COMPILE_CACHE: folder, ...environment },
    });
    expect({ status, complains: stderr !== '', prints: stdout !== '' }).toEqual({
      status: code,
      complains: code !== 0,
      prints: code === 0,
    });
    expect(stderr).toContain(complaint);
  });

  test('whoever stops reading what it prints ends it, without a trace', () => {
    const pipe = '"$0" "$1" --help | true; echo "${PIPESTATUS[0]}"';
    const { stdout, stderr } = spawnSync('bash', ['-c', pipe, process.execPath, PROGRAM], { encoding: 'utf8' });
    expect({ stdout, stderr }).toEqual({ stdout: '141\n', stderr: '' });
  });
});
