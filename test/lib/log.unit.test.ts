// What a limiter logs: constant messages, everything that varies in a field.
import { expect, jest, test } from '@jest/globals';
import { silentLogger } from '../../src/lib/log.ts';
import { routeTo, startLimiter } from '../limiter/running.ts';

test('a config that is rejected is one line that names it, its version and the reason', async () => {
  const logger = silentLogger();
  const warn = jest.spyOn(logger, 'warn');
  const running = await startLimiter([routeTo('http://192.0.2.1')], {}, { logger });
  await running.close();
  expect(warn.mock.calls).toEqual([
    [
      'config rejected',
      {
        resource: expect.stringMatching(/^ModelRoute\//),
        version: expect.any(String),
        reason: expect.stringContaining('targets[0].url host "192.0.2.1" is not covered'),
      },
    ],
  ]);
});
