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
