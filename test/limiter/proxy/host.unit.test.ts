// What an upstream is told of the address that its caller used: the server of the own pod sees the caller's Host,
// everybody else its own, and what proxies say is believed from those that the owner trusts.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { LimiterConfig } from '../../../src/contract/limiter-config.ts';
import { authorityOf } from '../../../src/limiter/proxy/http-headers.ts';
import { exchange } from '../../hostile/wire.ts';
import { startRawUpstream, type RawUpstream } from '../../rig/upstream/raw-upstream.ts';
import { mcpRouting, rule } from '../fixtures.ts';
import { mcpTo, routeTo, startLimiter, type Running } from '../running.ts';

let upstream: RawUpstream;
let running: Running | undefined;
const REDIRECT =
  'HTTP/1.1 307 Temporary Redirect\r\nLocation: http://gw.example:8443/mcp/\r\nContent-Length: 0\r\n\r\n';

beforeEach(async () => {
  upstream = await startRawUpstream(() => REDIRECT);
});
afterEach(async () => {
  await running?.close();
  await upstream.close();
});

const LINE = 'GET /mcp HTTP/1.1';

/** What the upstream got of a request with these lines, by name; each name once. */
async function seen(lines: string, line = LINE): Promise<Record<string, string>> {
  const { host } = new URL(running!.traffic);
  const answer = await exchange(Buffer.from(`${line}\r\n${lines}Connection: close\r\n\r\n`), host);
  expect(answer).toMatchObject({ status: 307, headers: { location: 'http://gw.example:8443/mcp/' } });
  const pairs = upstream
    .last()
    .split('\r\n')
    .slice(1)
    .map((each) => each.split(': '))
    .map(([name = '', value = '']) => [name.toLowerCase(), value] as const);
  expect(new Set(pairs.map(([name]) => name)).size).toBe(pairs.length);
  return Object.fromEntries(pairs);
}

const FROM_PROXIES = 'X-Forwarded-Host: spoofed\r\nX-Forwarded-Proto: https\r\nForwarded: host=spoofed\r\n';
const identity = (change: object): Partial<LimiterConfig> => ({
  identity: { required: false, trustedHops: 0, trustedHeaders: { attributes: {}, trustedPeers: [] }, ...change },
});

describe('the server of the own pod', () => {
  const claimed = (): LimiterConfig => mcpTo('http://unused', { routing: mcpRouting({ targets: [] }) });
  beforeEach(async () => {
    running = await startLimiter([claimed()], { mode: 'sidecar', upstream: upstream.url });
  });

  test.each<[string, string, string, string]>([
    ['a name and a port', 'Host: gw.example:8443\r\n', 'gw.example:8443', LINE],
    ['in the case in which it was written', 'HOST:  GW.Example \r\n', 'GW.Example', LINE],
    ['an address', 'Host: [2001:db8::1]:80\r\n', '[2001:db8::1]:80', LINE],
    [
      'of an absolute target',
      'Host: gw.example:8443\r\n',
      'gw.example:8443',
      'GET http://gw.example:8443/mcp HTTP/1.1',
    ],
    ['of an absolute target without its user', 'Host: gw\r\n', 'gw', 'GET http://u:p@gw/mcp HTTP/1.1'],
  ])('sees the Host of its caller: %s', async (_name, lines, host, line) => {
    expect(await seen(lines, line)).toMatchObject({ host });
  });

  test('sees what proxies said as it came, and nothing that the limiter says of the host', async () => {
    expect(await seen(`Host: gw\r\n${FROM_PROXIES}`)).toMatchObject({
      'x-forwarded-host': 'spoofed',
      'x-forwarded-proto': 'https',
      forwarded: 'host=spoofed',
      'x-forwarded-for': '127.0.0.1',
    });
    const headers = await seen('Host: gw\r\n');
    for (const name of ['x-forwarded-host', 'x-forwarded-proto', 'forwarded']) expect(headers).not.toHaveProperty(name);
  });

  test('a rule without targets leads there as well', async () => {
    await running?.close();
    const route = routeTo('http://unused', {}, { rules: [rule({ targets: [] })], hostnames: ['gw.example'] });
    running = await startLimiter([route], { mode: 'sidecar', upstream: upstream.url });
    expect(await seen('Host: gw.example\r\n', 'GET /v1/models HTTP/1.1')).toMatchObject({ host: 'gw.example' });
  });
});

describe.each(['shared', 'sidecar'] as const)('another target, %s', (mode) => {
  const start = async (change: Partial<LimiterConfig> = {}): Promise<void> => {
    const routing = mcpRouting({ targets: [{ url: upstream.url, weight: 1 }] });
    running = await startLimiter([mcpTo(upstream.url, { routing, ...change })], {
      mode,
      ...(mode === 'sidecar' ? { upstream: 'http://127.0.0.1:1' } : {}),
    });
  };

  test('sees its own Host, and the one of the caller as X-Forwarded-Host', async () => {
    await start();
    expect(await seen('Host: gw.example:8443\r\n')).toMatchObject({
      host: new URL(upstream.url).host,
      'x-forwarded-host': 'gw.example:8443',
      'x-forwarded-proto': 'http',
    });
  });

  test.each<[string, Partial<LimiterConfig>]>([
    ['without an identity', {}],
    ['of an owner who trusts others', identity({ trustedHeaders: { attributes: {}, trustedPeers: ['192.0.2.0/24'] } })],
  ])('what a caller says of the host is replaced, %s', async (_name, change) => {
    await start(change);
    const headers = await seen(`Host: gw\r\n${FROM_PROXIES}`);
    expect(headers).toMatchObject({ 'x-forwarded-host': 'gw', 'x-forwarded-proto': 'http' });
    expect(headers).not.toHaveProperty('forwarded');
  });

  test.each<[string, Partial<LimiterConfig>]>([
    ['by its address', identity({ trustedHeaders: { attributes: {}, trustedPeers: ['127.0.0.0/8'] } })],
    ['by the number of hops', identity({ trustedHops: 1 })],
  ])('what a trusted proxy says is kept, and what it does not say is added: %s', async (_name, change) => {
    await start(change);
    expect(await seen(`Host: gw\r\n${FROM_PROXIES}`)).toMatchObject({
      'x-forwarded-host': 'spoofed',
      'x-forwarded-proto': 'https',
      forwarded: 'host=spoofed',
    });
    expect(await seen('Host: gw\r\nX-Forwarded-Proto: https\r\n')).toMatchObject({
      'x-forwarded-host': 'gw',
      'x-forwarded-proto': 'https',
    });
  });
});

test('a caller without a host names none', () => {
  expect(authorityOf('/a', undefined)).toBe('');
  expect(authorityOf('*', 'a')).toBe('a');
});
