// A limiter that is told to drain by a hook: who may, how long the answer is held back, and what becomes of its
// callers.
import { afterEach, describe, expect, test } from '@jest/globals';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { listen } from '../../src/lib/http/http-listener.ts';
import { routeTo, startLimiter, until, type Running } from './running.ts';

const TOKEN = 'only-the-kubelet';
let running: Running | undefined;
let upstream: Server | undefined;
/** Requests that the upstream has not answered yet. */
let open: ServerResponse[] = [];

afterEach(async () => {
  for (const response of open) response.end();
  open = [];
  await running?.close();
  upstream?.closeAllConnections();
  upstream?.close();
});

/** With an object in force that takes none of the test's requests, or without any. */
async function start(objects = [routeTo('http://127.0.0.1:1')]): Promise<Running> {
  upstream = createServer((request, response) => {
    if (request.url === '/held') open.push(response);
    else response.end('ok');
  });
  await new Promise<void>((resolve) => upstream?.listen(0, '127.0.0.1', resolve));
  const { port } = upstream.address() as AddressInfo;
  running = await startLimiter(objects, {
    mode: 'sidecar',
    upstream: `http://127.0.0.1:${port}`,
    drainToken: TOKEN,
    unconfiguredWaitMs: 1,
  });
  return running;
}
const drain = (query: string, token: string | undefined = TOKEN): Promise<Response> =>
  fetch(`${running!.admin}/drain${query}`, { headers: token === '' ? {} : { 'x-weir-drain-token': token } });
const isReady = async (): Promise<boolean> => (await fetch(`${running!.admin}/readyz`)).ok;

describe('/drain', () => {
  test.each([
    ['no token', ''],
    ['another token', 'guessed'],
  ])('with %s is refused, and the limiter goes on', async (_name, token) => {
    await start();
    const answer = await drain('', token);
    expect([answer.status, await answer.text()]).toEqual([403, expect.not.stringContaining(TOKEN)]);
    expect(await isReady()).toBe(true);
  });

  test('is answered when the last request in flight is, not before', async () => {
    const { traffic } = await start();
    const held = fetch(`${traffic}/held`);
    await until(() => open.length === 1);
    let isAnswered = false;
    const hook = drain('?max=60s').then((answer) => {
      isAnswered = true;
      return answer.status;
    });
    await until(async () => !(await isReady()));
    // Whoever comes now is still served, and sent away afterwards.
    const late = await fetch(`${traffic}/late`);
    expect([late.status, await late.text(), late.headers.get('connection')]).toEqual([200, 'ok', 'close']);
    expect(isAnswered).toBe(false);
    open.pop()?.end('at last');
    expect(await (await held).text()).toBe('at last');
    expect(await hook).toBe(200);
  });

  test('waits for spliced connections with a request in flight, and for no others', async () => {
    const { traffic } = await start([]);
    await (await fetch(`${traffic}/before`)).text();
    const held = fetch(`${traffic}/held`);
    await until(() => open.length === 1);
    let isAnswered = false;
    const hook = drain('?max=60s').then((answer) => {
      isAnswered = true;
      return answer.status;
    });
    await until(async () => !(await isReady()));
    expect(isAnswered).toBe(false);
    open.pop()?.end('at last');
    expect(await (await held).text()).toBe('at last');
    expect(await hook).toBe(200);
  });

  test('is answered after max although a request is in flight', async () => {
    const { traffic } = await start();
    const held = fetch(`${traffic}/held`);
    await until(() => open.length === 1);
    expect((await drain('?delay=1ms&max=60ms')).status).toBe(200);
    expect(open.length).toBe(1);
    open.pop()?.end();
    await held;
  });

  test('holds its answer back for delay although nothing is in flight', async () => {
    await start();
    const startMs = performance.now();
    expect((await drain('?delay=120ms&max=60s')).status).toBe(200);
    expect(performance.now() - startMs).toBeGreaterThan(110);
  });

  test.each(['?delay=soon', '?max=2h', '?delay=-1s'])('%s is refused before anything is drained', async (query) => {
    await start();
    expect((await drain(query)).status).toBe(400);
    expect(await isReady()).toBe(true);
  });

  test('connections are kept for the next request until then', async () => {
    const { traffic } = await start();
    const answer = await fetch(`${traffic}/before`);
    await answer.text();
    expect(answer.headers.get('connection')).not.toBe('close');
  });
});

test('an address [::] takes callers of IPv4 too, with and without IPv6', async () => {
  const listener = await listen((_request, response) => response.end('here'), { host: '::', port: 0 });
  try {
    expect(await (await fetch(`http://127.0.0.1:${listener.address.port}/`)).text()).toBe('here');
  } finally {
    await listener.close(0);
  }
});
