// A chunked body is handed on once in a turn of the event loop, however many chunks a turn brings.
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { gather, pace } from '../../../src/lib/http/paced-reading.ts';

interface Read {
  readonly pieces: readonly Buffer[];
  /** The most pieces that came between two passes of the loop over its immediates. */
  readonly mostInATurn: number;
  readonly trailers: NodeJS.Dict<string>;
  readonly isShredded: boolean;
}

let server: Server;
let socket: Socket;
let read: Promise<Read>;

beforeEach(async () => {
  const { promise, resolve } = Promise.withResolvers<Read>();
  read = promise;
  server = createServer((request, response) => {
    gather(request);
    void readAll(request).then((all) => {
      resolve(all);
      response.end();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
});
afterEach(() => {
  socket.destroy();
  server.closeAllConnections();
  server.close();
});

async function readAll(request: IncomingMessage): Promise<Read> {
  const reading = pace(request);
  const pieces: Buffer[] = [];
  let [inTurn, mostInATurn, isOver] = [0, 0, false];
  const nextTurn = (): void => {
    inTurn = 0;
    if (!isOver) setImmediate(nextTurn);
  };
  nextTurn();
  request.on('data', (chunk: Buffer) => {
    pieces.push(chunk);
    inTurn += 1;
    mostInATurn = Math.max(mostInATurn, inTurn);
  });
  await once(request, 'end');
  isOver = true;
  return { pieces, mostInATurn, trailers: request.trailers, isShredded: reading.isShredded };
}

const HEAD = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n';
const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;

test.each([1, 30, 500])('chunks of %d bytes', async (size) => {
  const texts = Array.from({ length: 2_000 }, (_text, index) => String(index % 10).repeat(size));
  socket.write(`${HEAD}${texts.map(chunk).join('')}0\r\nX-After: all\r\n\r\n`);
  const { pieces, mostInATurn, trailers, isShredded } = await read;
  expect(Buffer.concat(pieces).toString()).toBe(texts.join(''));
  // One for the turn, and what was left at the end of the body.
  expect(mostInATurn).toBeLessThanOrEqual(2);
  expect(trailers).toEqual({ 'x-after': 'all' });
  expect(isShredded).toBe(size < 16);
});

test('chunks that come one by one are handed on one by one', async () => {
  socket.write(HEAD);
  for (const text of ['one', 'two', 'three']) {
    socket.write(chunk(text));
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  socket.write('0\r\n\r\n');
  const { pieces } = await read;
  expect(pieces.map(String)).toEqual(['one', 'two', 'three']);
});

test('an empty body ends', async () => {
  socket.write(`${HEAD}0\r\n\r\n`);
  expect((await read).pieces).toEqual([]);
});

test.each([100, 4_000, 16_000, 60_000])(
  'chunks of %d bytes that come slowly to a reader that rests: no more than one buffer is held, and all is read later',
  async (size) => {
    const { promise, resolve } = Promise.withResolvers<IncomingMessage>();
    server.removeAllListeners('request');
    server.on('request', (request: IncomingMessage) => {
      gather(request);
      resolve(request);
    });
    socket.write(HEAD);
    const request = await promise;
    const count = Math.ceil(2_000_000 / size);
    let most = 0;
    for (let sent = 0; sent < count; sent += 1) {
      socket.write(chunk('x'.repeat(size)));
      // Less than a buffer comes in a turn.
      if (sent % Math.ceil(16_000 / size) === 0) await new Promise((pause) => setTimeout(pause, 1));
      most = Math.max(most, request.readableLength);
    }
    socket.write('0\r\n\r\n');
    expect(most).toBeLessThan(3 * 64 * 1024);
    let bytes = 0;
    for await (const piece of request) bytes += (piece as Buffer).length;
    expect(bytes).toBe(count * size);
  },
);
