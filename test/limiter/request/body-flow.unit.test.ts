// Bodies over real sockets: those that stall, drip, or are too many; nobody else waits for them, and nothing is kept.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { StandInModel } from '../../../src/cli/stand-in/stand-in-model.ts';
import { ManualClock } from '../../../src/lib/clock.ts';
import type { LimiterParts } from '../../../src/limiter/main.ts';
import type { LimiterSettings } from '../../../src/limiter/settings.ts';
import { config, mcpRouting } from '../fixtures.ts';
import { post, routeTo, startLimiter, startUpstream, until, type Running } from '../running.ts';

const MIB = 1024 * 1024;
const CHAT = '/v1/chat/completions';

let upstream: StandInModel;
let running: Running;
let sockets: Socket[];

beforeEach(async () => {
  upstream = await startUpstream();
  sockets = [];
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await running.close();
  await upstream.close();
});

async function serve(settings: Partial<LimiterSettings>, parts: LimiterParts = {}): Promise<void> {
  const targets = [{ url: upstream.url, weight: 1 }];
  const mcp = config({ name: 'tools', routing: mcpRouting({ targets, pathPrefix: '/mcp' }) });
  running = await startLimiter([routeTo(upstream.url), mcp], settings, parts);
}

/**
 * A request of which the head and `sent` bytes of `announced` are sent. `answer`: what came until its connection
 * ended.
 */
async function stall(path: string, announced: number, sent: number): Promise<{ readonly answer: Promise<string> }> {
  const { hostname, port } = new URL(running.traffic);
  const socket = connect(Number(port), hostname);
  sockets.push(socket);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    // The answer is complete long before the connection is closed on a client that could still be sending.
    if (Buffer.concat(chunks).toString().endsWith('}')) socket.end();
  });
  socket.on('error', () => undefined);
  const closed = once(socket, 'close').then(() => Buffer.concat(chunks).toString());
  const head = `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: ${announced}\r\n\r\n`;
  await new Promise<void>((resolve) => {
    socket.write(Buffer.concat([Buffer.from(head), Buffer.alloc(sent, ' ')]), () => {
      resolve();
    });
  });
  return { answer: closed };
}

const bodyOf = (answer: string): unknown => JSON.parse(answer.split('\r\n\r\n')[1] ?? '');
function* slices(text: string, size: number): Generator<Buffer> {
  for (let at = 0; at < text.length; at += size) yield Buffer.from(text.slice(at, at + size));
}

const metric = async (name: string): Promise<number> => {
  const text = await (await fetch(`${running.admin}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\d+)`, 'm').exec(text)?.[1]);
};
const held = (): Promise<number> => metric('weir_request_body_bytes');

describe('a body that does not come', () => {
  test('is 408 after its deadline, in the dialect of its place, and the connection ends', async () => {
    await serve({ bodyIdleTimeoutMs: 100 });
    const model = await (await stall(CHAT, 100, 10)).answer;
    expect(model).toMatch(/^HTTP\/1\.1 408 /);
    expect(model).toMatch(/\r\nconnection: close\r\n/i);
    expect(bodyOf(model)).toMatchObject({ error: { code: 'body_timeout' } });
    const mcp = await (await stall('/mcp', 100, 0)).answer;
    expect(mcp).toMatch(/^HTTP\/1\.1 408 /);
    expect(bodyOf(mcp)).toMatchObject({ jsonrpc: '2.0', error: { code: -32600 } });
    expect(await held()).toBe(0);
    expect(upstream.count()).toBe(0);
  });

  test('in shreds is not read on: its connection ends long before all of them came', async () => {
    await serve({});
    const { hostname, port } = new URL(running.traffic);
    const socket = connect(Number(port), hostname);
    sockets.push(socket);
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', () => undefined);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.write('POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n');
    socket.write('1\r\n \r\n'.repeat(2_000_000));
    await closed;
    // A client that is still sending may miss the answer.
    expect(Buffer.concat(chunks).toString()).toMatch(/^$|^HTTP\/1\.1 400 [^]*pieces of a few bytes/);
    await until(async () => (await held()) === 0);
    expect(upstream.count()).toBe(0);
  });

  test('in a few shreds, or in many pieces of some size, is a body like any other', async () => {
    await serve({});
    const text = JSON.stringify({ model: 'm', padding: 'x'.repeat(200_000) });
    const few = '{"model":"m"}';
    for (const [body, size] of [
      [few, 1],
      [text, 24],
    ] as const) {
      const answer = await fetch(running.traffic + CHAT, {
        method: 'POST',
        body: Readable.from(slices(body, size)),
        duplex: 'half',
      });
      expect([size, answer.status]).toEqual([size, 200]);
    }
  });

  test('holds no room once its client is gone', async () => {
    await serve({});
    await stall(CHAT, 8 * MIB, 4 * MIB);
    await until(async () => (await held()) >= 4 * MIB);
    for (const socket of sockets) socket.destroy();
    await until(async () => (await held()) === 0);
  });
});

describe('more bodies than there is room for', () => {
  test('503 with Retry-After for large ones, in their dialect; small ones pass', async () => {
    // Time stands still: none of them is slow yet.
    await serve({ maxBodyBytes: 4 * MIB, bodyBudgetBytes: 12 * MIB }, { clock: new ManualClock() });
    for (let count = 0; count < 8; count += 1) await stall(CHAT, 2 * MIB, MIB);
    await until(async () => (await held()) >= 8 * MIB);
    const large = JSON.stringify({ model: 'm', padding: 'x'.repeat(MIB) });
    const refused = await post(running.traffic + CHAT, large);
    expect(refused.status).toBe(503);
    expect(refused.headers.get('retry-after')).toBe('1');
    expect(await refused.json()).toMatchObject({ error: { type: 'server_error', code: 'over_capacity' } });
    const call = await post(`${running.traffic}/mcp`, large);
    expect(await call.json()).toMatchObject({ jsonrpc: '2.0', error: { code: -32603 } });
    const small = await Promise.all(
      Array.from({ length: 20 }, () => post(running.traffic + CHAT, { model: 'm', messages: [] })),
    );
    expect(small.map(({ status }) => status)).toEqual(Array<number>(20).fill(200));
    expect(await metric('weir_request_body_over_capacity_total')).toBeGreaterThanOrEqual(2);
  });

  test('those that stall give way', async () => {
    await serve({ maxBodyBytes: 4 * MIB, bodyBudgetBytes: 12 * MIB });
    const stalled = [];
    for (let count = 0; count < 8; count += 1) stalled.push(await stall(CHAT, 2 * MIB, MIB));
    await until(async () => (await held()) >= 8 * MIB);
    const large = JSON.stringify({ model: 'm', padding: 'x'.repeat(MIB) });
    await until(async () => (await post(running.traffic + CHAT, large)).status === 200, 20_000);
    for (const socket of sockets) socket.end();
    const answers = await Promise.all(stalled.map(({ answer }) => answer));
    // One for each MiB and what is beyond it, not all of them.
    const given = answers.filter((answer) => answer.startsWith('HTTP/1.1 503 '));
    expect(given.length).toBeGreaterThan(0);
    expect(given.length).toBeLessThan(8);
  });

  test('what is answered is not held any more', async () => {
    await serve({ maxBodyBytes: 4 * MIB, bodyBudgetBytes: 12 * MIB });
    const large = JSON.stringify({ model: 'm', padding: 'x'.repeat(3 * MIB) });
    for (let count = 0; count < 10; count += 1) expect((await post(running.traffic + CHAT, large)).status).toBe(200);
    await until(async () => (await held()) === 0);
  });

  test('what the upstream has is not held any more, though its answer goes on', async () => {
    const received: Buffer[] = [];
    const slow = createServer((request, response) => {
      request.on('data', (chunk: Buffer) => received.push(chunk));
      request.on('end', () => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.write('data: 1\n\n');
      });
    });
    slow.listen(0, '127.0.0.1');
    await once(slow, 'listening');
    const url = `http://127.0.0.1:${(slow.address() as AddressInfo).port}`;
    running = await startLimiter([routeTo(url)]);
    const large = JSON.stringify({ model: 'm', padding: randomBytes(2 * MIB).toString('base64') });
    const answer = await post(running.traffic + CHAT, large);
    expect(answer.status).toBe(200);
    expect(Buffer.concat(received).equals(Buffer.from(large))).toBe(true);
    await until(async () => (await held()) === 0);
    slow.closeAllConnections();
    slow.close();
    await answer.text().catch(() => undefined);
  });

  test('an answer that comes before the upstream has all of it reaches the client', async () => {
    const early = createServer((request, response) => {
      response.writeHead(413, { connection: 'close' }).end('too much');
      request.once('data', () => request.pause());
    });
    early.listen(0, '127.0.0.1');
    await once(early, 'listening');
    running = await startLimiter([routeTo(`http://127.0.0.1:${(early.address() as AddressInfo).port}`)]);
    const answer = await post(running.traffic + CHAT, JSON.stringify({ model: 'm', padding: 'x'.repeat(12 * MIB) }));
    expect([answer.status, await answer.text()]).toEqual([413, 'too much']);
    await until(async () => (await held()) === 0);
    early.closeAllConnections();
    early.close();
  });
});
