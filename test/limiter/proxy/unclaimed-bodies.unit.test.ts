// A body that nobody claims on a sidecar with an object in force has no bound, and no more of it is held than one
// buffer.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { metric, standstill } from '../front/wire.ts';
import { Ends, MAX_BODY } from './unclaimed-ends.ts';

let ends: Ends;
beforeEach(async () => {
  ends = await Ends.open();
});
afterEach(async () => {
  await ends.close();
});

describe('a body that nobody claims has no bound', () => {
  /** Uploads zeros and counts what arrives. */
  async function upload(
    path: string,
    bytes: number,
    first: Buffer = Buffer.alloc(0),
  ): Promise<[number | undefined, number]> {
    let arrived = 0;
    ends.serve = (socket, chunk) => {
      arrived += chunk.length;
      ends.received = '';
      if (chunk.endsWith('\r\n0\r\n\r\n')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
    };
    const request = httpRequest(`${ends.running.traffic}${path}`, { method: 'POST' });
    const answered = once(request, 'response') as Promise<[IncomingMessage]>;
    request.write(first.length > 0 ? first : Buffer.alloc(1));
    const chunk = Buffer.alloc(256 * 1024);
    for (let sent = 0; sent < bytes; sent += chunk.length) if (!request.write(chunk)) await once(request, 'drain');
    request.end();
    const [answer] = await answered;
    answer.resume();
    return [answer.statusCode, arrived];
  }

  test.each(['/upload', '/v1/files', '/v1/models/x/versions/2:predict', '/openai/deployments/x/audio/transcriptions'])(
    '24 MiB to %s pass, streamed',
    async (path) => {
      await ends.start();
      const [status, arrived] = await upload(path, 24 * 1024 * 1024);
      expect(status).toBe(200);
      expect(arrived).toBeGreaterThan(24 * 1024 * 1024);
      expect(await metric(ends.running, 'weir_unrouted_requests_total{outcome="forwarded"}')).toBe(1);
    },
  );

  test('no more of it is held than one buffer: a server that does not read stops the client', async () => {
    await ends.start();
    ends.serve = (socket) => socket.pause();
    const size = 64 * 1024 * 1024;
    const client = await ends.dial();
    client.send(`POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`).send(Buffer.alloc(size));
    // What has left the client is in the kernel's buffers of two connections (about 6 MiB each way), or in the limiter.
    expect(await standstill(() => client.socket.bytesWritten - client.socket.writableLength)).toBeLessThan(size / 2);
    client.socket.destroy();
  });

  test('outside the prefix of every object JSON passes too', async () => {
    await ends.start({ pathPrefix: '/v1' });
    expect((await upload('/logs', 2 * MAX_BODY, Buffer.from('{"model":"m"}\n{}')))[0]).toBe(200);
  });

  test('the server’s early answer reaches a client that is still sending', async () => {
    await ends.start();
    for (let round = 0; round < 10; round += 1) {
      let arrived = 0;
      ends.serve = (socket, chunk) => {
        arrived += chunk.length;
        if (arrived < 300_000) return;
        socket.pause();
        socket.end('HTTP/1.1 413 Payload Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfull', () => {
          socket.destroy();
        });
      };
      const request = httpRequest(`${ends.running.traffic}/upload`, { method: 'POST' });
      request.on('error', () => undefined);
      const answered = once(request, 'response') as Promise<[IncomingMessage]>;
      const chunk = Buffer.alloc(64 * 1024);
      for (let sent = 0; sent < 40; sent += 1) request.write(chunk);
      const [answer] = await answered;
      let text = '';
      for await (const part of answer) text += String(part);
      expect([answer.statusCode, text]).toEqual([413, 'full']);
      request.destroy();
    }
  });

  test('what may be claimed is still read: 413 beyond --max-body, and nothing reaches the server', async () => {
    await ends.start();
    const body = JSON.stringify({ model: 'other', input: 'x'.repeat(2 * MAX_BODY) });
    for (const path of ['/v1/chat/completions', '/anything']) {
      const answer = await fetch(`${ends.running.traffic}${path}`, { method: 'POST', body });
      expect(answer.status).toBe(413);
    }
    expect(ends.received).toBe('');
  });
});
