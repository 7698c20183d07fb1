// A Redis behind a sidecar: its clients notice nothing of it while no object is in force, and are closed, not
// answered in HTTP, once one is.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { limit } from '../fixtures.ts';
import { routeTo, until, versioned, type Running } from '../running.ts';
import { HOUR, tokens } from '../store/fixtures.ts';
import { describeOnRedis } from '../../rig/redis/describe-redis.ts';
import { startRedis, type RedisServer } from '../../rig/redis/redis-server.ts';
import { metric, startSidecar, WireClient } from './wire.ts';

describeOnRedis('Redis behind a sidecar', () => {
  let redis: RedisServer;
  let running: Running;
  const clients: Redis[] = [];

  beforeAll(async () => {
    redis = await startRedis();
    running = await startSidecar(redis.port);
  });
  afterAll(async () => {
    for (const client of clients) client.disconnect();
    await running.close();
  });

  function client(): Redis {
    const made = new Redis({ host: '127.0.0.1', port: Number(new URL(running.traffic).port), retryStrategy: null });
    made.on('error', () => undefined);
    clients.push(made);
    return made;
  }

  test('commands, pipelines, a value of 8 MiB and a subscription pass', async () => {
    const one = client();
    const value = 'x'.repeat(8 * 1024 * 1024);
    expect(await one.set('large', value)).toBe('OK');
    expect(await one.get('large')).toBe(value);
    const pipelined = await Promise.all(Array.from({ length: 1_000 }, (_, index) => one.incrby('sum', index)));
    expect(Math.max(...pipelined)).toBe(499_500);
    const subscriber = client();
    const heard: string[] = [];
    subscriber.on('message', (_channel, message) => heard.push(message));
    await subscriber.subscribe('news');
    await one.publish('news', 'through');
    await until(() => heard.includes('through'));
  });

  test('once an object is in force, new clients are closed without a byte of HTTP', async () => {
    const before = client();
    await before.ping();
    const route = routeTo(`http://127.0.0.1:${redis.port}`, { limits: [limit({ rule: tokens(1, HOUR) })] });
    running.source.push({ updates: versioned(route), removals: [] });
    const raw = await WireClient.dial(running.traffic);
    expect(await raw.send('*1\r\n$4\r\nPING\r\n').ended()).toBe('');
    expect(await metric(running, 'weir_connections_total{handling="refused_other"}')).toBe(1);
    // A session that was open is not torn down at once.
    expect(await before.ping()).toBe('PONG');
    running.source.push({ updates: [], removals: ['ModelRoute/serving/chat'] });
    expect(await client().ping()).toBe('PONG');
    raw.socket.destroy();
  });
});
