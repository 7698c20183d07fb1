// A sidecar with an object in force serves HTTP/1 and guesses at nothing else; and what becomes of connections that
// are open when an object comes or goes.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { ManualClock } from '../../../src/lib/clock.ts';
import { limit } from '../fixtures.ts';
import { routeTo, until, versioned, type Running } from '../running.ts';
import { HOUR, tokens } from '../store/fixtures.ts';
import { metric, startSidecar, WireClient } from './wire.ts';

const CALL = 'POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 13\r\n\r\n{"model":"m"}';
const PING = '*1\r\n$4\r\nPING\r\n';

let server: Server;
let running: Running;
/** Answers that the server holds back. */
let held: ServerResponse[];
/** Bytes that are no HTTP come back. */
let echoed: Socket[];

beforeEach(async () => {
  held = [];
  echoed = [];
  server = createServer((request, response) => {
    request.resume();
    if (request.url === '/held') held.push(response);
    else request.once('end', () => response.end('served'));
  });
  server.on('clientError', (_error, socket) => {
    echoed.push(socket as Socket);
    socket.write('+PONG\r\n');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterEach(async () => {
  await running.close();
  for (const socket of echoed) socket.destroy();
  server.closeAllConnections();
  server.close();
});

const port = (): number => (server.address() as AddressInfo).port;
const route = (): ReturnType<typeof routeTo> =>
  routeTo(`http://127.0.0.1:${port()}`, { limits: [limit({ rule: tokens(1, HOUR) })] });
const objectComes = (): void => {
  running.source.push({ updates: versioned(route()), removals: [] });
};
const objectGoes = (): void => {
  running.source.push({ updates: [], removals: ['ModelRoute/serving/chat'] });
};
const handled = (handling: string): Promise<number> =>
  metric(running, `weir_connections_total{handling="${handling}"}`);

describe('with an object in force', () => {
  beforeEach(async () => {
    running = await startSidecar(port(), [route()]);
  });

  test('HTTP/1 is served and limited, split as it may be', async () => {
    const client = await WireClient.dial(running.traffic);
    client.socket.setNoDelay(true);
    for (const byte of `\r\n${CALL}`) {
      client.send(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await client.take('served');
    await client.send(CALL.repeat(2)).take('429');
    expect(await handled('http')).toBe(1);
    client.socket.destroy();
  });

  test.each([
    ['Redis', PING],
    ['Redis, inline', 'GET key\r\n'],
    ['SSH', 'SSH-2.0-OpenSSH_9.2\r\n'],
    ['PROXY protocol', 'PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\n\r\n'],
    ['HTTP/0.9', 'GET /\r\n'],
    ['PostgreSQL', '\0\0\0\x08\x04\xd2\x16\x2f'],
    ['half a line', 'GET / HT'],
  ])('%s is closed without a byte', async (_name, bytes) => {
    const client = await WireClient.dial(running.traffic);
    client.send(bytes);
    if (bytes === 'GET / HT') client.socket.end();
    expect(await client.ended()).toBe('');
    expect(await handled('refused_other')).toBe(1);
    expect(echoed).toEqual([]);
    client.socket.destroy();
  });

  test('TLS hears an alert', async () => {
    const { hostname, port: traffic } = new URL(running.traffic);
    const [error] = (await once(
      connectTls({ host: hostname, port: Number(traffic), rejectUnauthorized: false }).on('secureConnect', () => {
        throw new Error('there is no TLS here');
      }),
      'error',
    ).catch((reason: unknown) => [reason])) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE');
    expect(await handled('refused_tls')).toBe(1);
  });

  test('HTTP/2 hears that HTTP/1.1 is required', async () => {
    const session = connectHttp2(running.traffic);
    session.on('error', () => undefined);
    const [code, , text] = (await once(session, 'goaway')) as [number, number, Buffer];
    expect([code, text.toString()]).toEqual([0x0d, expect.stringContaining('HTTP/1.1')]);
    expect(await handled('refused_http2')).toBe(1);
    session.destroy();
  });

  test('a request line of any length is left to the HTTP server', async () => {
    const client = await WireClient.dial(running.traffic);
    client.send(`GET /${'a'.repeat(40_000)} HTTP/1.1\r\nHost: a\r\n\r\n`);
    expect(await client.ended()).toMatch(/^HTTP\/1.1 431 /);
    client.socket.destroy();
  });

  test('a connection that says nothing is no refusal when it leaves', async () => {
    const client = await WireClient.dial(running.traffic);
    client.socket.end();
    expect(await client.ended()).toBe('');
    await client.closed();
    for (const handling of ['http', 'refused_other', 'refused_silent']) expect(await handled(handling)).toBe(0);
  });

  test('the object goes: HTTP goes on, and every protocol passes', async () => {
    const client = await WireClient.dial(running.traffic);
    await client.send(CALL).take('served');
    const silent = await WireClient.dial(running.traffic);
    objectGoes();
    await client.send(CALL.repeat(3)).take('served');
    await silent.send(PING).take('+PONG');
    const other = await WireClient.dial(running.traffic);
    await other.send(PING).take('+PONG');
    for (const each of [client, silent, other]) each.socket.destroy();
  });
});

describe('an object comes while connections are spliced', () => {
  let clock: ManualClock;

  beforeEach(async () => {
    clock = new ManualClock();
    running = await startSidecar(port(), [], {}, { clock });
  });

  test('a client that keeps its connection is limited from its next request on, and loses none', async () => {
    const client = await WireClient.dial(running.traffic);
    for (let call = 0; call < 3; call += 1) await client.send(CALL).take('served');
    objectComes();
    await client.send(CALL).take('served');
    await client.send(CALL).take('429');
    expect(client.socket.destroyed).toBe(false);
    expect([await handled('spliced'), await handled('http')]).toEqual([1, 1]);
    expect(await metric(running, 'weir_spliced_connections')).toBe(0);
    client.socket.destroy();
  });

  test('a connection that has carried nothing yet begins anew', async () => {
    const http = await WireClient.dial(running.traffic);
    const redis = await WireClient.dial(running.traffic);
    await until(async () => (await metric(running, 'weir_spliced_connections')) === 2);
    objectComes();
    await http.send(CALL).take('served');
    await http.send(CALL).take('429');
    expect(await redis.send(PING).ended()).toBe('');
    for (const each of [http, redis]) each.socket.destroy();
  });

  test('an answer under way is not cut, however long it takes', async () => {
    const client = await WireClient.dial(running.traffic);
    client.send('GET /held HTTP/1.1\r\nHost: a\r\n\r\n');
    await until(() => held.length === 1);
    objectComes();
    clock.advance(3_600_000_000);
    held[0]?.write('late ');
    await client.take('late ');
    held[0]?.end('but whole');
    await client.take('but whole');
    await client.send(CALL).take('served');
    await client.send(CALL).take('429');
    client.socket.destroy();
  });

  test('what cannot be judged goes on for a minute, then its next byte closes it', async () => {
    const client = await WireClient.dial(running.traffic);
    await client.send(PING).take('+PONG');
    objectComes();
    clock.advance(59_000_000);
    await client.send(PING).take('+PONG');
    clock.advance(1_000_000);
    expect(await client.send(PING).ended()).toBe('');
    client.socket.destroy();
  });

  test('requests that hide their beginning do not go on past that minute', async () => {
    const client = await WireClient.dial(running.traffic);
    client.socket.setNoDelay(true);
    await client.send(CALL).take('served');
    objectComes();
    client.send(CALL.slice(0, 3));
    await until(async () => (await metric(running, 'weir_spliced_bytes_total{direction="in"}')) === CALL.length + 3);
    await client.send(CALL.slice(3)).take('served');
    clock.advance(60_000_000);
    expect(await client.send(CALL.slice(0, 3)).ended()).toBe('');
    client.socket.destroy();
  });

  test('an object that goes again leaves them alone', async () => {
    const client = await WireClient.dial(running.traffic);
    await client.send(PING).take('+PONG');
    objectComes();
    objectGoes();
    clock.advance(3_600_000_000);
    await client.send(PING).take('+PONG');
    client.socket.destroy();
  });
});

test('a server that speaks first is not waited for: its client is closed without a word', async () => {
  const first = createTcpServer((socket) => socket.write('220 mail\r\n'));
  first.listen(0, '127.0.0.1');
  await once(first, 'listening');
  const address = first.address() as AddressInfo;
  running = await startSidecar(address.port, [route()], { requestHeadersTimeoutMs: 50 });
  const client = await WireClient.dial(running.traffic);
  expect(await client.ended()).toBe('');
  // The admin server has the same deadline for the head of a request: a busy machine may miss it.
  await until(async () => (await handled('refused_silent').catch(() => 0)) === 1);
  client.socket.destroy();
  first.close();
});
