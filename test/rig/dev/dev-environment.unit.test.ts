// Test of the dev stack's door: what is written is what a shell reads.
import { spawnSync } from 'node:child_process';
import { describe, expect, test } from '@jest/globals';
import { formatEnvironment, type DevFacts } from './dev-environment.ts';

const facts: DevFacts = {
  kubeconfig: "/tmp/it's here/kubeconfig",
  kubectl: '/nowhere/that/is/on/the/path/kubectl-of-the-cache',
  limiters: ['http://127.0.0.1:1', 'http://127.0.0.1:2'],
  admins: ['http://127.0.0.1:3', 'http://127.0.0.1:4'],
  decisions: ['http://127.0.0.1:5', 'http://127.0.0.1:6'],
  operatorAdmin: 'http://127.0.0.1:7',
  upstream: 'http://127.0.0.1:8',
  redisPort: 9,
};

function sourced(text: string, names: readonly string[]): Record<string, string> {
  const script = `${text}\n${names.map((name) => `printf '%s=%s\\0' ${name} "$${name}"`).join('\n')}`;
  const { stdout } = spawnSync('sh', ['-c', script], { encoding: 'utf8' });
  return Object.fromEntries(
    stdout
      .split('\0')
      .filter(Boolean)
      .map((line) => line.split(/=(.*)/s).slice(0, 2)) as [string, string][],
  );
}

describe('.run/env', () => {
  const text = formatEnvironment(facts, { OPERATOR_PID: 10, LIMITER1_PID: undefined });

  test('sourced by a shell has every value as it is', () => {
    expect(sourced(text, ['KUBECONFIG', 'L1', 'L2', 'ADMIN1', 'ADMIN2', 'UP', 'REDIS_PORT', 'OPERATOR_PID'])).toEqual({
      KUBECONFIG: facts.kubeconfig,
      L1: facts.limiters[0],
      L2: facts.limiters[1],
      ADMIN1: facts.admins[0],
      ADMIN2: facts.admins[1],
      UP: facts.upstream,
      REDIS_PORT: '9',
      OPERATOR_PID: '10',
    });
  });

  test('a process that does not run has no number', () => {
    expect(sourced(text, ['LIMITER1_PID'])).toEqual({ LIMITER1_PID: '' });
  });

  test('puts the folder of a kubectl that is not on the PATH at its end, and of no other', () => {
    expect(sourced(text, ['PATH'])['PATH']).toMatch(/:\/nowhere\/that\/is\/on\/the\/path$/);
    expect(formatEnvironment({ ...facts, kubectl: '/anywhere/sh' }, {})).not.toContain('PATH');
  });
});
