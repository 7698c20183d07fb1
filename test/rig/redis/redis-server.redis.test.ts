// Test of a test part: Redis servers start, pause, restart and end as they say.
import { expect, test } from '@jest/globals';
import { waitFor } from '../../../tools/node-cluster/wait.ts';
import { describeOnRedis } from './describe-redis.ts';
import { startRedis, startRedisCluster, startRedisSentinel, stopRedis } from './redis-server.ts';

describeOnRedis('a Redis of the tests', () => {
  test('answers, is silent while paused, keeps data over a restart when persistent, and ends', async () => {
    const server = await startRedis({ persistent: true });
    expect(await server.ask('SET a 1')).toMatch(/^\+OK/);
    server.pause();
    await expect(server.ask('PING')).rejects.toThrow('no answer');
    server.resume();
    await server.restart();
    expect(await server.ask('GET a')).toContain('1');
    await stopRedis(server);
    expect(server.pid).toBeUndefined();
    await expect(server.ask('PING')).rejects.toThrow('ECONNREFUSED');
  });

  test('answers a value of any bytes whole: a stored state is binary and may read as UTF-8', async () => {
    const server = await startRedis();
    await server.ask('SET b "\\xc3\\xa9\\xf0\\x9f\\x98\\x80\\r\\n\\xff"');
    expect(await server.ask('GET b')).toBe('$9\r\n\xc3\xa9\xf0\x9f\x98\x80\r\n\xff\r\n');
    await stopRedis(server);
  });

  test('comes as a cluster of three that serves every slot', async () => {
    const servers = await startRedisCluster();
    expect(await servers[0]!.ask('CLUSTER INFO')).toContain('cluster_slots_ok:16384');
    await Promise.all(servers.map(stopRedis));
  });

  test('comes with sentinels that make the replica the master', async () => {
    const { master, masterName, replica, sentinels } = await startRedisSentinel();
    await master.kill();
    await waitFor(
      'fail-over',
      async () =>
        (await sentinels[0]!.ask(`SENTINEL GET-MASTER-ADDR-BY-NAME ${masterName}`)).includes(`${replica.port}`) ||
        undefined,
      { deadlineMs: 20_000 },
    );
    await Promise.all([master, replica, ...sentinels].map(stopRedis));
  });
});
