// The flags of `weir limiter`: defaults are those of the limiter, invalid values are refused by flag, and every flag
// has its variable.
import { Command, type CommanderError } from 'commander';
import { afterEach, describe, expect, test } from '@jest/globals';
import { boundsOf, complaintAboutBounds } from '../../src/cli/flags/limiter-bounds.ts';
import { limiterCommand, type LimiterFlags } from '../../src/cli/limiter-command.ts';
import { LIMITER_DEFAULTS } from '../../src/limiter/settings.ts';

const variables = limiterCommand()
  .options.map(({ envVar }) => envVar ?? '')
  .filter((name) => name !== '');
afterEach(() => {
  for (const name of variables) Reflect.deleteProperty(process.env, name);
});

/** The flags as the command's action would get them. */
function flagsOf(...args: string[]): LimiterFlags {
  const command = limiterCommand()
    .exitOverride()
    .configureOutput({ writeErr: () => undefined })
    .action(() => undefined);
  new Command().addCommand(command).parse(['node', 'weir', 'limiter', ...args]);
  return command.opts<LimiterFlags>();
}

function refusalOf(...args: string[]): CommanderError {
  try {
    flagsOf(...args);
  } catch (error) {
    return error as CommanderError;
  }
  throw new Error('the flags were taken');
}

describe('weir limiter', () => {
  test('the bounds that no flag names are the defaults of the limiter', () => {
    expect(LIMITER_DEFAULTS).toMatchObject(boundsOf(flagsOf()));
  });

  test('every bound is a flag, and every flag has its variable', () => {
    const given = boundsOf(
      flagsOf(
        '--max-body=25Mi',
        '--body-budget=1Gi',
        '--body-idle-timeout=5s',
        '--max-header-bytes=32Ki',
        '--max-headers=200',
        '--request-headers-timeout=10s',
        '--request-timeout=20m',
        '--keep-alive-timeout=30s',
        '--connect-timeout=1s',
        '--headers-timeout=30m',
        '--stream-idle-timeout=off',
        '--upstream-idle-timeout=60s',
        '--egress-allow=10.0.0.0/8',
      ),
    );
    expect(given).toEqual({
      maxBodyBytes: 25 * 1024 ** 2,
      bodyBudgetBytes: 1024 ** 3,
      bodyIdleTimeoutMs: 5_000,
      maxHeaderBytes: 32 * 1024,
      maxHeaders: 200,
      requestHeadersTimeoutMs: 10_000,
      requestTimeoutMs: 1_200_000,
      keepAliveTimeoutMs: 30_000,
      connectTimeoutMs: 1_000,
      headersTimeoutMs: 1_800_000,
      streamIdleTimeoutMs: 0,
      upstreamIdleTimeoutMs: 60_000,
      egressAllow: ['10.0.0.0/8'],
    });
    process.env['WEIR_MAX_HEADERS'] = '7';
    process.env['WEIR_STREAM_IDLE_TIMEOUT'] = '2h';
    expect(boundsOf(flagsOf())).toMatchObject({ maxHeaders: 7, streamIdleTimeoutMs: 7_200_000 });
  });

  test('the budget of bodies has room for a few of the largest', () => {
    expect(boundsOf(flagsOf('--max-body=64Mi')).bodyBudgetBytes).toBe(256 * 1024 ** 2);
    const both = flagsOf('--max-body=64Mi', '--body-budget=128Mi');
    expect(complaintAboutBounds(both)).toMatch(/--body-budget .* is less than three times --max-body/);
    expect(complaintAboutBounds(flagsOf('--max-body=64Mi', '--body-budget=192Mi'))).toBeUndefined();
  });

  test.each([
    [['--body-budget', '1.5Gi'], 'is not a size'],
    [['--max-body', '0'], 'is not a size'],
    [['--max-body', '16MB'], 'is not a size'],
    [['--max-header-bytes', '512'], 'write a size from 1Ki to 1Mi'],
    [['--max-header-bytes', '2Mi'], 'write a size from 1Ki to 1Mi'],
    [['--max-header-bytes', '-1'], 'is not a size'],
    [['--max-headers', '0'], 'write 1 to 10000'],
    [['--max-headers', '10001'], 'write 1 to 10000'],
    [['--max-headers', '1e3'], 'write 1 to 10000'],
    [['--request-headers-timeout', 'off'], 'is not a duration'],
    [['--request-timeout', '0s'], 'is not a duration'],
    [['--keep-alive-timeout', '5'], 'is not a duration'],
    [['--headers-timeout', '600h'], 'is longer than 576h'],
    [['--stream-idle-timeout', 'never'], 'is not a duration'],
    [['--upstream-idle-timeout', '-1s'], 'is not a duration'],
  ])('%j is refused, naming flag and fix', (args, named) => {
    const { exitCode, message } = refusalOf(...args);
    expect(exitCode).not.toBe(0);
    expect(message).toContain(args[0]);
    expect(message).toContain(named);
  });
});
