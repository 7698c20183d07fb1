// The proxy with real sockets: what reaches the upstream, what is refused before it, what is refunded, and what a
// request may not get around. The upstream counts for itself.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { request as httpRequest } from 'node:http';
import { createServer } from 'node:net';
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import type { StandInModel } from '../../../src/cli/stand-in/stand-in-model.ts';
import type { LimitConfig, LimiterConfig } from '../../../src/contract/limiter-config.ts';
import type { VersionedConfig } from '../../../src/limiter/config/config-source.ts';
import { responseHeaders } from '../../../src/limiter/proxy/http-headers.ts';
import { HOUR, tokens } from '../store/fixtures.ts';
import { limit, modelRouting, rule } from '../fixtures.ts';
import { LOOPBACK_FLEET, post, routeTo, startLimiter, startUpstream, versioned, type Running } from '../running.ts';

let upstream: StandInModel;
let running: Running | undefined;

beforeEach(async () => {
  upstream = await startUpstream();
});
afterEach(async () => {
  await running?.close();
  running = undefined;
  await upstream.close();
});

const CHAT = { model: 'm', messages: [{ role: 'user', content: 'hi' }] };
const bucket = (amount: number, change: Partial<LimitConfig> = {}): LimitConfig =>
  limit({ rule: tokens(amount, HOUR), ...change });
const serve = async (...limits: LimitConfig[]): Promise<string> => {
  running = await startLimiter([routeTo(upstream.url, { limits })], { maxBodyBytes: 64 * 1024 });
  return running.traffic;
};

describe('a limit at the proxy', () => {
  test('admits exactly its amount of parallel requests, and no refused request reaches the upstream', async () => {
    const base = await serve(bucket(5));
    const answers = await Promise.all(Array.from({ length: 20 }, () => post(`${base}/v1/chat/completions`, CHAT)));
    expect(answers.map(({ status }) => status).sort()).toEqual([
      ...Array<number>(5).fill(200),
      ...Array<number>(15).fill(429),
    ]);
    expect(upstream.count()).toBe(5);
    const refused = answers.find(({ status }) => status === 429);
    expect(Number(refused?.headers.get('retry-after'))).toBe(720);
    expect(await refused?.json()).toMatchObject({ error: { code: 'insufficient_quota' } });
  });

  test('counts every method that a route takes', async () => {
    running = await startLimiter([routeTo(upstream.url, { limits: [bucket(4)] }, { pathPrefix: '/a' })]);
    for (const method of ['GET', 'HEAD', 'OPTIONS', 'DELETE']) {
      expect((await fetch(`${running.traffic}/a/v1/models`, { method })).status).toBe(200);
    }
    expect((await fetch(`${running.traffic}/a/v1/models`)).status).toBe(429);
    expect((await fetch(`${running.traffic}/a/v1/models`, { method: 'HEAD' })).status).toBe(429);
    expect(upstream.count()).toBe(4);
  });

  test('a failed match is 404 and spends nothing', async () => {
    const rules = [rule({ methods: ['POST'], targets: [{ url: upstream.url, weight: 1 }] })];
    running = await startLimiter([routeTo(upstream.url, { limits: [bucket(1)], routing: modelRouting({ rules }) })]);
    const url = `${running.traffic}/v1/chat/completions`;
    expect((await post(url, { ...CHAT, model: 'other' })).status).toBe(404);
    expect((await fetch(url, { method: 'PUT', body: JSON.stringify(CHAT) })).status).toBe(404);
    expect((await post(url, CHAT)).status).toBe(200);
    expect(upstream.count()).toBe(1);
  });
});

describe('trap 31: a POST with another Content-Type does not pass unlimited', () => {
  test.each(['text/plain', 'application/x-www-form-urlencoded', '', 'application/octet-stream', 'multipart/form-data'])(
    'Content-Type %j',
    async (type) => {
      const base = await serve(bucket(1));
      const send = (): Promise<Response> => post(`${base}/v1/chat/completions`, CHAT, { 'content-type': type });
      expect((await send()).status).toBe(200);
      expect((await send()).status).toBe(429);
    },
  );

  test('neither does a compressed body, which goes on as it was read: decoded', async () => {
    const encoders = { gzip: gzipSync, deflate: deflateSync, br: brotliCompressSync, zstd: zstdCompressSync };
    const base = await serve(bucket(4));
    for (const [encoding, encode] of Object.entries(encoders)) {
      const body = new Uint8Array(encode(JSON.stringify(CHAT)));
      const answer = await fetch(`${base}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-encoding': encoding },
        body,
      });
      expect(answer.status).toBe(200);
    }
    expect((await post(`${base}/v1/chat/completions`, CHAT)).status).toBe(429);
    const length = String(JSON.stringify(CHAT).length);
    for (const { headers, model } of upstream.ledger()) {
      expect(headers).toMatchObject({ 'content-length': length });
      expect(headers['content-encoding']).toBeUndefined();
      expect(model).toBe('m');
    }
  });

  test('an unknown or corrupt encoding is refused', async () => {
    const base = await serve(bucket(4));
    const send = (encoding: string): Promise<Response> =>
      post(`${base}/v1/chat/completions`, CHAT, { 'content-encoding': encoding });
    expect((await send('compress')).status).toBe(415);
    expect((await send('gzip')).status).toBe(400);
    expect((await send('gzip, gzip, gzip')).status).toBe(415);
    expect(upstream.count()).toBe(0);
  });

  test.each(['{"model":"m"', '{"model":"x","model":"m"}', '{"Model":"m"}'])('%s is refused', async (body) => {
    const base = await serve(bucket(4));
    expect((await post(`${base}/v1/chat/completions`, body)).status).not.toBe(200);
    expect(upstream.count()).toBe(0);
  });
});

describe('bodies have a bound', () => {
  test('413 beyond it, with and without a length, and after decompression', async () => {
    const base = await serve(bucket(10));
    const large = JSON.stringify({ ...CHAT, padding: 'x'.repeat(70_000) });
    expect((await post(`${base}/v1/chat/completions`, large)).status).toBe(413);
    const stream = new Blob([large]).stream();
    const chunked = await fetch(`${base}/v1/chat/completions`, {
      method: 'POST',
      body: stream,
      duplex: 'half',
    });
    expect(chunked.status).toBe(413);
    const bomb = new Uint8Array(gzipSync('{'.padEnd(10_000_000, ' ')));
    const bombed = await fetch(`${base}/x`, { method: 'POST', headers: { 'content-encoding': 'gzip' }, body: bomb });
    expect(bombed.status).toBe(413);
    expect(upstream.count()).toBe(0);
  });
});

describe('trap 22: what the upstream refused is refunded', () => {
  test.each([400, 401, 404, 429, 500, 503])('status %i', async (status) => {
    const base = await serve(bucket(1));
    const url = `${base}/v1/chat/completions`;
    for (let round = 0; round < 3; round += 1) {
      expect((await post(url, CHAT, { 'x-stand-in-status': String(status) })).status).toBe(status);
    }
    expect((await post(url, CHAT)).status).toBe(200);
    expect((await post(url, CHAT)).status).toBe(429);
  });

  test('an upstream that nobody serves: 502, refunded', async () => {
    const closed = await startUpstream();
    await closed.close();
    running = await startLimiter([routeTo(closed.url, { limits: [bucket(1)] })]);
    for (let round = 0; round < 3; round += 1) {
      const answer = await post(`${running.traffic}/v1/chat/completions`, CHAT);
      expect([answer.status, await answer.json()]).toMatchObject([502, { error: { code: 'upstream_unreachable' } }]);
    }
  });

  test('a connection that breaks before the answer: 502, refunded; silence: 504, charged', async () => {
    let breaks = true;
    const rude = createServer((socket) => {
      socket.on('error', () => undefined);
      if (breaks) socket.once('data', () => socket.destroy());
    });
    await new Promise<void>((resolve) => rude.listen(0, '127.0.0.1', resolve));
    const { port } = rude.address() as { port: number };
    const config = routeTo(`http://127.0.0.1:${port}`, { limits: [bucket(1)] });
    running = await startLimiter([config], { headersTimeoutMs: 50 });
    const url = `${running.traffic}/v1/chat/completions`;
    expect((await post(url, CHAT)).status).toBe(502);
    breaks = false;
    expect((await post(url, CHAT)).status).toBe(504);
    expect((await post(url, CHAT)).status).toBe(429);
    await running.close();
    rude.close();
  });
});

describe('headers on their way', () => {
  test('hop-by-hop headers end here, the chain of addresses grows, the request id is kept', async () => {
    const base = await serve(bucket(10));
    const answer = await new Promise<Record<string, unknown>>((resolve, reject) => {
      const call = httpRequest(
        `${base}/v1/chat/completions`,
        {
          method: 'POST',
          headers: {
            connection: 'keep-alive, x-private',
            'x-private': '1',
            te: 'trailers',
            'proxy-authorization': 'Basic x',
            'x-forwarded-for': '203.0.113.9',
            'x-request-id': 'mine',
            'x-kept': 'yes',
          },
        },
        (response) => {
          response.resume();
          resolve(response.headers);
        },
      );
      call.on('error', reject);
      call.end(JSON.stringify(CHAT));
    });
    expect(answer['x-request-id']).toBe('mine');
    const seen = upstream.ledger()[0]?.headers ?? {};
    expect(seen).toMatchObject({
      host: new URL(upstream.url).host,
      'x-forwarded-for': '203.0.113.9, 127.0.0.1',
      'x-request-id': 'mine',
      'x-kept': 'yes',
    });
    for (const name of ['x-private', 'te', 'proxy-authorization']) expect(seen).not.toHaveProperty(name);
  });

  test('an id that could end a header is not repeated', async () => {
    const base = await serve(bucket(10));
    const answer = await post(`${base}/v1/chat/completions`, CHAT, { 'x-request-id': 'a b' });
    expect(answer.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
  });

  test('an upgrade is 426', async () => {
    const base = await serve(bucket(10));
    const status = await new Promise((resolve, reject) => {
      const call = httpRequest(
        `${base}/v1/realtime`,
        { headers: { connection: 'Upgrade', upgrade: 'websocket' } },
        (response) => {
          response.resume();
          resolve(response.statusCode);
        },
      );
      call.on('error', reject);
      call.end();
    });
    expect(status).toBe(426);
    expect(upstream.count()).toBe(0);
  });

  test('the path below the prefix and the query reach the upstream as they came', async () => {
    running = await startLimiter([routeTo(`${upstream.url}/base`, { limits: [] }, { pathPrefix: '/serving/chat' })]);
    await post(`${running.traffic}/serving/chat/v1//chat/./completions?a=1&b=%2F`, CHAT);
    expect(upstream.ledger()[0]?.path).toBe('/base/v1/chat/completions?a=1&b=%2F');
  });
});

describe('what a peer may say', () => {
  const byUser = bucket(1, { per: [{ type: 'user', whenAbsent: 'Share' }] });
  const identity = (trustedPeers: string[]): Partial<LimiterConfig> => ({
    identity: { required: false, trustedHops: 0, trustedHeaders: { user: 'x-user', attributes: {}, trustedPeers } },
  });

  test('a user of a peer that is not trusted is nobody, and the upstream does not see the name', async () => {
    running = await startLimiter([routeTo(upstream.url, { limits: [byUser], ...identity(['192.0.2.0/24']) })]);
    const send = (user: string): Promise<Response> =>
      post(`${running!.traffic}/v1/chat/completions`, CHAT, { 'x-user': user });
    expect((await send('ann')).status).toBe(200);
    expect((await send('bob')).status).toBe(429);
    expect(upstream.ledger()[0]?.headers).not.toHaveProperty('x-user');
  });

  test('a user of a trusted peer is told from others', async () => {
    running = await startLimiter([routeTo(upstream.url, { limits: [byUser], ...identity(['127.0.0.1']) })]);
    const send = (user: string): Promise<Response> =>
      post(`${running!.traffic}/v1/chat/completions`, CHAT, { 'x-user': user });
    expect((await send('ann')).status).toBe(200);
    expect((await send('bob')).status).toBe(200);
    expect((await send('ann')).status).toBe(429);
    expect(upstream.ledger()[0]?.headers).toMatchObject({ 'x-user': 'ann' });
  });
});

describe('egress', () => {
  const fleet = (...egressAllow: string[]): VersionedConfig => ({
    ...LOOPBACK_FLEET,
    resource: { kind: 'Fleet', knownLimiters: 1, egressAllow },
  });

  test('the address that a name leads to is checked, and what is taken off the list is dialled no more', async () => {
    const url = upstream.url.replace('127.0.0.1', 'localhost');
    running = await startLimiter([]);
    const send = (): Promise<Response> => post(`${running!.traffic}/v1/chat/completions`, CHAT);
    const route = versioned(routeTo(url, { limits: [bucket(1)] }));
    running.source.push({ updates: [fleet('localhost'), ...route], removals: [] });
    const refused = await send();
    expect([refused.status, await refused.json()]).toMatchObject([502, { error: { code: 'egress_refused' } }]);
    running.source.push({ updates: [fleet('localhost', '127.0.0.0/8')], removals: [] });
    expect((await send()).status).toBe(200);
    running.source.push({ updates: [fleet()], removals: [] });
    expect((await send()).status).toBe(429);
    running.source.push({ updates: versioned(routeTo(url, { limits: [] })), removals: [] });
    expect(upstream.count()).toBe(1);
  });
});

describe('headers of the answer', () => {
  const own = { 'X-RateLimit-Limit': '5', 'retry-after': '1' };

  test('the limiter replaces what it also says, and keeps the Retry-After of the 429 of an upstream', () => {
    const theirs = [
      ['x-ratelimit-limit', '9'],
      ['retry-after', '77'],
      ['connection', 'x-hop'],
      ['connection', 'keep-alive'],
      ['x-hop', '1'],
      ['set-cookie', 'a'],
      ['set-cookie', 'b'],
    ] as const;
    const cookies = ['set-cookie', 'a', 'set-cookie', 'b'];
    expect(responseHeaders(theirs, 429, own)).toEqual(['retry-after', '77', ...cookies, 'x-ratelimit-limit', '5']);
    expect(responseHeaders(theirs, 200, own)).toEqual([...cookies, 'x-ratelimit-limit', '5', 'retry-after', '1']);
  });
});

describe('a sidecar', () => {
  const sidecar = async (): Promise<string> => {
    const config = routeTo(upstream.url, { limits: [bucket(1)] }, { rules: [rule({ targets: [] })] });
    running = await startLimiter([config], { mode: 'sidecar', upstream: upstream.url });
    return running.traffic;
  };

  test('forwards uncounted what no route claims, and counts what one does', async () => {
    const base = await sidecar();
    for (let round = 0; round < 3; round += 1) {
      expect((await fetch(`${base}/health`)).status).toBe(200);
      expect((await post(`${base}/v1/chat/completions`, { ...CHAT, model: 'other' })).status).toBe(200);
    }
    expect((await post(`${base}/v1/chat/completions`, CHAT)).status).toBe(200);
    expect((await post(`${base}/v1/chat/completions`, CHAT)).status).toBe(429);
  });

  test('does not forward uncounted a body that hides its model', async () => {
    const base = await sidecar();
    const hidden = ['{"model":"other","model":"m"}', '{"MODEL":"m"}', '{"messages":[]}', 'model=m', '{"model":"m",}'];
    for (const body of hidden) expect((await post(`${base}/v1/chat/completions`, body)).status).toBe(400);
    expect((await post(`${base}/anything`, '{"model":"m","x":NaN}')).status).toBe(400);
    expect(upstream.count()).toBe(0);
  });

  test('reads the model of an upload from its form', async () => {
    const base = await sidecar();
    const form = (): FormData => {
      const data = new FormData();
      data.append('file', new Blob(['...']), 'a.wav');
      data.append('model', 'm');
      return data;
    };
    const send = (): Promise<Response> => fetch(`${base}/v1/audio/transcriptions`, { method: 'POST', body: form() });
    expect((await send()).status).toBe(404);
    expect(upstream.count()).toBe(1);
    expect((await post(`${base}/v1/chat/completions`, CHAT)).status).toBe(200);
    expect((await send()).status).toBe(429);
  });
});
