// The flags of `weir operator`: what cannot be meant is refused by name, and every flag has its variable.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, type CommanderError } from 'commander';
import { afterEach, describe, expect, test } from '@jest/globals';
import { parseEgress, parseHostPort, parseListen, readSwitches } from '../../src/cli/flags/flags.ts';
import { operatorCommand } from '../../src/cli/operator-command.ts';

afterEach(() => {
  delete process.env.WEIR_LEADER_ELECT;
});

function refusalOf(...args: string[]): Promise<CommanderError> {
  const program = new Command()
    .hook('preAction', (_program, command) => {
      readSwitches(command);
    })
    .addCommand(
      operatorCommand()
        .exitOverride()
        .configureOutput({ writeErr: () => undefined }),
    );
  return program.parseAsync(['node', 'weir', 'operator', ...args]).then(
    () => {
      throw new Error('the command ran');
    },
    (error: unknown) => error as CommanderError,
  );
}

describe('weir operator', () => {
  test.each([
    [['--push-listen', 'nowhere'], '--push-listen'],
    [['--push-listen', '127.0.0.1:70000'], '--push-listen'],
    [['--admin-listen', '127.0.0.1'], '--admin-listen'],
    [['--default-redis', 'redis'], '--default-redis'],
    [['--default-redis', ':6379'], '--default-redis'],
    [['--default-redis-ca-file', '/ca'], '--default-redis-ca-file needs --default-redis'],
    [['--default-redis-acl'], '--default-redis-acl needs --default-redis'],
    [['--default-redis', 'r:1', '--default-redis-acl'], '--default-redis-password-file'],
    [['--default-redis', 'r:1', '--default-redis-namespaces', 'A'], '--default-redis-namespaces'],
    [['--egress-allow', '10.0.0.0/8,300.0.0.0/8'], '--egress-allow'],
    [['--namespace', 'Upper'], '--namespace'],
    [['--tls-san', 'no spaces'], '--tls-san'],
    [['--log-level', 'loud'], '--log-level'],
    [['--no-such-flag'], '--no-such-flag'],
    [['--tls-dir', '/dev/null'], '/dev/null'],
  ])('%j is refused, naming %s', async (args, named) => {
    const error = await refusalOf(...args);
    expect(error.exitCode).not.toBe(0);
    expect(error.message).toContain(named);
  });

  test('a kubeconfig that is not there is refused, and no port stays open', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'weir-cli-'));
    const ports = ['--push-listen', '127.0.0.1:0', '--admin-listen', '127.0.0.1:0'];
    const error = await refusalOf('--kubeconfig', join(folder, 'absent'), '--tls-dir', join(folder, 'tls'), ...ports);
    expect(error.message).toContain(join(folder, 'absent'));
    await rm(folder, { recursive: true, force: true });
  });

  test('one that is told WEIR_LEADER_ELECT=false takes no part in an election', async () => {
    const ports = ['--push-listen', '127.0.0.1:0', '--admin-listen', '127.0.0.1:0', '--tls-dir', '/dev/null'];
    process.env.WEIR_LEADER_ELECT = 'true';
    expect((await refusalOf(...ports)).message).toContain('--leader-elect needs --own-namespace');
    process.env.WEIR_LEADER_ELECT = 'false';
    expect((await refusalOf(...ports)).message).toContain('/dev/null');
  });

  test('every flag can be given by the environment, and --help says how', () => {
    const command = operatorCommand();
    for (const option of command.options) expect(option.envVar).toMatch(/^WEIR_[A-Z_]+$/);
    const help = command.helpInformation();
    for (const { long, envVar } of command.options) {
      expect(help).toContain(long);
      expect(help).toContain(envVar);
    }
  });
});

describe('values of flags', () => {
  test.each([
    ['127.0.0.1:18000', { host: '127.0.0.1', port: 18_000 }],
    [':18000', { host: '127.0.0.1', port: 18_000 }],
    ['[::1]:0', { host: '::1', port: 0 }],
    ['0.0.0.0:443', { host: '0.0.0.0', port: 443 }],
  ])('listen on %s', (text, expected) => {
    expect(parseListen(text)).toEqual(expected);
  });

  test.each(['10.0.0.0/8', '127.0.0.1', '::1/128', 'api.example.com', '*.example.com', '*'])('egress %s', (text) => {
    expect(parseEgress(text)).toBe(text);
  });

  test.each(['*.', '*a', '10.0.0.0/33', '10.0.0.0/', 'a b', '10.0.0.0/8/8', '::1/129', 'http://x'])(
    'no egress %s',
    (text) => {
      expect(() => parseEgress(text)).toThrow();
    },
  );

  test('a Redis is a host and a port', () => {
    expect(parseHostPort('redis.cache:6379')).toBe('redis.cache:6379');
    expect(() => parseHostPort('redis.cache:0')).toThrow();
  });
});
