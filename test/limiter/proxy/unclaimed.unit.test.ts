// What nobody claims on a sidecar with an object in force: it goes on and comes back as it was sent, streamed and unbounded, and
// nothing in it can carry a request past the limit.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { LimiterConfig } from '../../../src/contract/limiter-config.ts';
import { metric, standstill, startSidecar, tcpServer, WireClient, type WireServer } from '../front/wire.ts';
import { limit } from '../fixtures.ts';
import { mcpTo, routeTo, until, type Running } from '../running.ts';
import { HOUR, tokens } from '../store/fixtures.ts';

const MAX_BODY = 64 * 1024;
let server: WireServer;
let running: Running;
/** What the server was sent, as bytes in Latin-1; all connections one after the other. */
let received: string;
let serve: (socket: Socket, chunk: string) => void;

beforeEach(async () => {
  received = '';
  serve = (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  server = await tcpServer((socket) => {
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString('latin1');
      serve(socket, chunk.toString('latin1'));
    });
    socket.on('end', () => socket.end());
  });
});
afterEach(async () => {
  await running.close();
  server.close();
});

/** A ModelRoute for model `m` with a limit of one request, whose target is the pod's own server. */
async function start(routing: Parameters<typeof routeTo>[2] = {}, more: readonly LimiterConfig[] = []): Promise<string> {
  const url = `http://127.0.0.1:${server.port}`;
  const route = routeTo(url, { limits: [limit({ rule: tokens(1, HOUR) })] }, routing);
  running = await startSidecar(server.port, [route, ...more], { maxBodyBytes: MAX_BODY });
  return running.traffic;
}

/** Sends bytes and waits for the end of the answers; the last request must ask for it. */
async function exchange(bytes: string): Promise<string> {
  const client = await WireClient.dial(running.traffic);
  const heard = await client.send(bytes).ended();
  client.socket.destroy();
  return heard;
}

describe('a request that nobody claims', () => {
  test.each([
    '/files/a%2Fb//c?x=%2f',
    '/a/./b/../c/;v=1/%7e%C3%A9?a=b?c&d=%00',
    'http://other.example.com:81/files//a%2Fb',
  ])('arrives with the target %s as sent', async (target) => {
    await start();
    await exchange(`GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
    expect(received).toBe(`GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
  });

  test('OPTIONS * arrives as it is', async () => {
    await start();
    await exchange('OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    expect(received).toBe('OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  });

  test('arrives with its headers in order, case and number, and nothing of the limiter among them', async () => {
    await start();
    const head = [
      'PATCH /x HTTP/1.1',
      'x-LOWER: 1',
      'Host: own.example.com:8080',
      'X-Two: a',
      'Accept: */*',
      'X-Two: b',
      'X-Forwarded-For: 192.0.2.7',
      'X-Latin: caf\u00e9',
      'TE: trailers',
      'Keep-Alive: timeout=9',
      'Proxy-Authorization: Basic eDp5',
      'Content-Length: 3',
      'Connection: close, TE',
    ];
    const request = `${head.join('\r\n')}\r\n\r\nabc`;
    const answer = await exchange(request);
    expect(received).toBe(request);
    expect(answer).toBe('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok');
  });

  test('its answer comes back with its headers in order, case and number, its phrase and its trailers', async () => {
    await start();
    const answer =
      'HTTP/1.1 299 Caf\u00e9 au lait\r\nx-a: 1\r\nSet-Cookie: a=1\r\nSet-COOKIE: b=2\r\nX-b: \u00e9\r\nTrailer: X-End\r\n' +
      'Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nok\r\n0\r\nX-End: done\r\n\r\n';
    serve = (socket) => socket.end(answer, 'latin1');
    expect(await exchange('GET /x HTTP/1.1\r\nHost: a\r\n\r\n')).toBe(answer);
  });

  test('a chunked body arrives chunk by chunk, with its trailers', async () => {
    await start();
    const client = await WireClient.dial(running.traffic);
    serve = (socket) => {
      if (received.endsWith('0\r\nX-Sum: 3\r\n\r\n')) socket.end('HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n');
    };
    const head = 'POST /x HTTP/1.1\r\nHost: a\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n';
    client.send(`${head}4\r\nfour\r\n`);
    await until(() => received === `${head}4\r\nfour\r\n`);
    client.send('2\r\nhi\r\n0\r\nX-Sum: 3\r\n\r\n');
    expect(await client.ended()).toBe('HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n');
    expect(received).toBe(`${head}4\r\nfour\r\n2\r\nhi\r\n0\r\nX-Sum: 3\r\n\r\n`);
  });

  test('an answer is streamed: what the server sends is there before it sends more', async () => {
    await start();
    const client = await WireClient.dial(running.traffic);
    let answering: Socket | undefined;
    serve = (socket) => {
      answering = socket;
      socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n');
    };
    client.send('GET /events HTTP/1.1\r\nHost: a\r\n\r\n');
    await client.take('text/event-stream');
    for (const event of ['one', 'two', 'three']) {
      answering?.write(`${event.length.toString(16)}\r\n${event}\r\n`);
      await client.take(event);
    }
    client.socket.destroy();
    await until(() => server.sockets.size === 0);
  });

  test('HEAD has the length of what GET would have, and no body', async () => {
    await start();
    serve = (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 4096\r\nConnection: close\r\n\r\n');
    const answer = await exchange('HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n');
    expect(answer).toBe('HTTP/1.1 200 OK\r\nContent-Length: 4096\r\nConnection: close\r\n\r\n');
  });

  test('early hints pass before the answer', async () => {
    await start();
    serve = (socket) =>
      socket.end(
        'HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nx-Odd: 1\r\n\r\n' +
          'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n',
      );
    expect(await exchange('GET /x HTTP/1.1\r\nHost: a\r\n\r\n')).toBe(
      'HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nx-Odd: 1\r\n\r\n' +
        'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n',
    );
  });

  test('a client of HTTP/1.0 is answered without chunks', async () => {
    await start();
    serve = (socket) =>
      socket.end('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nok\r\n0\r\n\r\n');
    expect(await exchange('GET /x HTTP/1.0\r\n\r\n')).toBe('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok');
    expect(received).toContain(`GET /x HTTP/1.1\r\nHost: 127.0.0.1:${server.port}\r\n`);
  });

  test('a client of one connection has one to the server, in order, and no other client shares it', async () => {
    await start();
    const pipelined = await WireClient.dial(running.traffic);
    pipelined.send('GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n');
    await until(() => pipelined.text.split('ok').length === 3);
    expect([...received.matchAll(/GET (\S+)/g)].map(([, path]) => path)).toEqual(['/1', '/2']);
    expect(server.sockets.size).toBe(1);
    const other = await WireClient.dial(running.traffic);
    other.send('GET /3 HTTP/1.1\r\nHost: a\r\n\r\n');
    await other.take('ok');
    expect(server.sockets.size).toBe(2);
    for (const client of [pipelined, other]) client.socket.destroy();
    await until(() => server.sockets.size === 0);
  });

  test('a connection that the server has closed meanwhile is no error', async () => {
    await start();
    const client = await WireClient.dial(running.traffic);
    serve = (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', () => socket.destroySoon());
    for (let sent = 0; sent < 20; sent += 1) {
      client.send(`GET /${sent} HTTP/1.1\r\nHost: a\r\n\r\n`);
      await client.take('ok');
    }
    client.socket.destroy();
  });

  test('a server that is not there is 502, in the shape of the caller', async () => {
    await start();
    server.close();
    await until(() => server.sockets.size === 0);
    const answer = await fetch(`${running.traffic}/x`);
    expect([answer.status, await answer.json()]).toEqual([502, expect.objectContaining({ error: expect.anything() })]);
  });

  test('an answer that breaks off looks broken off', async () => {
    await start();
    serve = (socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf', () => socket.resetAndDestroy());
    };
    const client = await WireClient.dial(running.traffic);
    client.send('GET /x HTTP/1.1\r\nHost: a\r\n\r\n');
    expect(await client.ended()).toMatch(/half$/);
    client.socket.destroy();
  });

  test('a client that leaves in the middle of its body leaves no whole request behind', async () => {
    await start();
    const client = await WireClient.dial(running.traffic);
    client.send('POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf of it');
    await until(() => received.endsWith('half of it'));
    client.socket.destroy();
    await until(() => server.sockets.size === 0);
  });
});

describe('Expect: 100-continue of what the head shows to be nobody’s', () => {
  const head = 'PUT /elsewhere HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\n';

  test('is answered by the server, and the body follows', async () => {
    await start({ pathPrefix: '/v1' });
    const client = await WireClient.dial(running.traffic);
    serve = (socket, chunk) => {
      if (chunk === 'body') socket.end('HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
      else socket.write('HTTP/1.1 100 Continue\r\n\r\n');
    };
    client.send(head);
    await client.take('HTTP/1.1 100 Continue\r\n\r\n');
    expect(received).toBe(head);
    expect(await client.send('body').ended()).toContain('201 Created');
    expect(received).toBe(`${head}body`);
  });

  test('a refusal reaches the client before it sends anything, and closes the connection', async () => {
    await start({ pathPrefix: '/v1' });
    serve = (socket) => socket.write('HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n');
    const answer = await exchange(head.replace('Connection: close\r\n', ''));
    expect(answer).toBe('HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
  });

  test('where the first bytes must be seen the limiter asks for them', async () => {
    await start();
    const client = await WireClient.dial(running.traffic);
    client.send(head.replace('elsewhere', 'upload'));
    await client.take('HTTP/1.1 100 Continue\r\n\r\n');
    expect(await client.send('body').ended()).toContain('200 OK');
    expect(received).toBe(`${head.replace('elsewhere', 'upload').replace('Expect: 100-continue\r\n', '')}body`);
  });
});

describe('a body that nobody claims has no bound', () => {
  /** Uploads zeros and counts what arrives. */
  async function upload(path: string, bytes: number, first: Buffer = Buffer.alloc(0)): Promise<[number | undefined, number]> {
    let arrived = 0;
    serve = (socket, chunk) => {
      arrived += chunk.length;
      received = '';
      if (chunk.endsWith('\r\n0\r\n\r\n')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
    };
    const request = httpRequest(`${running.traffic}${path}`, { method: 'POST' });
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
      await start();
      const [status, arrived] = await upload(path, 24 * 1024 * 1024);
      expect(status).toBe(200);
      expect(arrived).toBeGreaterThan(24 * 1024 * 1024);
      expect(await metric(running, 'weir_unrouted_requests_total{outcome="forwarded"}')).toBe(1);
    },
  );

  test('no more of it is held than one buffer: a server that does not read stops the client', async () => {
    await start();
    serve = (socket) => socket.pause();
    const size = 64 * 1024 * 1024;
    const client = await WireClient.dial(running.traffic);
    client.send(`POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`).send(Buffer.alloc(size));
    // What has left the client is in the kernel's buffers of two connections (about 6 MiB each way), or in the limiter.
    expect(await standstill(() => client.socket.bytesWritten - client.socket.writableLength)).toBeLessThan(size / 2);
    client.socket.destroy();
  });

  test('outside the prefix of every object JSON passes too', async () => {
    await start({ pathPrefix: '/v1' });
    expect((await upload('/logs', 2 * MAX_BODY, Buffer.from('{"model":"m"}\n{}')))[0]).toBe(200);
  });

  test('the server’s early answer reaches a client that is still sending', async () => {
    await start();
    for (let round = 0; round < 10; round += 1) {
      let arrived = 0;
      serve = (socket, chunk) => {
        arrived += chunk.length;
        if (arrived < 300_000) return;
        socket.pause();
        socket.end('HTTP/1.1 413 Payload Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfull', () => {
          socket.destroy();
        });
      };
      const request = httpRequest(`${running.traffic}/upload`, { method: 'POST' });
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
    await start();
    const body = JSON.stringify({ model: 'other', input: 'x'.repeat(2 * MAX_BODY) });
    for (const path of ['/v1/chat/completions', '/anything']) {
      const answer = await fetch(`${running.traffic}${path}`, { method: 'POST', body });
      expect(answer.status).toBe(413);
    }
    expect(received).toBe('');
  });
});

describe('what may be claimed is judged, whatever it looks like', () => {
  const send = async (path: string, body: string | Buffer, headers: Record<string, string> = {}): Promise<number> => {
    const answer = await fetch(`${running.traffic}${path}`, { method: 'POST', body: new Uint8Array(Buffer.from(body)), headers });
    await answer.arrayBuffer();
    return answer.status;
  };

  test.each([
    ['/unknown', '{"model":"m"}'],
    ['/unknown', `${' '.repeat(3_000)}{"model":"m"}`],
    ['/v1/files', '\n\t [{"model":"m"}]'],
    ['/v1//chat%2Fcompletions', '{"model":"m"}'],
    ['/static/../v1/chat/completions', '{"model":"m"}'],
  ])('a body that names the model to %s is counted or refused', async (path, body) => {
    await start();
    const first = await send(path, body);
    const second = await send(path, body);
    // A list of messages names no model; everything else is one call of the one that is allowed.
    expect([first, second]).toEqual(body.includes('[') ? [200, 200] : [200, 429]);
  });

  test.each([
    ['ambiguous JSON', '{"model":"x","model":"m"}', {}],
    ['UTF-16', Buffer.from('  {"model":"m"}', 'utf16le'), {}],
    ['UTF-16 after much white space', Buffer.from(`${' '.repeat(900)}{"model":"m"}`, 'utf16le'), {}],
    ['an unknown coding', '{"model":"m"}', { 'content-encoding': 'snappy' }],
  ])('%s on any path is refused, and the server sees nothing', async (_name, body, headers) => {
    await start();
    expect([400, 415]).toContain(await send('/unknown', body, headers));
    expect(received).toBe('');
  });

  test.each(['/x#/../v1/chat/completions', '/a%zz', '/a\\b', '/..;/x'])('the target %s is refused', async (target) => {
    await start();
    const answer = await exchange(`GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
    expect(answer).toMatch(/^HTTP\/1.1 400 /);
    expect(received).toBe('');
  });

  test('a body of an unclaimed request is a body to the server too, whatever it contains', async () => {
    await start();
    const inner = 'POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 13\r\n\r\n{"model":"m"}';
    for (const framing of [
      [`Content-Length: ${inner.length}`, inner],
      ['Transfer-Encoding: chunked', `${inner.length.toString(16)}\r\n${inner}\r\n0\r\n\r\n`],
    ]) {
      received = '';
      const [header = '', body = ''] = framing;
      const request = `POST /upload HTTP/1.1\r\nHost: a\r\n${header}\r\nConnection: close\r\n\r\n${body}`;
      await exchange(request);
      expect(received).toBe(request);
    }
  });

  test.each([
    'Content-Length: 5\r\nTransfer-Encoding: chunked',
    'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity',
    'Content-Length: 5\r\nContent-Length: 6',
    'Transfer-Encoding: xchunked',
    'Content-Length : 5',
  ])('two framings (%s) are refused', async (framing) => {
    await start();
    const answer = await exchange(`POST /upload HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n0\r\n\r\n`);
    expect(answer).toMatch(/^HTTP\/1.1 400 /);
    expect(received).toBe('');
  });

  test('CONNECT is refused: what goes through it could not be judged; also behind another request', async () => {
    await start();
    const answer = await exchange('CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: a\r\n\r\n');
    expect(answer).toMatch(/^HTTP\/1.1 400 /);
    expect(answer).toContain('CONNECT');
    expect(received).toBe('');
    serve = () => undefined;
    await exchange('GET /slow HTTP/1.1\r\nHost: a\r\n\r\nCONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: a\r\n\r\n');
    expect((await fetch(`${running.admin}/livez`)).status).toBe(200);
  });

  test('a path that names a model of an object is judged by its path, one of nobody’s is not read', async () => {
    await start();
    expect(await send('/v1/models/m:predict', 'not JSON')).toBe(200);
    expect(await send('/v1/models/m:predict', 'not JSON')).toBe(429);
    expect(await send('/v1/models/other:predict', '{"not":"JSON"')).toBe(200);
  });

  test('an MCPServer claims what is below its path, and nothing else', async () => {
    const url = `http://127.0.0.1:${server.port}`;
    const routing = { kind: 'mcp', transport: 'streamable-http', hostnames: [], pathPrefix: '/mcp', targets: [] } as const;
    running = await startSidecar(server.port, [mcpTo(url, { routing })], { maxBodyBytes: MAX_BODY });
    expect(await send('/mcp', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}')).toBe(200);
    expect(await send('/mcp', 'x'.repeat(2 * MAX_BODY))).toBe(413);
    received = '';
    expect(await send('/v1/chat/completions', '{"model":"x","model":"m"}')).toBe(200);
    expect(received).toContain('{"model":"x","model":"m"}');
  });
});
