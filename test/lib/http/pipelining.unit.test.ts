// Many requests on one connection before any is answered: as many as clients pipeline are served in order; more cut
// the connection, because each holds memory until its answer is out.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { listen, type HttpListener } from '../../../src/lib/http/http-listener.ts';

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;
const last = 'GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';

describe('pipelined requests', () => {
  let listener: HttpListener;
  let waiting: ServerResponse[];
  let faults: string[];
  let begun: number;

  beforeEach(async () => {
    [waiting, faults, begun] = [[], [], 0];
    listener = await listen(
      ({ url }, response) => {
        begun += 1;
        if (url === '/slow') waiting.push(response);
        else response.end(url);
      },
      { host: '127.0.0.1', port: 0 },
      { onFault: (code) => faults.push(code) },
    );
  });
  afterEach(async () => {
    await listener.close(0);
  });

  function dial(): Socket {
    const socket = connect(listener.address.port, '127.0.0.1');
    socket.on('error', () => undefined);
    return socket;
  }

  async function textOf(socket: Socket): Promise<string> {
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    await new Promise((resolve) => socket.once('close', resolve));
    return Buffer.concat(chunks).toString();
  }

  test('sixty at once are answered in order, whoever is slow', async () => {
    const socket = dial();
    const text = textOf(socket);
    const paths = Array.from({ length: 59 }, (_, index) => (index === 0 ? '/slow' : `/${index}.`));
    socket.write(paths.map(get).join('') + last);
    while (begun < 60) await new Promise(setImmediate);
    waiting[0]?.end('/slow');
    const bodies = [...(await text).matchAll(/\r\n\r\n(\/(?:slow|last|\d+\.))/g)].map(([, body]) => body);
    expect(bodies).toEqual([...paths, '/last']);
    expect(faults).toEqual([]);
  });

  test('a few of them begin in a turn of the event loop, of all connections together', async () => {
    const texts = Array.from({ length: 4 }, () => {
      const socket = dial();
      socket.write(get('/quick').repeat(49) + last);
      return textOf(socket);
    });
    let [before, most] = [0, 0];
    while (begun < 200) {
      await new Promise(setImmediate);
      most = Math.max(most, begun - before);
      before = begun;
    }
    // Eight in a turn; the passes over immediates that are counted here may come before or after theirs.
    expect(most).toBeLessThanOrEqual(16);
    expect((await Promise.all(texts)).map((text) => text.match(/\/quick|\/last/g)?.length)).toEqual([50, 50, 50, 50]);
  });

  test('those that wait to begin when their client leaves never begin', async () => {
    const socket = dial();
    const text = textOf(socket);
    socket.write(get('/slow').repeat(60));
    while (begun === 0) await new Promise(setImmediate);
    const atOnce = begun;
    for (const response of waiting) response.socket?.destroy();
    await text;
    for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
    expect(begun).toBeLessThanOrEqual(atOnce + 8);
  });

  test('those of connections that have ended are in nobody’s way', async () => {
    for (let count = 0; count < 20; count += 1) dial().write(get('/slow').repeat(60));
    const sockets = (): Set<unknown> => new Set(waiting.map(({ socket }) => socket));
    while (sockets().size < 20) await new Promise(setImmediate);
    const ended = [...waiting].map((response) => new Promise((resolve) => response.once('close', resolve)));
    for (const response of waiting) response.socket?.destroy();
    await Promise.all(ended);
    const socket = dial();
    const text = textOf(socket);
    const before = begun;
    socket.write(get('/quick').repeat(39) + last);
    while (begun === before) await new Promise(setImmediate);
    let turns = 0;
    for (; begun < before + 40; turns += 1) await new Promise(setImmediate);
    // Eight in a turn, where one of each connection would come in a turn.
    expect(turns).toBeLessThanOrEqual(15);
    expect(await text).toContain('/last');
  });

  test.each([
    ['that wait', '/slow'],
    ['that are answered at once', '/quick'],
  ])('thousands %s cut their connection, and no other', async (_name, path) => {
    const socket = dial();
    const text = textOf(socket);
    socket.write(get(path).repeat(10_000));
    await text;
    expect(begun).toBeLessThanOrEqual(64);
    const other = dial();
    const answer = textOf(other);
    other.write(last);
    expect(await answer).toContain('/last');
    expect(faults).toEqual(['over_capacity']);
  });

  test('a connection that waits for each answer may send any number', async () => {
    const socket = dial();
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    for (let count = 1; count <= 200; count += 1) {
      socket.write(get(`/n${count}.`));
      while (!text.includes(`/n${count}.`)) await new Promise(setImmediate);
    }
    socket.destroy();
    expect(faults).toEqual([]);
  });
});
