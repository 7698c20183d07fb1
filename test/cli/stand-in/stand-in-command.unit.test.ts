// The stand-in model as a command: it answers, counts, and ends by SIGTERM after what runs has been answered.
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { expect, test } from '@jest/globals';
import { startStandInModel } from '../../../src/cli/stand-in/stand-in-model.ts';
import { standInCommand } from '../../../src/cli/stand-in/stand-in-command.ts';

test('counts calls, not health checks', async () => {
  const server = await startStandInModel({ host: '127.0.0.1', port: 0 });
  try {
    expect(await (await fetch(`${server.url}/healthz`)).json()).toEqual({ status: 'ok' });
    const body = JSON.stringify({ model: 'm', messages: [] });
    const answer = await fetch(`${server.url}/v1/chat/completions`, { method: 'POST', body });
    expect(answer.status).toBe(200);
    expect(await (await fetch(`${server.url}/count`)).json()).toBe(1);
    expect(await (await fetch(`${server.url}/ledger`)).json()).toMatchObject([{ path: '/v1/chat/completions' }]);
  } finally {
    await server.close();
  }
  await expect(fetch(`${server.url}/healthz`)).rejects.toThrow('fetch failed');
});

test('closing lets a request that has begun have its answer', async () => {
  const server = await startStandInModel({ host: '127.0.0.1', port: 0 });
  const call = request(`${server.url}/v1/completions`, { method: 'POST', headers: { expect: '100-continue' } });
  call.flushHeaders();
  await once(call, 'continue');
  const closed = server.close();
  const answered = once(call, 'response');
  call.end('{"model":"m"}');
  const [response] = (await answered) as [IncomingMessage];
  expect(response.statusCode).toBe(200);
  response.resume();
  await closed;
});

test('a listen address that cannot be meant is refused by name', async () => {
  const command = standInCommand()
    .exitOverride()
    .configureOutput({ writeErr: () => undefined });
  await expect(command.parseAsync(['--listen', 'nowhere'], { from: 'user' })).rejects.toThrow('--listen');
});
