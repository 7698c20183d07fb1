// MCP through the proxy: the official client against the official example server, and raw messages against a server
// that counts: what is a call, what is free, and how a refusal looks.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { StandInModel } from '../../../src/cli/stand-in/stand-in-model.ts';
import type { LimitConfig, ResponseConfig } from '../../../src/contract/limiter-config.ts';
import { HOUR, tokens } from '../store/fixtures.ts';
import { startEverythingServer, type EverythingServer } from '../../rig/upstream/everything-server.ts';
import { limit, RESPONSE } from '../fixtures.ts';
import { mcpTo, post, startLimiter, startUpstream, type Running } from '../running.ts';

const shared = (amount: number): LimitConfig => limit({ name: 'shared', rule: tokens(amount, HOUR) });
const tool = (name: string, amount: number): LimitConfig =>
  limit({ name: `tools/${name}/shared`, rule: tokens(amount, HOUR), when: [{ not: false, tool: { exact: name } }] });
const perUser = (amount: number): LimitConfig =>
  limit({ name: 'perUser', rule: tokens(amount, HOUR), per: [{ type: 'user', whenAbsent: 'Share' }] });
const IDENTITY = {
  required: true,
  trustedHops: 0,
  trustedHeaders: { user: 'x-user', attributes: {}, trustedPeers: ['127.0.0.0/8'] },
};
const form = (name: ResponseConfig['mcp']['form']): ResponseConfig => ({ ...RESPONSE, mcp: { form: name, code: 429 } });

let running: Running | undefined;
afterEach(async () => {
  await running?.close();
  running = undefined;
});

describe('the official client against the official server', () => {
  let everything: EverythingServer;
  beforeAll(async () => {
    everything = await startEverythingServer();
  });
  afterAll(() => everything.close());

  const connect = async (user: string): Promise<Client> => {
    const client = new Client({ name: 'test', version: '1' });
    const requestInit = { headers: { 'x-user': user } };
    await client.connect(new StreamableHTTPClientTransport(new URL(`${running!.traffic}/mcp`), { requestInit }));
    return client;
  };
  const echo = (client: Client, message = 'hi'): ReturnType<Client['callTool']> =>
    client.callTool({ name: 'echo', arguments: { message } });
  const add = (client: Client): ReturnType<Client['callTool']> =>
    client.callTool({ name: 'get-sum', arguments: { a: 1, b: 2 } });

  test('trap 47: of maxTokens + 1 calls the last is a result that the model can read; lists stay free', async () => {
    running = await startLimiter([mcpTo(everything.url, { limits: [shared(3)] })]);
    const client = await connect('ann');
    for (let round = 0; round < 3; round += 1) expect((await echo(client)).isError).not.toBe(true);
    const refused = await echo(client);
    expect(refused.isError).toBe(true);
    expect(JSON.stringify(refused.content)).toMatch(/limit .*shared.*try again in/);
    expect((await client.listTools()).tools.length).toBeGreaterThan(3);
    await client.ping();
    await client.close();
  });

  test('tool A exhausted leaves tool B and takes nothing of the shared bucket; users are apart', async () => {
    const limits = [shared(6), perUser(4), tool('echo', 2)];
    running = await startLimiter([mcpTo(everything.url, { limits, identity: IDENTITY })]);
    const [ann, bob] = [await connect('ann'), await connect('bob')];
    for (let round = 0; round < 2; round += 1) expect((await echo(ann)).isError).not.toBe(true);
    for (let round = 0; round < 5; round += 1) expect((await echo(bob)).isError).toBe(true);
    for (let round = 0; round < 2; round += 1) expect((await add(ann)).isError).not.toBe(true);
    expect(JSON.stringify((await add(ann)).content)).toContain('perUser');
    for (let round = 0; round < 2; round += 1) expect((await add(bob)).isError).not.toBe(true);
    expect(JSON.stringify((await add(bob)).content)).toContain('shared');
    await Promise.all([ann.close(), bob.close()]);
  });

  test('a refusal in the form JSONRPCError or HTTP429 is an error of the client', async () => {
    for (const name of ['JSONRPCError', 'HTTP429'] as const) {
      running = await startLimiter([mcpTo(everything.url, { limits: [shared(1)], response: form(name) })]);
      const client = await connect('ann');
      await echo(client);
      await expect(echo(client)).rejects.toThrow(/shared/);
      await client.close();
      await running.close();
    }
  });
});

describe('raw messages', () => {
  let upstream: StandInModel;
  beforeEach(async () => {
    upstream = await startUpstream();
  });
  afterEach(() => upstream.close());

  const serve = async (limits: LimitConfig[], change = {}): Promise<string> => {
    running = await startLimiter([mcpTo(upstream.url, { limits, ...change })]);
    return `${running.traffic}/mcp`;
  };
  const call = (id?: string | number, name = 'echo'): object => ({
    jsonrpc: '2.0',
    ...(id === undefined ? {} : { id }),
    method: 'tools/call',
    params: { name, arguments: {} },
  });
  const OLD = { 'mcp-protocol-version': '2025-03-26' };

  test('a refusal keeps the id with its type, in each form', async () => {
    for (const id of [7, '7']) {
      const url = await serve([shared(1)], { response: form('HTTP429') });
      await post(url, call(id));
      const refused = await post(url, call(id));
      expect(refused.status).toBe(429);
      expect(refused.headers.get('retry-after')).toBe('3600');
      expect(await refused.json()).toMatchObject({
        jsonrpc: '2.0',
        id,
        error: { code: 429, data: { retryAfterSeconds: 3600, limit: 'shared' } },
      });
      await running?.close();
    }
    const url = await serve([shared(1)], { response: form('JSONRPCError') });
    await post(url, call(1));
    const refused = await post(url, call(1));
    expect([refused.status, await refused.json()]).toMatchObject([200, { id: 1, error: { code: 429 } }]);
  });

  test('a notification is a call too: counted, then 429 without a body', async () => {
    const url = await serve([shared(1)]);
    expect((await post(url, call())).status).toBe(202);
    const refused = await post(url, call());
    expect([refused.status, await refused.text()]).toEqual([429, '']);
    expect(upstream.count()).toBe(1);
  });

  test.each(['text/plain', '', 'application/octet-stream'])(
    'Content-Type %j does not get around the limit',
    async (type) => {
      const url = await serve([shared(1)]);
      await post(url, call(1), { 'content-type': type });
      expect(await (await post(url, call(2), { 'content-type': type })).json()).toMatchObject({
        result: { isError: true },
      });
      expect(upstream.count()).toBe(1);
    },
  );

  test('a tool that is not there counts as a call, and the server answers', async () => {
    const url = await serve([shared(1)]);
    expect(await (await post(url, call(1, 'missing'))).json()).toMatchObject({ error: { code: -32602 } });
    expect(await (await post(url, call(2))).json()).toMatchObject({ result: { isError: true } });
  });

  test('everything else is free: initialize, ping, lists, notifications, GET, DELETE', async () => {
    const url = await serve([shared(1)]);
    for (const method of ['initialize', 'ping', 'tools/list', 'resources/list', 'notifications/initialized']) {
      for (let round = 0; round < 3; round += 1)
        expect((await post(url, { jsonrpc: '2.0', id: 1, method })).status).toBe(200);
    }
    for (const method of ['GET', 'DELETE']) expect((await fetch(url, { method })).status).toBe(404);
    expect(upstream.count()).toBe(17);
    expect((await post(url, call(1))).status).toBe(200);
  });

  test('an unauthenticated call is 401 with WWW-Authenticate; OAuth metadata stays open', async () => {
    const url = await serve([shared(1)], { identity: IDENTITY });
    const refused = await post(url, call(1));
    expect([refused.status, refused.headers.has('www-authenticate')]).toEqual([401, true]);
    expect(upstream.count()).toBe(0);
    await fetch(`${running!.traffic}/.well-known/oauth-protected-resource`);
    expect(upstream.count()).toBe(1);
  });

  test('trap 24: a batch takes one unit for each call, all or nothing', async () => {
    const url = await serve([shared(3), tool('echo', 10)]);
    const batch = [call(1), { jsonrpc: '2.0', id: 2, method: 'ping' }, call(3, 'other')];
    expect(await (await post(url, batch, OLD)).json()).toHaveLength(3);
    const refused = (await (await post(url, batch, OLD)).json()) as { id: number }[];
    expect(refused.map(({ id }) => id)).toEqual([1, 2, 3]);
    expect(refused).toMatchObject([
      { result: { isError: true } },
      { error: { code: 429 } },
      { result: { isError: true } },
    ]);
    expect(upstream.count()).toBe(1);
    expect(await (await post(url, call(9))).json()).not.toMatchObject({ result: { isError: true } });
    const tooMany = await post(
      url,
      Array.from({ length: 4 }, (_each, id) => call(id)),
      OLD,
    );
    expect(JSON.stringify(await tooMany.json())).toContain('can never pass');
  });

  test('trap 24: another protocol version has no batch', async () => {
    const url = await serve([shared(3)]);
    const refused = await post(url, [call(1)], { 'mcp-protocol-version': '2025-06-18' });
    expect([refused.status, await refused.json()]).toMatchObject([400, { error: { code: -32600 } }]);
    expect(upstream.count()).toBe(0);
  });

  test('trap 25: headers that differ from the body are 400 with -32020', async () => {
    const url = await serve([shared(3)]);
    const refused = await post(url, call('a', 'deep'), { 'mcp-method': 'tools/call', 'mcp-name': 'echo' });
    expect([refused.status, await refused.json()]).toMatchObject([400, { id: 'a', error: { code: -32020 } }]);
    const name = `=?base64?${Buffer.from('größe').toString('base64')}?=`;
    expect((await post(url, call(1, 'größe'), { 'mcp-method': 'tools/call', 'mcp-name': name })).status).toBe(200);
    expect(upstream.count()).toBe(1);
  });

  test('a body that is no JSON is a parse error and does not reach the server', async () => {
    const url = await serve([shared(3)]);
    const refused = await post(url, '{"method":"tools/call"');
    expect([refused.status, await refused.json()]).toMatchObject([400, { error: { code: -32700 } }]);
    expect(upstream.count()).toBe(0);
  });
});
