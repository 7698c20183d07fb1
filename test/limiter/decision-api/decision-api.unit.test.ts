// The decision API over HTTP, and docs/openapi.yaml beside it: every path, every request and every answer of these
// tests is checked against the document.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { Ajv } from 'ajv';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import type { LimitConfig } from '../../../src/contract/limiter-config.ts';
import { ManualClock } from '../../../src/lib/clock.ts';
import {
  DECIDE_SCHEMA,
  EXPLAIN_SCHEMA,
  REPORT_SCHEMA,
  SETTLE_SCHEMA,
} from '../../../src/limiter/decision-api/decision-schemas.ts';
import { LIMITER_DEFAULTS, type LimiterSettings } from '../../../src/limiter/settings.ts';
import { runLimiter } from '../../../src/limiter/main.ts';
import { silentLogger } from '../../../src/lib/log.ts';
import { StaticConfigSource } from '../../../src/limiter/config/config-source.ts';
import { HOUR, MINUTE, tokens, window } from '../store/fixtures.ts';
import { config, limit, modelRouting, rule } from '../fixtures.ts';
import { mcpTo, post, startLimiter, type Running } from '../running.ts';

interface Operation {
  readonly requestBody: {
    readonly content: { readonly 'application/json': { schema: object; examples: Record<string, { value: unknown }> } };
  };
  readonly responses: Readonly<
    Record<string, { readonly content: { readonly 'application/json': { schema: object } } }>
  >;
}
interface Document {
  readonly paths: Readonly<Record<string, { readonly post: Operation }>>;
}
type Answer = Record<string, unknown> & { reservation?: string };

/** The document with every $ref replaced by what it names. */
function resolved(node: unknown, root: unknown): unknown {
  if (Array.isArray(node)) return node.map((each) => resolved(each, root));
  if (typeof node !== 'object' || node === null) return node;
  const ref = (node as { $ref?: string }).$ref;
  if (ref === undefined)
    return Object.fromEntries(Object.entries(node).map(([name, each]) => [name, resolved(each, root)]));
  const target = ref
    .slice(2)
    .split('/')
    .reduce((at: unknown, step) => (at as Record<string, unknown>)[step], root);
  return resolved(target, root);
}

const raw: unknown = parse(readFileSync('docs/openapi.yaml', 'utf8'));
const document = resolved(raw, raw) as Document;
const ajv = new Ajv({ strict: true, allowUnionTypes: true });

const CHAT_REF = { kind: 'ModelRoute', namespace: 'serving', name: 'chat' } as const;
const byUser = (amount: number, change: Partial<LimitConfig> = {}): LimitConfig =>
  limit({ name: 'per-user', rule: tokens(amount, HOUR), per: [{ type: 'user', whenAbsent: 'Share' }], ...change });

let running: Running;
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'weir-decision-'));
});
afterEach(async () => {
  await running.close();
  rmSync(folder, { recursive: true });
});

const serve = async (
  limits: LimitConfig[],
  settings: Partial<LimiterSettings> = {},
  clock = new ManualClock(),
): Promise<void> => {
  const targetless = modelRouting({ rules: [rule({ targets: [] })], pathPrefix: '/serving/chat' });
  running = await startLimiter([config({ limits, routing: targetless })], settings, { clock });
};

/** Calls an operation, and holds both ways against the document. */
async function ask(path: string, body: object, headers: Record<string, string> = {}): Promise<[number, Answer]> {
  const response = await post(`${running.decision}${path}`, body, headers);
  const answer = (await response.json()) as Answer;
  const operation = document.paths[path]!.post;
  if (response.status === 200)
    expect(ajv.validate(operation.requestBody.content['application/json'].schema, body)).toBe(true);
  const described = operation.responses[String(response.status)];
  const isDescribed = ajv.validate(described!.content['application/json'].schema, answer);
  expect([ajv.errors, isDescribed]).toEqual([null, true]);
  return [response.status, answer];
}
const decide = async (request: object, more: object = {}): Promise<Answer> =>
  (await ask('/v1/decide', { object: CHAT_REF, request, ...more }))[1];

describe('docs/openapi.yaml', () => {
  beforeEach(() => serve([]));

  test('describes every path and every field that is accepted', () => {
    const bodies = {
      '/v1/decide': DECIDE_SCHEMA,
      '/v1/settle': SETTLE_SCHEMA,
      '/v1/report': REPORT_SCHEMA,
      '/v1/explain': EXPLAIN_SCHEMA,
    };
    expect(Object.keys(document.paths)).toEqual(Object.keys(bodies));
    for (const [path, schema] of Object.entries(bodies)) {
      expect(document.paths[path]!.post.requestBody.content['application/json'].schema).toEqual(schema);
    }
  });

  test('has examples that are valid', () => {
    for (const { post: operation } of Object.values(document.paths)) {
      const { schema, examples } = operation.requestBody.content['application/json'];
      for (const { value } of Object.values(examples))
        expect([ajv.validate(schema, value), value]).toEqual([true, value]);
    }
  });

  test('names every path that is served', async () => {
    const answer = await post(`${running.decision}/v1/nothing`, {});
    const { error } = (await answer.json()) as { error: { message: string } };
    expect([...error.message.matchAll(/POST (\S+?)(,|$)/g)].map((match) => match[1])).toEqual(
      Object.keys(document.paths),
    );
  });
});

describe('decide', () => {
  test('reserves for each user apart, and refuses with what the caller is to be told', async () => {
    await serve([byUser(2)]);
    for (let round = 0; round < 2; round += 1)
      expect(await decide({ user: 'ann' })).toMatchObject({ decision: 'allowed' });
    expect(await decide({ user: 'ann', path: '/serving/chat/v1/chat/completions' })).toMatchObject({
      decision: 'denied',
      reason: 'exhausted',
      object: CHAT_REF,
      limit: 'per-user',
      retryAfterMs: 1_800_000,
      status: 429,
      headers: { 'retry-after': '1800' },
      body: expect.stringContaining('per-user'),
      limits: [{ name: 'per-user', amount: 1, limit: 2, remaining: 0, over: true, waitMs: 1_800_000 }],
    });
    expect(await decide({ user: 'bob' })).toMatchObject({ decision: 'allowed', limits: [{ remaining: 1 }] });
  });

  test('trap 49: a peek takes nothing, and says no where a request would not pass', async () => {
    await serve([byUser(2)]);
    for (let round = 0; round < 3; round += 1) {
      const peeked = await decide({}, { mode: 'peek', hits: 2 });
      expect(peeked).toMatchObject({ decision: 'allowed', limits: [{ remaining: 0, over: false }] });
      expect(peeked).not.toHaveProperty('reservation');
    }
    await decide({}, { hits: 2 });
    expect(await decide({}, { mode: 'peek' })).toMatchObject({ decision: 'denied' });
    expect(await decide({}, { mode: 'peek', hits: 0 })).toMatchObject({ decision: 'allowed' });
  });

  test('routes by itself where no object is named, by path and model, without a target', async () => {
    await serve([byUser(1)]);
    const request = { path: '/serving/chat/v1/chat/completions', model: 'm' };
    expect((await ask('/v1/decide', { request }))[1]).toMatchObject({ decision: 'allowed', object: CHAT_REF });
    expect((await ask('/v1/decide', { request }))[1]).toMatchObject({ decision: 'denied' });
    expect((await ask('/v1/decide', { request: { ...request, model: 'other' } }))[0]).toBe(404);
    expect((await ask('/v1/decide', { request: { path: '/elsewhere' } }))[0]).toBe(404);
    expect((await ask('/v1/decide', { object: { ...CHAT_REF, name: 'none' }, request: {} }))[0]).toBe(404);
  });

  test('a limit of 0 is 403, what can never fit is 400, a tool call is refused in MCP shape', async () => {
    await serve([byUser(1, { rule: window(0, 'Day') })]);
    expect(await decide({})).toMatchObject({ decision: 'denied', reason: 'blocked', status: 403 });
    await running.close();
    await serve([byUser(1)]);
    expect(await decide({}, { hits: 2 })).toMatchObject({
      decision: 'denied',
      reason: 'too-large',
      status: 400,
      limits: [{ waitMs: null }],
    });
    await running.close();
    running = await startLimiter([mcpTo('http://127.0.0.1:9', { limits: [limit({ rule: tokens(1, HOUR) })] })]);
    const object = { kind: 'MCPServer', namespace: 'serving', name: 'tools' };
    const call = { object, request: { tool: 'echo' } };
    await ask('/v1/decide', call);
    expect((await ask('/v1/decide', call))[1]).toMatchObject({
      decision: 'denied',
      status: 200,
      body: expect.stringContaining('"isError":true'),
    });
  });

  test('an object that asks for an identity refuses nobody', async () => {
    const identity = {
      required: true,
      trustedHops: 0,
      trustedHeaders: { user: 'x-user', attributes: {}, trustedPeers: [] },
    };
    running = await startLimiter([config({ identity, limits: [byUser(1)] })]);
    expect(await decide({ headers: { 'X-User': 'ann' } })).toMatchObject({ reason: 'unauthenticated', status: 401 });
    expect(await decide({ user: 'ann' })).toMatchObject({ decision: 'allowed' });
  });

  test('on a sidecar what no object claims is allowed', async () => {
    await serve([byUser(1)], { mode: 'sidecar' });
    expect((await ask('/v1/decide', { request: { path: '/health' } }))[1]).toMatchObject({
      decision: 'allowed',
      object: null,
    });
  });
});

describe('settle', () => {
  test('refunds once; repetitions are answered and change nothing', async () => {
    await serve([byUser(3)]);
    const { reservation } = await decide({}, { hits: 3 });
    expect(await ask('/v1/settle', { reservation, hits: 1 })).toEqual([200, { settled: true, outcome: 'settled' }]);
    for (let round = 0; round < 2; round += 1) {
      expect(await ask('/v1/settle', { reservation, hits: 0 })).toEqual([200, { settled: false, outcome: 'repeated' }]);
    }
    expect(await decide({}, { mode: 'peek', hits: 0 })).toMatchObject({ limits: [{ remaining: 2 }] });
  });

  test('charges more than was reserved, into debt', async () => {
    await serve([byUser(3)]);
    const { reservation } = await decide({});
    await ask('/v1/settle', { reservation, hits: 5 });
    expect(await decide({})).toMatchObject({ decision: 'denied', retryAfterMs: 3 * 1_200_000 });
  });

  test('knows no reservation of somebody else, none that was never made, none after 10 minutes', async () => {
    const file = join(folder, 'tokens');
    writeFileSync(file, 'ann:token-a\nbob:token-b\ntoken-c\n');
    const clock = new ManualClock();
    await serve([byUser(3)], { decisionTokenFile: file }, clock);
    const as = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` });
    const reserve = async (): Promise<string> =>
      (await ask('/v1/decide', { object: CHAT_REF, request: {} }, as('token-a')))[1].reservation!;
    const [first, second] = [await reserve(), await reserve()];
    const unknown = { error: { code: 'unknown_reservation' } };
    for (const token of ['token-b', 'token-c']) {
      expect(await ask('/v1/settle', { reservation: first, hits: 0 }, as(token))).toMatchObject([404, unknown]);
    }
    expect(await ask('/v1/settle', { reservation: 'none' }, as('token-a'))).toMatchObject([404, unknown]);
    expect((await ask('/v1/settle', { reservation: first, hits: 0 }, as('token-a')))[0]).toBe(200);
    clock.advance(10 * MINUTE + 1_000);
    expect(await ask('/v1/settle', { reservation: second, hits: 0 }, as('token-a'))).toMatchObject([404, unknown]);
  });
});

describe('report and explain', () => {
  test('a report charges, once per id and owner', async () => {
    await serve([byUser(10)]);
    const report = { object: CHAT_REF, request: {}, hits: 3, id: 'mine' };
    expect(await ask('/v1/report', report)).toEqual([200, { reported: true, outcome: 'reported' }]);
    expect(await ask('/v1/report', report)).toEqual([200, { reported: false, outcome: 'repeated' }]);
    expect(await ask('/v1/report', { ...report, id: undefined })).toEqual([
      200,
      { reported: true, outcome: 'reported' },
    ]);
    expect(await decide({}, { mode: 'peek', hits: 0 })).toMatchObject({ limits: [{ remaining: 4 }] });
  });

  test('explain tells every limit, and takes nothing', async () => {
    const onlyGet = limit({ name: 'only-get', when: [{ not: false, method: ['GET'] }] });
    await serve([onlyGet, byUser(1)]);
    await decide({ user: 'ann' });
    for (let round = 0; round < 2; round += 1) {
      const [, answer] = await ask('/v1/explain', { object: CHAT_REF, request: { user: 'ann' } });
      expect(answer).toMatchObject({
        decision: 'denied',
        limits: [
          { name: 'only-get', applies: false },
          {
            name: 'per-user',
            applies: true,
            key: expect.stringMatching(/^weir:\{serving\}:/),
            remaining: 0,
            waitMs: 3_600_000,
          },
        ],
      });
      expect(JSON.stringify(answer)).not.toContain('ann');
    }
  });
});

describe('bad input', () => {
  test('every wrong field is named at once', async () => {
    await serve([]);
    const [status, answer] = await ask('/v1/decide', {
      object: { kind: 'Pod' },
      request: { user: 7, colour: 'red' },
      hits: -1,
    });
    expect(status).toBe(400);
    const text = JSON.stringify(answer);
    for (const part of ['object', 'kind', 'namespace', 'request.user', 'colour', 'hits']) expect(text).toContain(part);
    expect((await post(`${running.decision}/v1/decide`, '{')).status).toBe(400);
    expect((await fetch(`${running.decision}/v1/decide`)).status).toBe(400);
    expect((await post(`${running.decision}/v1/decide`, { request: { user: 'x'.repeat(1_100_000) } })).status).toBe(
      413,
    );
  });

  test('a wrong token, none, and a web page are 401', async () => {
    const file = join(folder, 'tokens');
    writeFileSync(file, 'good\n');
    await serve([], { decisionTokenFile: file });
    for (const headers of [{}, { authorization: 'Bearer bad' }, { authorization: 'good' }]) {
      expect((await ask('/v1/decide', { object: CHAT_REF, request: {} }, headers as Record<string, string>))[0]).toBe(
        401,
      );
    }
    const good = { authorization: 'Bearer good' };
    expect((await ask('/v1/decide', { object: CHAT_REF, request: {} }, good))[0]).toBe(200);
    expect(
      (await ask('/v1/decide', { object: CHAT_REF, request: {} }, { ...good, origin: 'http://evil.example' }))[0],
    ).toBe(401);
    writeFileSync(file, 'rotated-token\n');
    expect((await ask('/v1/decide', { object: CHAT_REF, request: {} }, good))[0]).toBe(401);
  });

  test('beyond loopback it needs a token', async () => {
    await serve([]);
    const settings = {
      ...LIMITER_DEFAULTS,
      id: 'x',
      source: new StaticConfigSource(),
      listen: { host: '127.0.0.1', port: 0 },
      adminListen: { host: '127.0.0.1', port: 0 },
      decisionListen: { host: '0.0.0.0', port: 0 },
    };
    await expect(runLimiter(settings, { logger: silentLogger() })).rejects.toThrow(/needs tokens/);
  });
});
