// A limiter whose Redis stops answering, at the level of requests: how long they take, what they are told, what is
// logged.
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { Writable } from 'node:stream';
import winston from 'winston';
import type { StandInModel } from '../../../src/cli/stand-in/stand-in-model.ts';
import type { FailurePolicy, LimiterConfig } from '../../../src/contract/limiter-config.ts';
import { FirstContact } from '../../../src/limiter/config/first-contact.ts';
import { describeOnRedis } from '../../rig/redis/describe-redis.ts';
import { startRedis, stopRedis, type RedisServer } from '../../rig/redis/redis-server.ts';
import { HOUR, tokens } from '../store/fixtures.ts';
import { limit } from '../fixtures.ts';
import { mcpTo, post, routeTo, startLimiter, startUpstream, until, type Running } from '../running.ts';

const CHAT = { model: 'm' };
/** Far beyond the store's deadline, far below what an unbounded call would take. */
const SLOW_MS = 2_000;

describeOnRedis('a limiter whose Redis is away', () => {
  let redis: RedisServer;
  let upstream: StandInModel;
  let running: Running;
  let lines: string[];

  const logger = (): winston.Logger => {
    lines = [];
    const stream = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        lines.push(chunk.toString());
        done();
      },
    });
    return winston.createLogger({ transports: [new winston.transports.Stream({ stream })] });
  };
  const config = (failurePolicy: FailurePolicy): Partial<LimiterConfig> => ({
    store: { type: 'redis', redis: { address: redis.address } },
    limits: [limit({ rule: tokens(40, HOUR), failurePolicy })],
  });
  const start = async (failurePolicy: FailurePolicy): Promise<string> => {
    running = await startLimiter([routeTo(upstream.url, config(failurePolicy))], {}, { logger: logger() });
    const url = `${running.traffic}/v1/completions`;
    await until(async () => (await post(url, CHAT)).headers.get('x-ratelimit-remaining-requests') === '39');
    await fetch(`${upstream.url}/reset`);
    return url;
  };
  const send = async (url: string, count: number): Promise<Response[]> => {
    const answers: Response[] = [];
    for (let each = 0; each < count; each += 1) answers.push(await post(url, CHAT));
    return answers;
  };

  beforeEach(async () => {
    [redis, upstream] = await Promise.all([startRedis(), startUpstream()]);
  });
  afterEach(async () => {
    redis.resume();
    await running.close();
    await upstream.close();
    await stopRedis(redis);
  });

  test('is not ready before its store has answered once, and does not wait for that for ever', async () => {
    redis.pause();
    const route = routeTo(upstream.url, config('Closed'));
    const readiness = async (): Promise<[number, string]> => {
      const answer = await fetch(`${running.admin}/readyz`);
      return [answer.status, (await answer.text()).trim()];
    };
    running = await startLimiter([route], {}, { firstContact: new FirstContact(1) });
    await until(async () => (await readiness())[0] === 200);
    await running.close();
    running = await startLimiter([route], {}, { firstContact: new FirstContact(60_000) });
    expect(await readiness()).toEqual([503, 'waiting for the first answer of a store']);
    redis.resume();
    await until(async () => (await readiness())[0] === 200);
    expect((await post(`${running.traffic}/v1/completions`, CHAT)).status).toBe(200);
    // An outage later is told by the limits' failurePolicy, not by readiness.
    redis.pause();
    await until(async () => (await post(`${running.traffic}/v1/completions`, CHAT)).status === 503);
    expect((await readiness())[0]).toBe(200);
  });

  test('trap 44: Closed refuses with 503, never 429, and recovers', async () => {
    const url = await start('Closed');
    redis.pause();
    const answers = await send(url, 20);
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([503]));
    expect(upstream.count()).toBe(0);
    expect(await answers[0]?.json()).toMatchObject({ error: { code: 'store_unavailable' } });
    redis.resume();
    await until(async () => (await post(url, CHAT)).status === 200);
  });

  test('trap 9: no request hangs on a Redis that is silent', async () => {
    const url = await start('Open');
    redis.pause();
    const beganMs = performance.now();
    const answers = await send(url, 20);
    expect(performance.now() - beganMs).toBeLessThan(20 * SLOW_MS);
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    const longest = Math.max(...(await Promise.all(Array.from({ length: 20 }, () => timed(url)))));
    expect(longest).toBeLessThan(SLOW_MS);
  });

  test('trap 44: Local goes on with what was left, and then refuses with 503, never 429', async () => {
    const url = await start('Local');
    redis.pause();
    const answers = await send(url, 60);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(39);
    expect(new Set(answers.slice(39).map(({ status }) => status))).toEqual(new Set([503]));
    expect(answers.at(-1)?.headers.get('retry-after')).toBe('5');
    expect(upstream.count()).toBe(39);
  });

  test('trap 45: an outage is one log line, not one for each request', async () => {
    const url = await start('Open');
    const before = lines.length;
    redis.pause();
    await send(url, 100);
    expect(lines.length - before).toBeLessThanOrEqual(3);
    const metrics = await (await fetch(`${running.admin}/metrics`)).text();
    expect(metrics).toContain('outcome="allowed",degraded="Open"} 100');
    expect(metrics).toMatch(/weir_store_circuit_open\{endpoint="[^"]*"\} 1/);
  });

  test('an MCP call during an outage is 503, never a result that looks like the tool', async () => {
    running = await startLimiter([mcpTo(upstream.url, config('Closed'))], {}, { logger: logger() });
    await redis.kill();
    const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo' } };
    const answer = await post(`${running.traffic}/mcp`, call);
    expect([answer.status, await answer.json()]).toMatchObject([503, { id: 1, error: {} }]);
    await redis.restart();
  });

  async function timed(url: string): Promise<number> {
    const beganMs = performance.now();
    await post(url, CHAT);
    return performance.now() - beganMs;
  }
});
