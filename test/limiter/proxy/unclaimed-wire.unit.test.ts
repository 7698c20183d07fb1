// What nobody claims on a sidecar with an object in force goes on and comes back as it was sent, byte for byte and
// streamed.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Socket } from 'node:net';
import { until } from '../running.ts';
import { Ends } from './unclaimed-ends.ts';

let ends: Ends;
beforeEach(async () => {
  ends = await Ends.open();
});
afterEach(async () => {
  await ends.close();
});

describe('a request that nobody claims', () => {
  test.each(['/files/a%2Fb//c?x=%2f', '/a/./b/../c/;v=1/%7e%C3%A9?a=b?c&d=%00', 'http://a/files//a%2Fb'])(
    'arrives with the target %s as sent',
    async (target) => {
      await ends.start();
      await ends.exchange(`GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
      expect(ends.received).toBe(`GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
    },
  );

  test('OPTIONS * arrives as it is', async () => {
    await ends.start();
    await ends.exchange('OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    expect(ends.received).toBe('OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  });

  test('arrives with its headers in order, case and number, and nothing of the limiter among them', async () => {
    await ends.start();
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
    const answer = await ends.exchange(request);
    expect(ends.received).toBe(request);
    expect(answer).toBe('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok');
  });

  test('its answer comes back with its headers in order, case and number, its phrase and its trailers', async () => {
    await ends.start();
    const answer =
      'HTTP/1.1 299 Caf\u00e9 au lait\r\nx-a: 1\r\nSet-Cookie: a=1\r\nSet-COOKIE: b=2\r\nX-b: \u00e9\r\nTrailer: X-End\r\n' +
      'Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nok\r\n0\r\nX-End: done\r\n\r\n';
    ends.serve = (socket) => socket.end(answer, 'latin1');
    expect(await ends.exchange('GET /x HTTP/1.1\r\nHost: a\r\n\r\n')).toBe(answer);
  });

  test('a chunked body arrives chunk by chunk, with its trailers', async () => {
    await ends.start();
    const client = await ends.dial();
    ends.serve = (socket) => {
      if (ends.received.endsWith('0\r\nX-Sum: 3\r\n\r\n'))
        socket.end('HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n');
    };
    const head =
      'POST /x HTTP/1.1\r\nHost: a\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n';
    client.send(`${head}4\r\nfour\r\n`);
    await until(() => ends.received === `${head}4\r\nfour\r\n`);
    client.send('2\r\nhi\r\n0\r\nX-Sum: 3\r\n\r\n');
    expect(await client.ended()).toBe('HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n');
    expect(ends.received).toBe(`${head}4\r\nfour\r\n2\r\nhi\r\n0\r\nX-Sum: 3\r\n\r\n`);
  });

  test('an answer is streamed: what the server sends is there before it sends more', async () => {
    await ends.start();
    const client = await ends.dial();
    let answering: Socket | undefined;
    ends.serve = (socket) => {
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
    await until(() => ends.server.sockets.size === 0);
  });

  test('HEAD has the length of what GET would have, and no body', async () => {
    await ends.start();
    ends.serve = (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 4096\r\nConnection: close\r\n\r\n');
    const answer = await ends.exchange('HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n');
    expect(answer).toBe('HTTP/1.1 200 OK\r\nContent-Length: 4096\r\nConnection: close\r\n\r\n');
  });

  test('early hints pass before the answer', async () => {
    await ends.start();
    ends.serve = (socket) =>
      socket.end(
        'HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nx-Odd: 1\r\n\r\n' +
          'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n',
      );
    expect(await ends.exchange('GET /x HTTP/1.1\r\nHost: a\r\n\r\n')).toBe(
      'HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nx-Odd: 1\r\n\r\n' +
        'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n',
    );
  });

  test('hints that a client does not read are left out, and the answer comes', async () => {
    await ends.start();
    const hints = 3_000;
    const hint = `HTTP/1.1 103 Early Hints\r\nLink: </${'a'.repeat(8_000)}>\r\n\r\n`;
    let isSent = false;
    ends.serve = (socket) => {
      socket.write(hint.repeat(hints));
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok', () => {
        isSent = true;
      });
    };
    const client = await ends.dial();
    client.socket.pause();
    client.send('GET /x HTTP/1.1\r\nHost: a\r\n\r\n');
    await until(() => isSent, 20_000);
    client.socket.resume();
    const heard = await client.ended();
    expect(heard).toMatch(/HTTP\/1\.1 200 OK\r\n[^]*ok$/);
    expect(heard.match(/HTTP\/1\.1 103 /g)?.length).toBeLessThan(hints);
    client.socket.destroy();
  });

  test.each([
    ['no HTTP', 'SSH-2.0-x\r\n'],
    ['a status line that is none', 'HTTP/1.1 2x0 OK\r\nContent-Length: 2\r\n\r\nok'],
    ['NUL in its reason', 'HTTP/1.1 200 O\0K\r\nContent-Length: 2\r\n\r\nok'],
    ['CR in a header', 'HTTP/1.1 200 OK\r\nX-A: a\rX-B: b\r\nContent-Length: 2\r\n\r\nok'],
    ['a coding after chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n2\r\nok\r\n0\r\n\r\n'],
    ['a coding without chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok'],
    ['a switch that nobody asked for', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n'],
  ])('an answer with %s is 502, and says that it came', async (_name, bytes) => {
    await ends.start();
    ends.serve = (socket) => socket.end(bytes, 'latin1');
    const answer = await fetch(`${ends.running.traffic}/x`);
    expect([answer.status, await answer.text()]).toEqual([502, expect.stringContaining('invalid_upstream_answer')]);
    expect(answer.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
  });

  test('a client of HTTP/1.0 is answered without chunks', async () => {
    await ends.start();
    ends.serve = (socket) =>
      socket.end('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nok\r\n0\r\n\r\n');
    expect(await ends.exchange('GET /x HTTP/1.0\r\n\r\n')).toBe('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok');
    expect(ends.received).toContain(`GET /x HTTP/1.1\r\nHost: 127.0.0.1:${ends.server.port}\r\n`);
  });

  test('a client of one connection has one to the server, in order, and no other client shares it', async () => {
    await ends.start();
    const pipelined = await ends.dial();
    pipelined.send('GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n');
    await until(() => pipelined.text.split('ok').length === 3);
    expect([...ends.received.matchAll(/GET (\S+)/g)].map(([, path]) => path)).toEqual(['/1', '/2']);
    expect(ends.server.sockets.size).toBe(1);
    const other = await ends.dial();
    other.send('GET /3 HTTP/1.1\r\nHost: a\r\n\r\n');
    await other.take('ok');
    expect(ends.server.sockets.size).toBe(2);
    for (const client of [pipelined, other]) client.socket.destroy();
    await until(() => ends.server.sockets.size === 0);
  });

  test('a connection that the server has closed meanwhile is no error', async () => {
    await ends.start();
    const client = await ends.dial();
    ends.serve = (socket) =>
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', () => {
        socket.destroySoon();
      });
    for (let sent = 0; sent < 20; sent += 1) {
      client.send(`GET /${sent} HTTP/1.1\r\nHost: a\r\n\r\n`);
      await client.take('ok');
    }
    client.socket.destroy();
  });

  test('a server that is not there is 502, in the shape of the caller', async () => {
    await ends.start();
    ends.server.close();
    await until(() => ends.server.sockets.size === 0);
    const answer = await fetch(`${ends.running.traffic}/x`);
    expect([answer.status, await answer.json()]).toEqual([502, expect.objectContaining({ error: expect.anything() })]);
  });

  test('an answer that breaks off looks broken off', async () => {
    await ends.start();
    ends.serve = (socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf', () => socket.resetAndDestroy());
    };
    const client = await ends.dial();
    client.send('GET /x HTTP/1.1\r\nHost: a\r\n\r\n');
    expect(await client.ended()).toMatch(/half$/);
    client.socket.destroy();
  });

  test('a client that leaves in the middle of its body leaves no whole request behind', async () => {
    await ends.start();
    const client = await ends.dial();
    client.send('POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf of it');
    await until(() => ends.received.endsWith('half of it'));
    client.socket.destroy();
    await until(() => ends.server.sockets.size === 0);
  });
});

describe('Expect: 100-continue of what the head shows to be nobody’s', () => {
  const head =
    'PUT /elsewhere HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\n';

  test('is answered by the server, and the body follows', async () => {
    await ends.start({ pathPrefix: '/v1' });
    const client = await ends.dial();
    ends.serve = (socket, chunk) => {
      if (chunk === 'body') socket.end('HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
      else socket.write('HTTP/1.1 100 Continue\r\n\r\n');
    };
    client.send(head);
    await client.take('HTTP/1.1 100 Continue\r\n\r\n');
    expect(ends.received).toBe(head);
    expect(await client.send('body').ended()).toContain('201 Created');
    expect(ends.received).toBe(`${head}body`);
  });

  test('a refusal reaches the client before it sends anything, and closes the connection', async () => {
    await ends.start({ pathPrefix: '/v1' });
    ends.serve = (socket) => socket.write('HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n');
    const answer = await ends.exchange(head.replace('Connection: close\r\n', ''));
    expect(answer).toBe('HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
  });

  test('where the first bytes must be seen the limiter asks for them', async () => {
    await ends.start();
    const client = await ends.dial();
    client.send(head.replace('elsewhere', 'upload'));
    await client.take('HTTP/1.1 100 Continue\r\n\r\n');
    expect(await client.send('body').ended()).toContain('200 OK');
    expect(ends.received).toBe(`${head.replace('elsewhere', 'upload').replace('Expect: 100-continue\r\n', '')}body`);
  });
});
