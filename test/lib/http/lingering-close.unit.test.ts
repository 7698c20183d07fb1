// A lingering close ends when the client is silent, when it has had its time or its bytes, and when it leaves.
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { linger, type LingerBounds } from '../../../src/lib/http/lingering-close.ts';

const LONG = 60_000;
const BOUNDS: LingerBounds = { idleMs: LONG, totalMs: LONG, bytes: Infinity };
let server: Server;
let client: Socket;
let socket: Socket;

beforeEach(async () => {
  server = createServer();
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  [socket] = await accepted;
  socket.resume();
  for (const each of [client, socket]) each.on('error', () => undefined);
});
afterEach(() => {
  client.destroy();
  socket.destroy();
  server.close();
});

/** Resolves when the wait is over. */
function lingered(bounds: Partial<LingerBounds>): Promise<void> {
  return new Promise((resolve) => {
    linger(socket, resolve, { ...BOUNDS, ...bounds });
  });
}

function sendForever(): void {
  const send = setInterval(() => client.write('x'), 1);
  client.once('close', () => {
    clearInterval(send);
  });
}

test('a client that is silent', async () => {
  await lingered({ idleMs: 20 });
});

test('a client that sends a byte now and then, for ever', async () => {
  sendForever();
  await lingered({ idleMs: 1_000, totalMs: 200 });
});

test('a client that sends a lot', async () => {
  client.write(Buffer.alloc(100_000));
  await lingered({ idleMs: 1_000, bytes: 50_000 });
});

test('a client that leaves', async () => {
  const over = lingered({});
  client.destroy();
  await over;
});

test('one that has left', async () => {
  socket.destroy();
  await lingered({});
});

test('is over once, also when it is ended by hand', async () => {
  let times = 0;
  const end = linger(socket, () => (times += 1), BOUNDS);
  end();
  end();
  socket.destroy();
  await once(socket, 'close');
  expect(times).toBe(1);
});
