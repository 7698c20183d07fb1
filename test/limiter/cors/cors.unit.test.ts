// Pages in browsers: preflights are free and open, and a page reads the limiter's own answers wherever it may read
// those of the upstream, on no other terms.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { LimitConfig, LimiterConfig, ResponseConfig } from '../../../src/contract/limiter-config.ts';
import { exposedWith, grantOf } from '../../../src/limiter/cors/cors.ts';
import { exchange, requestBytes, type WireAnswer } from '../../hostile/wire.ts';
import { startRawUpstream, type RawUpstream } from '../../rig/upstream/raw-upstream.ts';
import { limit, mcpRouting, rule } from '../fixtures.ts';
import { mcpTo, routeTo, startLimiter, until, type Running } from '../running.ts';
import { HOUR, tokens, window } from '../store/fixtures.ts';

const PAGE = 'https://app.example';
let upstream: RawUpstream;
let running: Running | undefined;
/** Heads of what reached the upstream. */
let reached: string[];
/** The CORS headers of the upstream's answers, by origin; '': to all. */
let granted: (head: string) => string;

/** Grants what servers grant: the one page, with credentials. */
const ONE_PAGE = (head: string): string =>
  head.includes(`${PAGE}\r\n`) || head.endsWith(PAGE)
    ? `Access-Control-Allow-Origin: ${PAGE}\r\nAccess-Control-Allow-Credentials: true\r\nVary: Origin\r\n`
    : '';

beforeEach(async () => {
  reached = [];
  granted = ONE_PAGE;
  upstream = await startRawUpstream((head) => {
    reached.push(head);
    const isPreflight = head.startsWith('OPTIONS');
    const more = isPreflight ? 'Access-Control-Allow-Methods: POST\r\nAccess-Control-Max-Age: 600\r\n' : '';
    return `HTTP/1.1 ${isPreflight ? '204 No Content' : '200 OK'}\r\n${granted(head)}${more}Content-Length: 0\r\n\r\n`;
  });
});
afterEach(async () => {
  await running?.close();
  await upstream.close();
});

const REQUIRED: Partial<LimiterConfig> = {
  identity: {
    required: true,
    trustedHops: 0,
    trustedHeaders: { user: 'x-user', attributes: {}, trustedPeers: ['127.0.0.0/8'] },
  },
};
const one = (change: Partial<LimitConfig> = {}): LimitConfig[] => [limit({ rule: tokens(1, HOUR), ...change })];
const responding = (change: Partial<ResponseConfig>): Partial<LimiterConfig> => ({
  response: { dialect: 'Auto', headers: [], resetFormat: 'Delta', mcp: { form: 'HTTP429', code: 429 }, ...change },
});

function send(
  method: string,
  headers: Record<string, string>,
  body?: string,
  path = '/v1/chat/completions',
): Promise<WireAnswer> {
  const { host } = new URL(running!.traffic);
  return exchange(requestBytes({ method, path, headers, ...(body === undefined ? {} : { body }) }, host), host);
}

const preflight = (origin = PAGE, more: Record<string, string> = {}, path?: string): Promise<WireAnswer> =>
  send('OPTIONS', { Origin: origin, 'Access-Control-Request-Method': 'POST', ...more }, undefined, path);
const call = (origin = PAGE, model = 'm', more: Record<string, string> = {}): Promise<WireAnswer> =>
  send('POST', { ...(origin === '' ? {} : { Origin: origin }), ...more }, JSON.stringify({ model }));

async function metric(line: string): Promise<number> {
  const text = await (await fetch(`${running!.admin}/metrics`)).text();
  return Number(
    text
      .split('\n')
      .find((each) => each.startsWith(line))
      ?.slice(line.length) ?? 0,
  );
}

const READABLE = {
  'access-control-allow-origin': PAGE,
  'access-control-allow-credentials': 'true',
  vary: 'Origin',
};

describe('a preflight', () => {
  test.each<[string, LimitConfig[]]>([
    ['of an exhausted limit', one()],
    ['of a limit of 0', one({ rule: window(0, 'Day') })],
    ['of an amount that never fits', one({ cost: 5 })],
  ])('passes without an identity, uncounted, %s', async (_name, limits) => {
    running = await startLimiter([routeTo(upstream.url, { limits, ...REQUIRED })]);
    for (let round = 0; round < 3; round += 1) {
      expect(await preflight()).toMatchObject({ status: 204, headers: READABLE });
    }
    expect(reached).toHaveLength(3);
    expect(await metric('weir_decision_seconds_count ')).toBe(0);
  });

  test.each<[string, LimiterConfig[], string]>([
    ['of an MCP server', [mcpTo('U', REQUIRED)], '/mcp'],
    [
      'of a rule that takes POST alone',
      [routeTo('U', {}, { rules: [rule({ methods: ['POST'] })] })],
      '/v1/chat/completions',
    ],
    [
      'of a rule that wants a header',
      [routeTo('U', {}, { rules: [rule({ headers: [{ name: 'x-tier', exact: 'gold' }] })] })],
      '/v1/chat/completions',
    ],
    ['below a prefix', [routeTo('U', {}, { pathPrefix: '/team/a' })], '/team/a/v1/chat/completions'],
  ])('%s reaches the upstream', async (_name, configs, path) => {
    const here = JSON.parse(
      JSON.stringify(configs)
        .replaceAll('"U"', JSON.stringify(upstream.url))
        .replaceAll('http://up.serving.svc:8000', upstream.url),
    ) as LimiterConfig[];
    running = await startLimiter(here);
    expect(await preflight(PAGE, {}, path)).toMatchObject({ status: 204, headers: READABLE });
  });

  test('carries nothing but what browsers put into one', async () => {
    running = await startLimiter([routeTo(upstream.url, { limits: one(), ...REQUIRED })]);
    await preflight(PAGE, {
      'Access-Control-Request-Headers': 'authorization',
      Authorization: 'Bearer secret',
      Cookie: 'a=b',
      'X-HTTP-Method-Override': 'POST',
      'X-User': 'ann',
      'Sec-Fetch-Mode': 'cors',
    });
    const [head = ''] = reached;
    expect(head).toMatch(/access-control-request-headers: authorization/i);
    expect(head).toMatch(/sec-fetch-mode: cors/i);
    expect(head).not.toMatch(/bearer|cookie|override|x-user/i);
  });

  test.each<[string, Record<string, string>, string | undefined]>([
    ['without an origin', { 'Access-Control-Request-Method': 'POST' }, undefined],
    ['without a method', { Origin: PAGE }, undefined],
    ['with a body', { Origin: PAGE, 'Access-Control-Request-Method': 'POST' }, '{"model":"m"}'],
    ['with a method that is none', { Origin: PAGE, 'Access-Control-Request-Method': 'P OST' }, undefined],
  ])('is no OPTIONS %s: that needs an identity', async (_name, headers, body) => {
    running = await startLimiter([routeTo(upstream.url, { limits: one(), ...REQUIRED })]);
    expect((await send('OPTIONS', headers, body)).status).toBe(401);
    expect(reached.filter((head) => !head.includes('Access-Control-Request-Method: OPTIONS'))).toEqual([]);
  });

  test('to a place that nobody has is 404', async () => {
    running = await startLimiter([routeTo(upstream.url, {}, { pathPrefix: '/team/a' })]);
    expect((await preflight()).status).toBe(404);
    expect(reached).toEqual([]);
  });

  test('on a sidecar goes to the server of the pod', async () => {
    running = await startLimiter([routeTo(upstream.url, { limits: one() }, { rules: [rule({ targets: [] })] })], {
      mode: 'sidecar',
      upstream: upstream.url,
    });
    expect(await preflight()).toMatchObject({ status: 204, headers: READABLE });
  });
});

describe.each(['shared', 'sidecar'] as const)('an answer of the limiter to a page, %s', (mode) => {
  const start = async (change: Partial<LimiterConfig> = {}, settings: object = {}): Promise<void> => {
    const rules = mode === 'shared' ? {} : { rules: [rule({ targets: [] })] };
    running = await startLimiter([routeTo(upstream.url, { limits: one(), ...change }, rules)], {
      mode,
      ...(mode === 'sidecar' ? { upstream: upstream.url } : {}),
      ...settings,
    });
  };

  test('429 can be read, with its body and the headers that tell when', async () => {
    await start();
    await call();
    const { status, headers, body } = await call();
    expect([status, headers]).toMatchObject([429, READABLE]);
    const exposed = headers['access-control-expose-headers']?.split(', ');
    expect(exposed).toEqual(
      expect.arrayContaining(['retry-after', 'retry-after-ms', 'x-ratelimit-remaining-requests', 'x-request-id']),
    );
    expect(body).toContain('Please try again');
  });

  test.each<[string, number, Partial<LimiterConfig>, () => Promise<WireAnswer>, object?]>([
    ['401', 401, REQUIRED, () => call()],
    ['403', 403, { limits: one({ rule: window(0, 'Day') }) }, () => call()],
    ['a request that never fits', 400, { limits: one({ cost: 5 }) }, () => call()],
    ['413', 413, {}, () => send('POST', { Origin: PAGE }, 'x'.repeat(3000)), { maxBodyBytes: 1000 }],
    ['415', 415, {}, () => call(PAGE, 'm', { 'Content-Encoding': 'compress' })],
    ['a body that cannot be read', 400, {}, () => send('POST', { Origin: PAGE }, '{"model":"m","model":"m"}')],
    ['an upgrade', 426, { limits: one() }, () => call(PAGE, 'm', { Connection: 'upgrade', Upgrade: 'websocket' })],
  ])('%s', async (_name, status, change, ask, settings = {}) => {
    await start(change, settings);
    const answer = await ask();
    // What is refused by its head alone belongs to no object yet: a shared limiter has nobody to ask.
    const isKnown = mode === 'sidecar' || status !== 426;
    expect(answer).toMatchObject({ status, headers: isKnown ? READABLE : {} });
  });

  test('413 before it is known which of several objects would have taken it', async () => {
    await start();
    await running?.close();
    const rules = mode === 'shared' ? {} : { rules: [rule({ targets: [] })] };
    const both = ['a', 'b'].map((name) => routeTo(upstream.url, { name }, { models: [name], ...rules }));
    const own = mode === 'sidecar' ? { upstream: upstream.url } : {};
    running = await startLimiter(both, { mode, maxBodyBytes: 1000, ...own });
    const answer = await send('POST', { Origin: PAGE }, JSON.stringify({ model: 'b', padding: 'x'.repeat(3000) }));
    expect(answer).toMatchObject({ status: 413, headers: READABLE });
  });

  test('a page that the upstream does not know reads nothing', async () => {
    await start();
    await call();
    const { status, headers } = await call('https://evil.example');
    expect(status).toBe(429);
    expect(Object.keys(headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
  });

  test('who is no page gets no such header, and costs no question', async () => {
    await start();
    await call('');
    const { status, headers } = await send('POST', {}, '{"model":"m"}');
    expect(status).toBe(429);
    expect(Object.keys(headers).filter((name) => name.startsWith('access-control') || name === 'vary')).toEqual([]);
    expect(reached).toHaveLength(1);
  });

  test('the upstream is asked once for each page, without the credentials of the caller', async () => {
    await start({ limits: one({ rule: window(0, 'Day') }) });
    const answers = await Promise.all(Array.from({ length: 5 }, () => call(PAGE, 'm', { Authorization: 'Bearer s' })));
    for (const answer of answers) expect(answer).toMatchObject({ status: 403, headers: READABLE });
    expect(reached).toHaveLength(1);
    expect(reached[0]).toMatch(/^OPTIONS \/v1\/chat\/completions HTTP/);
    expect(reached[0]).not.toMatch(/bearer/i);
    await call('https://evil.example');
    await call('https://evil.example');
    expect(reached).toHaveLength(2);
    expect(await metric('weir_cors_questions_total{outcome="granted"} ')).toBe(1);
    expect(await metric('weir_cors_questions_total{outcome="refused"} ')).toBe(1);
  });

  test('* stays *, and never comes with credentials', async () => {
    granted = () => 'Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\n';
    await start({ limits: one({ rule: window(0, 'Day') }) });
    const { headers } = await call();
    expect(headers['access-control-allow-origin']).toBe('*');
    expect(headers).not.toHaveProperty('access-control-allow-credentials');
  });

  test('two grants are none', async () => {
    granted = () => `Access-Control-Allow-Origin: ${PAGE}\r\nAccess-Control-Allow-Origin: *\r\n`;
    await start({ limits: one({ rule: window(0, 'Day') }) });
    expect((await call()).headers).not.toHaveProperty('access-control-allow-origin');
  });

  test('with cors: Off the limiter says nothing of its own', async () => {
    await start({ ...responding({ cors: 'Off' }) });
    await call();
    const { status, headers } = await call();
    expect([status, headers['access-control-allow-origin']]).toEqual([429, undefined]);
  });
});

describe('an answer of the upstream to a page', () => {
  test('exposes what the limiter adds to it', async () => {
    granted = () => `${ONE_PAGE(`${PAGE}\r\n`)}Access-Control-Expose-Headers: X-Mine\r\n`;
    running = await startLimiter([routeTo(upstream.url, { limits: one() })]);
    const { status, headers } = await call();
    expect(status).toBe(200);
    expect(headers['access-control-expose-headers']).toMatch(/^X-Mine, x-ratelimit-limit-requests, .*x-request-id$/);
  });

  test('that is for no page stays so', async () => {
    granted = () => '';
    running = await startLimiter([routeTo(upstream.url, { limits: one() })]);
    expect((await call()).headers).not.toHaveProperty('access-control-expose-headers');
  });

  test('teaches what the limiter mirrors', async () => {
    running = await startLimiter([routeTo(upstream.url, { limits: one() })]);
    await call();
    await call();
    expect(reached.map((head) => head.split(' ')[0])).toEqual(['POST']);
  });
});

describe('an upstream that does not say', () => {
  test('in time costs the page its header, and the limiter a moment', async () => {
    await upstream.close();
    upstream = await startRawUpstream(() => () => undefined);
    running = await startLimiter([routeTo(upstream.url, { limits: one({ rule: window(0, 'Day') }) })]);
    const { status, headers } = await call();
    expect([status, headers['access-control-allow-origin']]).toEqual([403, undefined]);
    expect(await metric('weir_cors_questions_total{outcome="unanswered"} ')).toBe(1);
    await until(async () => (await metric('weir_requests_in_flight ')) === 0);
  });

  test('because it is gone, too', async () => {
    running = await startLimiter([routeTo('http://127.0.0.1:1', { limits: one({ rule: window(0, 'Day') }) })]);
    expect((await call()).status).toBe(403);
  });
});

test('grants are read as browsers read them', () => {
  const of = (headers: object): unknown => grantOf(headers as never, PAGE);
  expect(of({ 'access-control-allow-origin': PAGE })).toEqual({ allowOrigin: PAGE, withCredentials: false });
  for (const value of ['', 'null', 'https://app.example/', 'HTTPS://APP.EXAMPLE', `${PAGE}, *`, [PAGE, PAGE]])
    expect(of({ 'access-control-allow-origin': value })).toBeUndefined();
  expect(
    exposedWith({ 'access-control-allow-origin': '*', 'access-control-expose-headers': '*' }, ['x-a']),
  ).toBeUndefined();
  expect(exposedWith({ 'access-control-allow-origin': '*' }, ['X-A', 'content-type'])).toBe('x-a');
});

test('an MCP refusal in a result can be read as well', async () => {
  const routing = mcpRouting({ targets: [{ url: upstream.url, weight: 1 }] });
  running = await startLimiter([mcpTo(upstream.url, { routing, limits: one({ rule: window(0, 'Day') }) })]);
  const body = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}';
  expect(await send('POST', { Origin: PAGE }, body, '/mcp')).toMatchObject({ status: 200, headers: READABLE });
});

test('a page reads that a limited request cannot be upgraded', async () => {
  running = await startLimiter([routeTo(upstream.url, { limits: one() })]);
  const { host } = new URL(running.traffic);
  const head = `Host: ${host}\r\nOrigin: ${PAGE}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`;
  const { status, headers } = await exchange(Buffer.from(`GET /v1/ws HTTP/1.1\r\n${head}`), host);
  expect(status).toBe(426);
  expect(headers['access-control-allow-origin']).toBe(PAGE);
});
