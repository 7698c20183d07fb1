// A sidecar in a pod that no object selects is a wire: any protocol, both half-closes, resets, backpressure, byte for
// byte.
import { afterEach, describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { createServer as createHttpServer, request as httpRequest, type IncomingMessage } from 'node:http';
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { makePushCertificates } from '../../contract/push-certificates.ts';
import { until, type Running } from '../running.ts';
import { LateSource, metric, standstill, startSidecar, tcpServer, WireClient, type WireServer } from './wire.ts';

const closers: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function wireTo(server: WireServer): Promise<Running> {
  closers.push(() => {
    server.close();
  });
  const running = await startSidecar(server.port);
  closers.push(() => running.close());
  return running;
}

/** A server of node's own, closed after the test. */
async function ported(
  server: ReturnType<typeof createHttpServer> | ReturnType<typeof createTlsServer>,
): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => {
    server.close();
    if ('closeAllConnections' in server) server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

describe('with nothing in force', () => {
  test('bytes of no protocol come back as they went, and both sides may close first', async () => {
    const running = await wireTo(await tcpServer((socket) => socket.pipe(socket)));
    const every = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
    const client = await WireClient.dial(running.traffic);
    client.send(every);
    await until(() => client.bytes.length === every.length);
    expect(client.bytes).toEqual(every);
    client.send('once more');
    client.socket.end();
    await client.ended();
    expect(client.text.slice(256)).toBe('once more');
    await client.closed();
    await until(async () => (await metric(running, 'weir_spliced_connections')) === 0);
    expect(await metric(running, 'weir_connections_total{handling="spliced"}')).toBe(1);
    expect(await metric(running, 'weir_spliced_bytes_total{direction="in"}')).toBe(265);
    expect(await metric(running, 'weir_spliced_bytes_total{direction="out"}')).toBe(265);
  });

  test('a server that speaks first is heard before the client has said anything', async () => {
    const running = await wireTo(
      await tcpServer((socket) => {
        socket.write('220 mail.example.com ESMTP\r\n');
        socket.on('data', () => socket.end('221 bye\r\n'));
      }),
    );
    const client = await WireClient.dial(running.traffic);
    await client.take('220 mail.example.com ESMTP\r\n');
    client.send('QUIT\r\n');
    expect(await client.ended()).toBe('221 bye\r\n');
    client.socket.end();
    await client.closed();
  });

  test('a client that ends its half is still answered', async () => {
    const running = await wireTo(
      await tcpServer((socket) => {
        let all = '';
        socket.on('data', (chunk: Buffer) => (all += chunk.toString()));
        socket.on('end', () => socket.end(`got ${all}`));
      }),
    );
    const client = await WireClient.dial(running.traffic);
    client.socket.end('the whole of it');
    expect(await client.ended()).toBe('got the whole of it');
  });

  test('a server that ends its half still hears the client', async () => {
    let heard = '';
    const running = await wireTo(
      await tcpServer((socket) => {
        socket.end('that is all\n');
        socket.on('data', (chunk: Buffer) => (heard += chunk.toString()));
      }),
    );
    const client = await WireClient.dial(running.traffic);
    expect(await client.ended()).toBe('that is all\n');
    client.socket.end('and this is mine');
    await client.closed();
    await until(() => heard === 'and this is mine');
  });

  test('a reset arrives as a reset, either way', async () => {
    const server = await tcpServer((socket) => {
      socket.once('data', (chunk: Buffer) => {
        if (chunk.toString() === 'reset me') socket.resetAndDestroy();
        else socket.write('ok');
      });
    });
    const running = await wireTo(server);
    const reset = await WireClient.dial(running.traffic);
    reset.send('reset me');
    await reset.closed();
    expect(reset.error).toBe('ECONNRESET');
    const leaving = await WireClient.dial(running.traffic);
    leaving.send('hello');
    await leaving.take('ok');
    const [peer] = server.sockets;
    const error = once(peer!, 'error');
    leaving.socket.resetAndDestroy();
    expect(await error).toMatchObject([{ code: 'ECONNRESET' }]);
  });

  test('a server that is not there is a reset, and is counted', async () => {
    const server = await tcpServer(() => undefined);
    server.close();
    const running = await wireTo(server);
    const client = await WireClient.dial(running.traffic);
    client.send('GET / HTTP/1.1\r\n\r\n');
    await client.closed();
    expect(client.text).toBe('');
    expect(await metric(running, 'weir_connections_total{handling="unreachable"}')).toBe(1);
    expect(await metric(running, 'weir_connections_total{handling="spliced"}')).toBe(0);
  });

  test('a server that does not read stops the client, and memory does not grow', async () => {
    const server = await tcpServer((socket) => socket.pause());
    const running = await wireTo(server);
    const client = await WireClient.dial(running.traffic);
    const chunk = Buffer.alloc(1024 * 1024, 'x');
    let sent = 0;
    while (client.socket.write(chunk) || client.socket.writableLength < 40 * chunk.length) sent += 1;
    await standstill(() => client.socket.bytesWritten - client.socket.writableLength);
    // Buffers of the kernel and of one chunk on its way, not the 40 MiB that wait at the client.
    expect(await metric(running, 'weir_spliced_bytes_total{direction="in"}')).toBeLessThan(24 * chunk.length);
    let received = 0;
    const [socket] = server.sockets;
    socket!.on('data', ({ length }: Buffer) => (received += length));
    socket!.resume();
    client.socket.end();
    await until(() => received === client.socket.bytesWritten && received >= sent * chunk.length, 60_000);
  });

  test('TLS that the server ends itself passes', async () => {
    const { ca, tls } = await makePushCertificates(['model.example.com']);
    const port = await ported(createTlsServer(tls, (socket) => socket.end('over TLS')));
    const running = await startSidecar(port);
    closers.push(() => running.close());
    const { hostname, port: traffic } = new URL(running.traffic);
    const client = connectTls({ host: hostname, port: Number(traffic), ca, servername: 'model.example.com' });
    let heard = '';
    client.on('data', (chunk: Buffer) => (heard += chunk.toString()));
    await once(client, 'end');
    expect(heard).toBe('over TLS');
  });

  test('HTTP/2 in the clear passes', async () => {
    const server = createHttp2Server();
    server.on('stream', (stream) => {
      stream.respond({ ':status': 200 });
      stream.end('over h2c');
    });
    const port = await ported(server as unknown as ReturnType<typeof createHttpServer>);
    const running = await startSidecar(port);
    closers.push(() => running.close());
    const session = connectHttp2(running.traffic);
    const stream = session.request({ ':path': '/' });
    let heard = '';
    stream.setEncoding('utf8').on('data', (chunk: string) => (heard += chunk));
    await once(stream, 'end');
    session.close();
    expect(heard).toBe('over h2c');
  });

  test('a path arrives as sent, keep-alive and pipelined requests too', async () => {
    const urls: (string | undefined)[] = [];
    const port = await ported(
      createHttpServer((request, response) => {
        urls.push(request.url);
        response.end(`${urls.length};`);
      }),
    );
    const running = await startSidecar(port);
    closers.push(() => running.close());
    const client = await WireClient.dial(running.traffic);
    const target = '/files/a%2Fb//c/../..;/d?x=%2f#f';
    client.send(`GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`.repeat(3));
    await until(() => client.text.includes('3;'));
    client.send(`GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
    expect(await client.ended()).toContain('4;');
    expect(urls).toEqual(Array(4).fill(target));
  });

  test('64 MiB arrive, more than any body may have where limits are', async () => {
    let received = 0;
    const port = await ported(
      createHttpServer((request, response) => {
        request.on('data', ({ length }: Buffer) => (received += length));
        request.on('end', () => response.end(String(received)));
      }),
    );
    const running = await startSidecar(port);
    closers.push(() => running.close());
    const upload = httpRequest(`${running.traffic}/upload`, { method: 'POST' });
    const chunk = Buffer.alloc(1024 * 1024);
    const answered = once(upload, 'response') as Promise<[IncomingMessage]>;
    for (let sent = 0; sent < 64; sent += 1) if (!upload.write(chunk)) await once(upload, 'drain');
    upload.end();
    const [answer] = await answered;
    let text = '';
    for await (const part of answer) text += String(part);
    expect([answer.statusCode, text]).toEqual([200, String(64 * chunk.length)]);
  });

  test('a sidecar with --upstream below a path still puts the path before every request', async () => {
    const port = await ported(createHttpServer((request, response) => response.end(request.url)));
    const running = await startSidecar(port, [], { upstream: `http://127.0.0.1:${port}/base` });
    closers.push(() => running.close());
    expect(await (await fetch(`${running.traffic}/x`)).text()).toBe('/base/x');
  });
});

describe('before there is a configuration', () => {
  test('connections wait for it, then pass as it says', async () => {
    const server = await tcpServer((socket) => socket.write('first'));
    closers.push(() => {
      server.close();
    });
    const source = new LateSource();
    const running = await startSidecar(server.port, [], { unconfiguredWaitMs: 60_000, source });
    closers.push(() => running.close());
    const client = await WireClient.dial(running.traffic);
    expect(client.text).toBe('');
    expect(server.sockets.size).toBe(0);
    source.push({ updates: [], removals: [] });
    await client.take('first');
  });

  test('Pass: any protocol passes; Refuse: HTTP is 503, everything else is closed without a word', async () => {
    const server = await tcpServer((socket) => socket.pipe(socket));
    closers.push(() => {
      server.close();
    });
    const source = new LateSource();
    const passing = await startSidecar(server.port, [], { unconfiguredWaitMs: 1, source: new LateSource() });
    const refusing = await startSidecar(server.port, [], {
      unconfiguredWaitMs: 1,
      unconfiguredPolicy: 'Refuse',
      source,
    });
    closers.push(
      () => passing.close(),
      () => refusing.close(),
    );
    await (await WireClient.dial(passing.traffic)).send('*1\r\n$4\r\nPING\r\n').take('PING');
    expect((await fetch(refusing.traffic)).status).toBe(503);
    const other = await WireClient.dial(refusing.traffic);
    expect(await other.send('*1\r\n$4\r\nPING\r\n').ended()).toBe('');
    expect(await metric(refusing, 'weir_connections_total{handling="refused_other"}')).toBe(1);
    expect(server.sockets.size).toBe(1);
    // A configuration without objects, late as it is, opens the way.
    source.push({ updates: [], removals: [] });
    await (await WireClient.dial(refusing.traffic)).send('*1\r\n$4\r\nPING\r\n').take('PING');
  });
});

test('an early answer of a server that closes reaches a client that is still sending', async () => {
  const running = await wireTo(
    await tcpServer((socket) => {
      let heard = 0;
      socket.on('data', ({ length }: Buffer) => {
        heard += length;
        if (heard < 300_000) return;
        socket.pause();
        socket.end('HTTP/1.1 413 Payload Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfull', () => {
          socket.destroy();
        });
      });
    }),
  );
  for (let round = 0; round < 40; round += 1) {
    const client = await WireClient.dial(running.traffic);
    client.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n');
    for (let sent = 0; sent < 120; sent += 1) client.send(Buffer.alloc(64 * 1024));
    await client.ended();
    expect(client.text).toMatch(/full$/);
    client.socket.destroy();
  }
});
