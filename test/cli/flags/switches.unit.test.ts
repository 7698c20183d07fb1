// Flags without a value, given by the environment: what the variable says counts, not that it is there.
import { afterEach, describe, expect, test } from '@jest/globals';
import { Command } from 'commander';
import { flag, readSwitches } from '../../../src/cli/flags/flags.ts';

afterEach(() => {
  delete process.env.WEIR_TEST_SWITCH;
});

function switchOf(text: string | undefined, ...args: string[]): unknown {
  delete process.env.WEIR_TEST_SWITCH;
  if (text !== undefined) process.env.WEIR_TEST_SWITCH = text;
  const command = new Command()
    .exitOverride()
    .configureOutput({ writeErr: () => undefined })
    .addOption(flag('--switch', 'WEIR_TEST_SWITCH', 'on or off').default(false))
    .hook('preAction', (_program, action) => {
      readSwitches(action);
    })
    .action(() => undefined);
  command.parse(args, { from: 'user' });
  return command.opts().switch;
}

describe('a flag without a value', () => {
  test.each(['true', '1', 'yes', 'on', 'TRUE'])('is given by %s', (text) => {
    expect(switchOf(text)).toBe(true);
  });

  test.each(['false', '0', 'no', 'off', 'False'])('is not given by %s', (text) => {
    expect(switchOf(text)).toBe(false);
  });

  test.each(['', 'maybe'])('is refused with "%s", naming the variable', (text) => {
    expect(() => switchOf(text)).toThrow(`WEIR_TEST_SWITCH must be true or false, not "${text}"`);
  });

  test('on the command line wins over the variable', () => {
    expect(switchOf('false', '--switch')).toBe(true);
    expect(switchOf('maybe', '--switch')).toBe(true);
    expect(switchOf(undefined)).toBe(false);
  });
});
