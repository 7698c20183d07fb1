// What a Redis says when it cannot take a write, said by real servers: each is an outage that is told in its words
// and ends by itself when the server mends. The name of each test begins with the word of the table
// (src/contract/store-words.ts).
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { storeWordOf } from '../../../src/contract/store-words.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { createStore } from '../../../src/limiter/store/create-store.ts';
import type { Examination, Store } from '../../../src/limiter/store/store.ts';
import { waitFor } from '../../../tools/node-cluster/wait.ts';
import { capturingLogger } from '../../lib/capturing-logger.ts';
import { describeOnRedis } from '../../rig/redis/describe-redis.ts';
import { startForwarder, type Forwarder } from '../../rig/redis/forwarder.ts';
import { startRedis, stopRedis, type RedisServer } from '../../rig/redis/redis-server.ts';
import { bucket, HOUR, take, tokens } from './fixtures.ts';
import { plainClient } from './redis-fixtures.ts';

const SOON = { deadlineMs: 20_000, everyMs: 20 };
const SECRET = 'a-secret-word';

interface Setup {
  readonly store: Store;
  readonly circuit: string[];
  readonly lines: string[];
}

/** Each of these commands may be sent twice: a busy machine may not answer within the second that the rig waits. */
const tell = (server: RedisServer, command: string): Promise<string> =>
  waitFor(`an answer to ${command}`, () => server.ask(command), SOON);

describeOnRedis('a Redis that answers and cannot serve', () => {
  const closing: (() => Promise<unknown>)[] = [];
  let server: RedisServer;

  beforeEach(async () => {
    server = await startRedis({ admin: true });
    closing.push(() => stopRedis(server));
  });
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  function storeAt(address: string, login: { username?: string; password?: string } = {}): Setup {
    const circuit: string[] = [];
    const { log, lines } = capturingLogger();
    const onCircuit = (_endpoint: string, state: string): void => void circuit.push(state);
    const { username, password } = login;
    const redis = {
      address,
      ...(username === undefined ? {} : { username }),
      ...(password === undefined
        ? {}
        : { password: { secret: { name: 'redis', key: 'password', uid: 'u', resourceVersion: '1' } } }),
    };
    const store = createStore(
      { namespace: 'team', store: { type: 'redis', redis } },
      { deadlineMs: 2000, clock: systemClock, log, hooks: { onCircuit } },
      new Map(password === undefined ? [] : [['redis/password', password]]),
    );
    closing.push(() => store.close());
    return { store, circuit, lines };
  }
  const outcome = (store: Store): Promise<string> =>
    store.reserve(take([bucket(tokens(100, HOUR)), 1])).then(
      (decision) => decision.outcome,
      (error: unknown) => (error as { reason: string }).reason,
    );
  const untilServes = (store: Store): Promise<true> =>
    waitFor('a decision', async () => (await outcome(store)) === 'admitted' || undefined, SOON);
  const untilExamined = (store: Store, is: (seen: Examination) => boolean): Promise<Examination> =>
    waitFor(
      'the examination',
      async () => {
        const seen = await store.examine?.();
        return seen !== undefined && is(seen) ? seen : undefined;
      },
      SOON,
    );
  /** Serves; then `begin`: no write passes and the examination quotes `word`; then `end`: serves again. */
  async function shows(
    setup: Setup,
    word: RegExp,
    begin: () => Promise<unknown>,
    end: () => Promise<unknown>,
  ): Promise<string> {
    const { store, circuit } = setup;
    await untilServes(store);
    await begin();
    const { detail } = await untilExamined(store, ({ reachable, detail }) => !reachable && word.test(detail));
    expect(['circuit-open', 'reply', 'credentials', 'connection']).toContain(await outcome(store));
    expect(detail).toMatch(/^[\x20-\x7e]{1,160}$/);
    expect(detail).not.toContain(SECRET);
    expect(detail).not.toMatch(/user_script|[0-9a-f]{40}/);
    expect(storeWordOf(detail)).toBeDefined();
    await end();
    await untilServes(store);
    await untilExamined(store, ({ reachable }) => reachable);
    expect(circuit.at(-1) ?? 'closed').toBe('closed');
    return detail;
  }
  const replica = async (): Promise<RedisServer> => {
    const second = await startRedis({ args: ['--replicaof', '127.0.0.1', `${server.port}`] });
    closing.push(() => stopRedis(second));
    await waitFor(
      'the link',
      async () => (await tell(second, 'INFO replication')).includes('link_status:up') || undefined,
      SOON,
    );
    return second;
  };

  test('READONLY: after a fail-over by address the name is looked up anew, and writes go to the new master', async () => {
    const next = await replica();
    const forwarder: Forwarder = await startForwarder(server.port);
    closing.push(() => forwarder.close());
    const setup = storeAt(forwarder.address);
    const one = bucket(tokens(10, HOUR));
    await untilServes(setup.store);
    await setup.store.reserve(take([one, 4]));
    await waitFor('the copy', async () => (await tell(next, `GET ${one.key}`)) !== '$-1\r\n' || undefined, SOON);
    const text = await shows(
      setup,
      /^READONLY/,
      async () => {
        // The old master becomes a replica and keeps its connections; the address follows later.
        await tell(next, 'REPLICAOF NO ONE');
        await tell(server, `REPLICAOF 127.0.0.1 ${next.port}`);
      },
      () => {
        forwarder.leadTo(next.port);
        return Promise.resolve();
      },
    );
    expect(text).toBe("READONLY You can't write against a read only replica.");
    expect((await setup.store.peek(take([one, 0]))).states[0]!.remaining).toBe(6);
    expect(setup.circuit).toEqual(['open', 'closed']);
    const outages = setup.lines.filter((line) => line.includes('store does not answer'));
    expect(outages).toHaveLength(1);
    expect(outages[0]).toContain('READONLY');
  });

  test('READONLY: dials anew with back-off for as long as the address leads to a replica', async () => {
    const next = await replica();
    const forwarder = await startForwarder(next.port);
    closing.push(() => forwarder.close());
    const { store, circuit } = storeAt(forwarder.address);
    const { detail } = await untilExamined(store, (seen) => !seen.reachable && seen.detail.startsWith('READONLY'));
    expect(storeWordOf(detail)?.remedy).toBe('redial');
    expect(store.wasReached?.()).toBe(false);
    const before = forwarder.connections();
    const beganMs = performance.now();
    await waitFor('some more connections', () => forwarder.connections() >= before + 4 || undefined, SOON);
    // 200, 400, 800, 1000 ms …: four more cannot come within a second.
    expect(performance.now() - beganMs).toBeGreaterThan(1_000);
    expect(circuit).toEqual(['open']);
    await tell(next, 'REPLICAOF NO ONE');
    await untilServes(store);
    expect(store.wasReached?.()).toBe(true);
  });

  test('MASTERDOWN: a replica without its master', async () => {
    const next = await replica();
    await tell(next, 'CONFIG SET replica-serve-stale-data no');
    const forwarder = await startForwarder(server.port);
    closing.push(() => forwarder.close());
    const setup = storeAt(forwarder.address);
    await shows(
      setup,
      /^MASTERDOWN/,
      async () => {
        forwarder.leadTo(next.port);
        await server.kill();
      },
      () => tell(next, 'REPLICAOF NO ONE'),
    );
  });

  test('NOREPLICAS: fewer replicas than the master asks for', async () => {
    await shows(
      storeAt(server.address),
      /^NOREPLICAS/,
      () => tell(server, 'CONFIG SET min-replicas-to-write 1'),
      () => tell(server, 'CONFIG SET min-replicas-to-write 0'),
    );
  });

  test('OOM: a full memory that evicts nothing, while refusals and peeks still succeed', async () => {
    const setup = storeAt(server.address);
    const spent = bucket(tokens(1, HOUR));
    await untilServes(setup.store);
    await setup.store.reserve(take([spent, 1]));
    const text = await shows(
      setup,
      /^OOM/,
      async () => {
        await tell(server, 'CONFIG SET maxmemory 1');
        expect((await setup.store.peek(take([spent, 0]))).outcome).toBe('admitted');
      },
      () => tell(server, 'CONFIG SET maxmemory 0'),
    );
    expect(text).toBe("OOM command not allowed when used memory > 'maxmemory'.");
  });

  test('MISCONF: a disk that cannot be written', async () => {
    await shows(
      storeAt(server.address),
      /^MISCONF/,
      async () => {
        await tell(server, 'CONFIG SET save "3600 1"');
        await failToSave(server);
      },
      () => tell(server, 'CONFIG SET stop-writes-on-bgsave-error no'),
    );
  });

  test('BUSY: a script of another client that does not end', async () => {
    await tell(server, 'CONFIG SET busy-reply-threshold 50');
    let endless: Promise<unknown> = Promise.resolve();
    await shows(
      storeAt(server.address),
      /^BUSY/,
      () => {
        endless = server.ask('EVAL "while true do end" 0').catch(() => undefined);
        return Promise.resolve();
      },
      () => tell(server, 'SCRIPT KILL'),
    );
    await endless;
  });

  test('NOPERM: rights that are taken away, of commands and of keys', async () => {
    const rights = '+eval +evalsha +script|load +time +mget +exists +set +mset +pexpireat +del';
    await tell(server, `ACL SETUSER team on >${SECRET} ~weir:{team}:* ${rights}`);
    const setup = storeAt(server.address, { username: 'team', password: SECRET });
    for (const [take, give] of [
      ['-mset', '+mset'],
      ['-pexpireat', '+pexpireat'],
      ['-evalsha', '+evalsha'],
      ['resetkeys ~weir:{other}:*', 'resetkeys ~weir:{team}:*'],
    ] as const) {
      await shows(
        setup,
        /^NOPERM|^ERR The user executing/,
        () => tell(server, `ACL SETUSER team ${take}`),
        () => tell(server, `ACL SETUSER team ${give}`),
      );
    }
    expect(setup.lines.join('')).not.toContain(SECRET);
  });

  test('WRONGPASS: a user whose password is another now', async () => {
    await tell(server, `ACL SETUSER team on >${SECRET} ~weir:{team}:* +@all`);
    const setup = storeAt(server.address, { username: 'team', password: SECRET });
    await shows(
      setup,
      /^WRONGPASS/,
      async () => {
        await tell(server, `ACL SETUSER team resetpass >other-word`);
        await tell(server, 'CLIENT KILL USER team');
      },
      () => tell(server, `ACL SETUSER team resetpass >${SECRET}`),
    );
    expect(setup.lines.join('')).not.toContain(SECRET);
  });

  test('CLUSTERDOWN: a member of a cluster without slots', async () => {
    const member = await startRedis({ args: ['--cluster-enabled', 'yes'] });
    closing.push(() => stopRedis(member));
    const { store } = storeAt(member.address);
    await untilExamined(store, (seen) => !seen.reachable && seen.detail.startsWith('CLUSTERDOWN'));
    await tell(member, 'CLUSTER ADDSLOTSRANGE 0 16383');
    await untilServes(store);
  });

  test('LOADING: a server that reads its data after a restart', async () => {
    const slow = await startRedis({
      persistent: true,
      args: ['--aof-use-rdb-preamble', 'no', '--loading-process-events-interval-bytes', '1024'],
    });
    closing.push(() => stopRedis(slow));
    const setup = storeAt(slow.address);
    await untilServes(setup.store);
    await tell(slow, 'DEBUG POPULATE 3000');
    await tell(slow, 'BGREWRITEAOF');
    await waitFor(
      'the file',
      async () => (await tell(slow, 'INFO persistence')).includes('aof_rewrite_in_progress:0') || undefined,
      SOON,
    );
    await tell(slow, 'CONFIG SET key-load-delay 1000');
    void slow.ask('DEBUG LOADAOF').catch(() => undefined);
    await untilExamined(setup.store, (seen) => !seen.reachable && seen.detail.startsWith('LOADING'));
    await untilServes(setup.store);
  });

  test('max number of clients: it hangs up on each connection', async () => {
    const only = plainClient(server.port);
    await only.connect();
    closing.push(() => only.quit());
    await shows(
      storeAt(server.address),
      /max number of clients/,
      async () => {
        await only.call('CONFIG', 'SET', 'maxclients', '1');
        await only.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
      },
      () => only.call('CONFIG', 'SET', 'maxclients', '100'),
    );
  });

  test('a server that is silent, or gone, has no words: the network speaks', async () => {
    const { store } = storeAt(server.address);
    await untilServes(store);
    server.pause();
    await untilExamined(store, ({ detail }) => detail === 'no answer in time');
    server.resume();
    await untilServes(store);
    await server.kill();
    await untilExamined(store, ({ detail }) => detail === 'ECONNREFUSED');
    await server.start();
    await untilServes(store);
  });

  test('an idle store finds it out by itself, and leaves nothing in Redis', async () => {
    const { store } = storeAt(server.address);
    await untilExamined(store, ({ reachable }) => reachable);
    expect(await tell(server, 'DBSIZE')).toBe(':0\r\n');
    await tell(server, 'CONFIG SET maxmemory 1');
    await untilExamined(store, (seen) => !seen.reachable && seen.detail.startsWith('OOM'));
    await tell(server, 'CONFIG SET maxmemory 0');
    await untilExamined(store, ({ reachable }) => reachable);
    expect(await tell(server, 'DBSIZE')).toBe(':0\r\n');
  });
});

/** A folder stands where it renames its snapshot to. */
async function failToSave(server: RedisServer): Promise<void> {
  await mkdir(join(server.folder, 'dump.rdb'));
  await tell(server, 'BGSAVE');
  await waitFor(
    'a snapshot that failed',
    async () => (await tell(server, 'INFO persistence')).includes('rdb_last_bgsave_status:err') || undefined,
    SOON,
  );
}
