// Upgrades on a sidecar: what nobody claims goes through, WebSockets or anything else, once the server has accepted
// it; what an object claims is 426, and no upgrade opens a way past the limit.
import { afterEach, describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { connect } from 'node:net';
import { ManualClock } from '../../../src/lib/clock.ts';
import { conversation, webSocketEcho, type EchoServer } from '../front/web-socket-echo.ts';
import { metric, startSidecar, WireClient } from '../front/wire.ts';
import { limit } from '../fixtures.ts';
import { routeTo, until, versioned, type Running } from '../running.ts';
import { HOUR, tokens } from '../store/fixtures.ts';
import { Ends } from './unclaimed-ends.ts';

const closers: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const route = (url: string, pathPrefix = '/'): ReturnType<typeof routeTo> =>
  routeTo(url, { limits: [limit({ rule: tokens(1, HOUR) })] }, { pathPrefix });

async function echoBehind(pathPrefix?: string, clock?: ManualClock): Promise<[EchoServer, Running]> {
  const server = await webSocketEcho();
  closers.push(() => {
    server.close();
  });
  const configs = pathPrefix === undefined ? [] : [route(`http://127.0.0.1:${server.port}`, pathPrefix)];
  const running = await startSidecar(server.port, configs, {}, clock === undefined ? {} : { clock });
  closers.push(() => running.close());
  return [server, running];
}

async function open(): Promise<Ends> {
  const ends = await Ends.open();
  closers.push(() => ends.close());
  return ends;
}

const handshake = (target: string, upgrade = 'websocket', more = ''): string =>
  `GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: ${upgrade}\r\n${more}\r\n`;
const ACCEPTED = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nupgrade: WebSocket\r\nX-Odd: 1\r\n\r\n';

describe('a WebSocket', () => {
  test.each([
    ['nothing in force', undefined],
    ['an object in force that does not claim it', '/'],
  ])('with %s talks to the server', async (_name, pathPrefix) => {
    const [server, running] = await echoBehind(pathPrefix);
    expect(await conversation(`${running.traffic}/chat/ws?room=a%2Fb`, 'one', 'two', 'three')).toEqual([
      'one',
      'two',
      'three',
    ]);
    expect(server.requests.map(({ url }) => url)).toEqual(['/chat/ws?room=a%2Fb']);
    expect(server.requests[0]?.rawHeaders).not.toContain('X-Forwarded-For');
    await until(async () => (await metric(running, 'weir_spliced_connections')) === 0);
  });

  test.each(['/v1/realtime?model=m', '/v1/anything'])('to %s, which an object claims, is 426', async (target) => {
    const [server, running] = await echoBehind(target.includes('model=') ? '/' : '/v1');
    const client = await WireClient.dial(running.traffic);
    await client.send(handshake(target)).take('HTTP/1.1 426 ');
    expect(server.requests).toEqual([]);
    client.socket.destroy();
  });

  test('that an object claims later goes on for a minute, and then not past its next byte', async () => {
    const clock = new ManualClock();
    const [server, running] = await echoBehind('/other', clock);
    const client = await WireClient.dial(running.traffic);
    const frame = Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]);
    const key = 'Sec-WebSocket-Key: eA==\r\n';
    await client.send(handshake('/v1/ws', 'websocket', key)).take('101 ');
    await client.send(frame).take('hi');
    running.source.push({ updates: versioned(route(`http://127.0.0.1:${server.port}`, '/v1')), removals: [] });
    clock.advance(59_000_000);
    await client.send(frame).take('hi');
    clock.advance(1_000_000);
    expect(await client.send(frame).ended()).toBe('');
    client.socket.destroy();
  });
});

describe('any upgrade that nobody claims', () => {
  test('switches as the server says it, and bytes pass both ways until either side ends', async () => {
    const ends = await open();
    await ends.start();
    const client = await ends.dial();
    const request = handshake('/exec//a%2Fb', 'SPDY/3.1', 'x-lower: 1\r\n');
    ends.serve = (socket, chunk) => {
      if (chunk.startsWith('GET')) socket.write(`${ACCEPTED.replace('WebSocket', 'SPDY/3.1')}first`);
      else socket.end(`${chunk}!`);
    };
    client.send(request);
    await until(() => client.text.endsWith('first'));
    expect(client.text).toBe(`${ACCEPTED.replace('WebSocket', 'SPDY/3.1')}first`);
    expect(ends.received).toBe(request);
    await client.take('first');
    expect(await client.send('bytes').ended()).toBe('bytes!');
    client.socket.end();
    await until(() => ends.server.sockets.size === 0);
  });

  test('bytes sent before the server has accepted reach it only then', async () => {
    const ends = await open();
    await ends.start();
    ends.serve = () => undefined;
    const client = await ends.dial();
    client.send(`${handshake('/ws')}early`);
    await until(() => ends.received !== '');
    expect(ends.received).toBe(handshake('/ws'));
    const [server] = ends.server.sockets;
    server?.write(ACCEPTED);
    await client.take('101 ');
    await until(() => ends.received.endsWith('early'));
    client.socket.destroy();
  });

  test('a refusal of the server comes back, ends the connection, and early bytes are dropped', async () => {
    const ends = await open();
    await ends.start();
    ends.serve = (socket) => socket.write('HTTP/1.1 403 No\r\nX-Why: because\r\nContent-Length: 2\r\n\r\nno');
    const smuggled = 'POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 13\r\n\r\n{"model":"m"}';
    const answer = await ends.exchange(`${handshake('/ws')}${smuggled}`);
    expect(answer).toBe('HTTP/1.1 403 No\r\nX-Why: because\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno');
    expect(ends.received).toBe(handshake('/ws'));
  });

  test('a server that is not there is 502', async () => {
    const ends = await open();
    await ends.start();
    ends.server.close();
    expect(await ends.exchange(handshake('/ws'))).toMatch(/^HTTP\/1.1 502 /);
  });

  test('a client that leaves before the answer leaves no connection behind', async () => {
    const ends = await open();
    await ends.start();
    ends.serve = () => undefined;
    const client = await ends.dial();
    client.send(handshake('/ws'));
    await until(() => ends.server.sockets.size === 1);
    client.socket.destroy();
    await until(() => ends.server.sockets.size === 0);
  });
});

describe('no upgrade opens a way past the limit', () => {
  test.each([
    ['h2c', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__'],
    ['TLS/1.2', 'Upgrade: TLS/1.2', 'X-a: b'],
    ['HTTP/2.0', 'Upgrade: HTTP/2.0', 'X-a: b'],
  ])('an offer of %s is passed over', async (_name, upgrade, more) => {
    const ends = await open();
    await ends.start();
    const answer = await ends.exchange(
      `GET /x HTTP/1.1\r\nHost: a\r\nConnection: close, Upgrade, HTTP2-Settings\r\n${upgrade}\r\n${more}\r\n\r\n`,
    );
    expect(answer).toContain('200 OK');
    expect(ends.received).not.toMatch(/upgrade|HTTP2-Settings/i);
    expect(ends.received).toMatch(/\r\nConnection: close/);
  });

  test('of several offers those of other HTTP are left out', async () => {
    const ends = await open();
    await ends.start();
    ends.serve = (socket) => socket.write(ACCEPTED);
    const client = await ends.dial();
    await client.send(handshake('/ws', 'h2c, WebSocket, TLS/1.0')).take('101 ');
    expect(ends.received).toMatch(/\r\nUpgrade: WebSocket\r\n/);
    client.socket.destroy();
  });

  test.each(['h2c', 'other', ''])(
    'a server that switches to %j, which was not offered, is cut off',
    async (protocol) => {
      const ends = await open();
      await ends.start();
      ends.serve = (socket) => socket.write(ACCEPTED.replace('WebSocket', protocol));
      expect(await ends.exchange(handshake('/ws', 'websocket, h2c'))).not.toContain('101');
      await until(() => ends.server.sockets.size === 0);
    },
  );

  test('101 to a request that did not ask for it is 502', async () => {
    const ends = await open();
    await ends.start();
    ends.serve = (socket) => socket.write(ACCEPTED);
    const answer = await ends.exchange('GET /x HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: close\r\n\r\n');
    expect(answer).toMatch(/^HTTP\/1.1 502 /);
  });

  test.each([
    ['behind another request', 'GET /held HTTP/1.1\r\nHost: a\r\n\r\n', ''],
    ['with a body', '', 'Content-Length: 3\r\n'],
  ])('an upgrade %s is not one', async (_name, before, more) => {
    const ends = await open();
    await ends.start();
    ends.serve = (socket, chunk) => {
      if (!chunk.includes('/held')) socket.write(ACCEPTED);
    };
    const client = await ends.dial();
    client.send(`${before}${handshake('/ws', 'websocket', more)}`);
    if (before !== '') {
      await until(() => ends.received.includes('/held'));
      const [server] = ends.server.sockets;
      server?.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nheld');
    }
    await client.take('HTTP/1.1 426 ');
    expect(ends.received).not.toContain('/ws');
    client.socket.destroy();
  });

  test('a client that resets in the middle of a switch costs nothing', async () => {
    const ends = await open();
    await ends.start();
    ends.serve = (socket) => socket.write(ACCEPTED);
    for (let round = 0; round < 20; round += 1) {
      const { hostname, port } = new URL(ends.running.traffic);
      const socket = connect(Number(port), hostname);
      await once(socket, 'connect');
      socket.write(handshake('/ws'));
      await new Promise((resolve) => setImmediate(resolve));
      socket.resetAndDestroy();
    }
    await until(() => ends.server.sockets.size === 0);
    expect((await fetch(`${ends.running.admin}/livez`)).status).toBe(200);
  });
});
