// End to end 3: an MCPServer with buckets for all callers, for each user and for single tools, between the official MCP
// client and the official example server.
import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { waitFor } from '../../tools/node-cluster/wait.ts';
import { describeEndToEnd } from './harness.ts';
import { mcpServer, refOf, requestLimit, slowBucket, type Manifest } from './manifests.ts';
import { callTool, ECHO, openSession, passedOf, RawSession, SUM, toolsCall } from './mcp-session.ts';

const BY_USER = { trustedHeaders: { user: 'x-user' }, trustedPeers: ['127.0.0.0/8'] };
const HTTP_429 = { response: { mcp: { form: 'HTTP429' } } };

describeEndToEnd('an MCP server', {}, (e2e) => {
  let example = '';
  let open: Client[] = [];

  beforeAll(async () => {
    example = await e2e().weir.startMcpExample();
    await e2e().makeNamespace('tools');
  });

  afterEach(async () => {
    await Promise.all(open.map((client) => client.close()));
    open = [];
  });

  const server = (name: string, rateLimiting?: object, more: Record<string, unknown> = {}): Manifest =>
    mcpServer(`tools/${name}`, {
      targets: [{ url: example }],
      ...(rateLimiting === undefined ? {} : { rateLimiting }),
      ...more,
    });

  const endpoint = (name: string, limiter = 0): string => `${e2e().base(limiter, 'tools', name)}/mcp`;

  const session = async (name: string, user?: string, limiter = 0): Promise<Client> => {
    const client = await openSession(endpoint(name, limiter), user === undefined ? {} : { 'x-user': user });
    open.push(client);
    return client;
  };

  /** How often Redis was asked to decide meanwhile; limiters that probe their Redis ask for no decision. */
  const decisionsDuring = async (work: () => Promise<void>): Promise<number> => {
    const commands = await e2e().redisCommandsDuring(work);
    const isDecision = ([name = '', ...words]: string[]): boolean =>
      /^(eval|evalsha|fcall)$/.test(name) && !words.some((word) => word.endsWith(':probe'));
    return commands.filter(isDecision).length;
  };

  const keysOf = async (name: string): Promise<string[]> => {
    const { uid } = (await e2e().get({ kind: 'MCPServer', namespace: 'tools', name })).metadata;
    return (await e2e().keys('tools')).filter((key) => key.includes(uid));
  };

  describe('with a bucket for all callers', () => {
    test('one call more than the bucket holds is refused, it refills over time, and its keys expire (5.1, 5.7)', async () => {
      await e2e().enforce(server('refill', { shared: { maxTokens: 3, refillPeriod: '6s' } }));
      const client = await session('refill');
      expect(await passedOf(client, ECHO, 4)).toBe(3);
      const keys = await keysOf('refill');
      expect(keys.length).toBeGreaterThan(0);
      expect(keys.every((key) => key.startsWith('weir:{tools}:'))).toBe(true);
      await waitFor('a token', async () => (await callTool(client, ECHO)).passed || undefined, { deadlineMs: 8000 });
      await waitFor('the end of its keys', async () => (await keysOf('refill')).length === 0 || undefined, {
        deadlineMs: 15_000,
      });
      expect(String(await e2e().redisCall('INFO', 'commandstats'))).not.toMatch(/hmset/i);
    });

    test('both limiters count on one bucket, and the refusal is a result that the model can read', async () => {
      await e2e().enforce(server('both', { shared: slowBucket(6) }));
      const [one, two] = [await session('both'), await session('both', undefined, 1)];
      const passed = await Promise.all([passedOf(one, ECHO, 10), passedOf(two, SUM, 10)]);
      expect(passed[0] + passed[1]).toBe(6);
      const refusal = await callTool(one, ECHO);
      expect(refusal.passed).toBe(false);
      expect(refusal.text).toContain('"shared"');
    });

    test('the status counts limits and tools', async () => {
      const { status } = await e2e().enforce(
        server('counted', { shared: slowBucket(6), tools: [{ name: 'echo', shared: slowBucket(3) }] }),
      );
      expect(status).toMatchObject({ toolCount: 1, limiters: { summary: '2/2' } });
      const printed = await e2e().cluster.mustKubectl(['get', 'mcpservers.weir.dev/counted', '--namespace', 'tools']);
      expect(printed).toMatch(/^NAME +TOOLS +LIMITS +READY +LIMITERS +DEGRADED +REASON +AGE/);
      expect(printed).toMatch(/^counted +1 +\d+ +True +2\/2 /m);
    });
  });

  describe('with buckets for tools', () => {
    test('tool A exhausted, tool B passes; a refusal by the tool takes nothing from the server (5.2)', async () => {
      await e2e().enforce(
        server('tools', { shared: slowBucket(10), tools: [{ name: 'echo', shared: slowBucket(3) }] }),
      );
      const client = await session('tools');
      expect(await passedOf(client, ECHO, 8)).toBe(3);
      expect((await callTool(client, ECHO)).text).toContain('echo');
      expect(await passedOf(client, SUM, 12)).toBe(7);
    });

    test('trap 3: the server exhausted refuses, and takes nothing from the tool (5.2)', async () => {
      const tools = [{ name: 'echo', shared: slowBucket(5) }];
      await e2e().enforce(server('server-first', { shared: slowBucket(2), tools }));
      const client = await session('server-first');
      expect(await passedOf(client, SUM, 4)).toBe(2);
      expect(await passedOf(client, ECHO, 4)).toBe(0);
      await e2e().enforce(server('server-first', { shared: slowBucket(20), tools }));
      expect(await passedOf(client, ECHO, 8)).toBe(5);
    });
  });

  describe('with buckets for users', () => {
    const manifest = (): Manifest =>
      server(
        'users',
        {
          shared: slowBucket(10),
          perUser: slowBucket(4),
          tools: [{ name: 'echo', perUser: slowBucket(2) }],
        },
        { authentication: BY_USER },
      );

    test('one user exhausted, another passes; server and tool per user together; all together exhaust the shared one (5.3)', async () => {
      await e2e().enforce(manifest());
      const [ann, bob, cid] = [
        await session('users', 'ann'),
        await session('users', 'bob', 1),
        await session('users', 'cid'),
      ];
      expect(await passedOf(ann, ECHO, 5)).toBe(2);
      expect(await passedOf(ann, SUM, 5)).toBe(2);
      expect(await passedOf(bob, ECHO, 5)).toBe(2);
      expect(await passedOf(bob, SUM, 5)).toBe(2);
      expect(await passedOf(cid, SUM, 5)).toBe(2);
    });

    test('without an identity: 401 with WWW-Authenticate', async () => {
      await e2e().enforce(manifest());
      const answer = await (
        await RawSession.open(endpoint('users'), undefined, { 'x-user': 'dan' })
      ).send(toolsCall(ECHO, 1), { 'x-user': '' });
      expect(answer.status).toBe(401);
      expect(answer.headers['www-authenticate']).toMatch(/./);
    });

    test('user names are not readable in keys', async () => {
      const keys = await keysOf('users');
      expect(keys.length).toBeGreaterThan(3);
      expect(keys.filter((key) => /ann|bob|cid/.test(key.split(':').slice(-1).join()))).toEqual([]);
    });
  });

  describe('in the form HTTP429', () => {
    test("429 with the request's id, and a Retry-After of the bucket that refused (5.4)", async () => {
      const tools = [{ name: 'echo', shared: slowBucket(1) }];
      await e2e().enforce(server('http429', { shared: slowBucket(100), tools, ...HTTP_429 }));
      const raw = await RawSession.open(endpoint('http429'));
      expect((await raw.send(toolsCall(ECHO, 1))).status).toBe(200);
      for (const id of [7, 'seven']) {
        const refusal = await raw.send(toolsCall(ECHO, id));
        expect(refusal.status).toBe(429);
        const seconds = Number(refusal.headers['retry-after']);
        expect(seconds).toBeGreaterThan(7999 * 3600);
        expect(JSON.parse(refusal.body)).toMatchObject({
          jsonrpc: '2.0',
          id,
          error: {
            code: 429,
            message: expect.stringMatching(/./),
            data: { retryAfterSeconds: seconds, limit: expect.stringContaining('echo') },
          },
        });
      }
    });

    test('trap 5: Retry-After is true, and refusals meanwhile do not push it back (5.4, 5.7)', async () => {
      await e2e().enforce(server('true-wait', { shared: { maxTokens: 1, refillPeriod: '3s' }, ...HTTP_429 }));
      const raw = await RawSession.open(endpoint('true-wait'));
      expect((await raw.send(toolsCall(ECHO, 1))).status).toBe(200);
      const begin = performance.now();
      const refusal = await raw.send(toolsCall(ECHO, 2));
      expect(refusal.status).toBe(429);
      const waitMs = Number(refusal.headers['retry-after-ms']);
      expect(Number(refusal.headers['retry-after'])).toBe(Math.max(1, Math.ceil(waitMs / 1000)));
      const passedAt = await waitFor(
        'the token',
        async () => ((await raw.send(toolsCall(ECHO, 3))).status === 200 ? performance.now() : undefined),
        { deadlineMs: 10_000, everyMs: 20 },
      );
      expect(passedAt - begin).toBeGreaterThan(waitMs - 50);
      expect(passedAt - begin).toBeLessThan(waitMs + 1500);
    });
  });

  describe('what the API server refuses (5.5)', () => {
    const tool = (more: object): object => ({ tools: [{ name: 'echo', ...more }] });
    test.each<[string, object, string]>([
      ['nothing', {}, 'at least one of shared, perUser, tools or limits must be configured'],
      ['a tool without a bucket', tool({}), 'at least one of shared or perUser must be configured'],
      [
        'one tool twice',
        {
          tools: [
            { name: 'echo', shared: slowBucket(1) },
            { name: 'echo', shared: slowBucket(2) },
          ],
        },
        'Duplicate value',
      ],
      ['an empty bucket', { shared: slowBucket(0) }, 'spec.rateLimiting.shared.maxTokens'],
      [
        'a bucket that never refills',
        { shared: { maxTokens: 1, refillPeriod: '0s' } },
        'spec.rateLimiting.shared.refillPeriod',
      ],
      [
        'a bucket per user without authentication',
        { perUser: slowBucket(1) },
        'perUser rate limiting requires authentication',
      ],
      [
        'two names for one thing',
        { shared: slowBucket(1), global: slowBucket(1) },
        'global is another name for shared: set only one',
      ],
    ])('%s', async (_what, rateLimiting, message) => {
      const { code, stderr } = await e2e().tryApply(server('refused', rateLimiting));
      expect(code).not.toBe(0);
      expect(stderr).toContain(message);
    });
  });

  describe('what is free (5.6)', () => {
    test('no rateLimiting: no limit, and Redis is not asked', async () => {
      await e2e().enforce(server('free'));
      const client = await session('free');
      const asked = await decisionsDuring(async () => {
        expect(await passedOf(client, ECHO, 20)).toBe(20);
      });
      expect(asked).toBe(0);
    });

    test('only tools/call counts', async () => {
      await e2e().enforce(server('only-calls', { shared: slowBucket(2) }));
      const client = await session('only-calls');
      const asked = await decisionsDuring(async () => {
        for (let times = 0; times < 5; times++) {
          await client.ping();
          await client.listTools();
        }
        await client.listResources();
        await client.listPrompts();
      });
      expect(asked).toBe(0);
      const askedForCalls = await decisionsDuring(async () => {
        expect(await passedOf(client, ECHO, 4)).toBe(2);
      });
      expect(askedForCalls).toBeGreaterThan(0);
      await client.ping();
    });
  });

  describe('what does not get around the limit', () => {
    test('trap 24: a batch is refused, except for the one version that has them, where each element counts', async () => {
      await e2e().enforce(server('batch', { shared: slowBucket(3), ...HTTP_429 }));
      const batch = [toolsCall(ECHO, 1), toolsCall(ECHO, 2)];
      const newer = await RawSession.open(endpoint('batch'), '2025-06-18');
      const refused = await newer.send(batch);
      expect(refused.status).toBe(400);
      expect(JSON.parse(refused.body)).toMatchObject({ error: { code: -32600 } });
      const older = await RawSession.open(endpoint('batch'), '2025-03-26');
      expect((await older.send(batch)).status).toBe(200);
      // One is left: two do not fit, and nothing is taken of it.
      expect((await older.send(batch)).status).toBe(429);
      expect((await older.send(toolsCall(ECHO, 3))).status).toBe(200);
      expect((await older.send(toolsCall(ECHO, 4))).status).toBe(429);
    });

    test('trap 31: a wrong Content-Type', async () => {
      await e2e().enforce(server('content-type', { shared: slowBucket(1), ...HTTP_429 }));
      const raw = await RawSession.open(endpoint('content-type'));
      expect((await raw.send(toolsCall(ECHO, 1))).status).toBe(200);
      for (const type of ['text/plain', 'application/octet-stream', 'application/x-www-form-urlencoded', '']) {
        const answer = await raw.send(toolsCall(ECHO, 2), { 'content-type': type });
        expect({ type, status: answer.status }).toEqual({ type, status: 429 });
      }
    });

    test('a notification: 429 without a body', async () => {
      await e2e().enforce(server('notification', { shared: slowBucket(1) }));
      const raw = await RawSession.open(endpoint('notification'));
      expect((await raw.send(toolsCall(ECHO, 1))).status).toBe(200);
      expect(await raw.send(toolsCall(ECHO))).toMatchObject({ status: 429, body: '' });
    });

    test('a tool that is not there: the server says so, and the call counts', async () => {
      const limits = [requestLimit('per-tool', 5, { per: [{ tool: {} }] })];
      await e2e().enforce(server('no-tool', { shared: slowBucket(3), limits }));
      const client = await session('no-tool');
      for (let times = 0; times < 3; times++) {
        const said = await callTool(client, { name: 'no-such-tool', arguments: {} }).catch((error: unknown) => error);
        expect(JSON.stringify(said instanceof Error ? said.message : said)).toMatch(/not found/i);
      }
      const refusal = await callTool(client, ECHO);
      expect(refusal.passed).toBe(false);
      expect(refusal.text).toContain('"shared"');
    });

    test('trap 25: headers that name another tool than the body', async () => {
      await e2e().enforce(server('headers', { tools: [{ name: 'echo', shared: slowBucket(1) }] }));
      const raw = await RawSession.open(endpoint('headers'));
      const answer = await raw.send(toolsCall(ECHO, 1), { 'mcp-method': 'tools/call', 'mcp-name': 'get-sum' });
      expect(answer.status).toBe(400);
      expect(JSON.parse(answer.body)).toMatchObject({ id: 1, error: { code: -32020 } });
      expect((await raw.send(toolsCall(ECHO, 2))).status).toBe(200);
    });
  });

  test('edits are live: no session is opened again (5.8)', async () => {
    const manifest = (maxTokens: number): Manifest => server('live', { shared: slowBucket(maxTokens) });
    await e2e().enforce(manifest(2));
    const client = await session('live');
    expect(await passedOf(client, ECHO, 4)).toBe(2);
    await e2e().enforce(manifest(5));
    expect(await passedOf(client, ECHO, 6)).toBe(3);
    await e2e().untilReady(refOf(manifest(5)));
  });
});
