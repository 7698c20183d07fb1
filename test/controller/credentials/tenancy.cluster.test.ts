// The default Redis and its tenants, on a real API server and a real Redis: a user for each namespace, confined to
// its keys, made again when Redis forgot it, removed with its namespace; and without users the one password, for
// those who are named.
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeOnControlPlane } from '../../../tools/node-cluster/describe-cluster.ts';
import { waitFor } from '../../../tools/node-cluster/wait.ts';
import { capturingLogger } from '../../lib/capturing-logger.ts';
import { startRedis, stopAllRedis, type RedisServer } from '../../rig/redis/redis-server.ts';
import { condition, OperatorRig, prepareCluster, route, verdict, type TestLimiter } from '../operator-rig.ts';
import type { LimiterConfig } from '../../../src/contract/limiter-config.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { silentLogger } from '../../../src/lib/log.ts';
import { StoreRegistry } from '../../../src/limiter/store/create-store.ts';
import { bucket, HOUR, newKey, take, tokens } from '../../limiter/store/fixtures.ts';

const ROUTE = 'modelroutes.weir.dev';
const ACCOUNT = 'system:serviceaccount:weir-system:weir-operator';
const GROUPS = ['system:serviceaccounts', 'system:serviceaccounts:weir-system', 'system:authenticated'];
const SOON = { deadlineMs: 20_000, everyMs: 50 };
const PASSWORD = 'admin-secret';

describeOnControlPlane('tenants of the default Redis', {}, (cluster) => {
  let redis: RedisServer;
  let rig: OperatorRig;
  let limiter: TestLimiter;
  let kubeconfig = '';
  let passwordFile = '';
  const { log, lines } = capturingLogger();

  const shared = (namespace: string, spec: object = {}): object => {
    const limits = [{ name: 'all', measure: 'Requests', bucket: { maxTokens: 5, refillPeriod: '1h' } }];
    const object = route('chat', 1, { rateLimiting: { limits }, ...spec }) as { metadata: object };
    return { ...object, metadata: { ...object.metadata, namespace } };
  };
  /** What the limiter was given for the object of a namespace. */
  const held = (namespace: string): { config: LimiterConfig; secrets: ReadonlyMap<string, string> } | undefined => {
    const update = limiter.held.get(`ModelRoute/${namespace}/chat`);
    return update && { config: update.resource as LimiterConfig, secrets: update.secrets ?? new Map<string, string>() };
  };
  const untilHeld = (namespace: string) => waitFor(`the config of ${namespace}`, () => held(namespace), SOON);
  /** redis-cli as the user of a namespace, with the password that limiters were given. */
  const cli = (namespace: string, ...command: string[]): string => {
    const password = [...(held(namespace)?.secrets.values() ?? [])][0] ?? '';
    const login = ['--user', `weir-${namespace}`, '--pass', password, '--no-auth-warning'];
    return spawnSync('redis-cli', ['-p', `${redis.port}`, ...login, ...command], { encoding: 'utf8' }).stdout.trim();
  };
  const start = async (more: object, settings: object = {}): Promise<void> => {
    const defaultRedis = { address: redis.address, passwordFile, namespaces: [], acl: true, ...more };
    const source = { kind: 'cluster', kubeconfig, namespaces: [] } as const;
    await rig.start({ source, reconnectGraceMs: 0, log, defaultRedis, ...settings });
    limiter = await rig.limiter();
  };

  beforeAll(async () => {
    redis = await startRedis({ password: PASSWORD });
    passwordFile = join(await mkdtemp(join(tmpdir(), 'weir-tenancy-')), 'password');
    await writeFile(passwordFile, `${PASSWORD}\n`);
    await prepareCluster(cluster());
    await cluster().mustKubectl(['apply', '--server-side', '-f', 'deploy/rbac.yaml']);
    for (const namespace of ['a', 'b', 'ab', 'named', 'unnamed'])
      await cluster().mustKubectl(['create', 'namespace', namespace]);
    kubeconfig = await cluster().plane.kubeconfigFor({ user: ACCOUNT, groups: GROUPS });
  }, 60_000);
  afterEach(async () => {
    await rig.end();
  }, 30_000);
  afterAll(stopAllRedis);

  test('each namespace has a user of its own that works for a limiter, and reaches no key of another', async () => {
    rig = await OperatorRig.make(cluster());
    await start({});
    await rig.apply(shared('a'), shared('b'), shared('ab'));
    for (const namespace of ['a', 'b', 'ab']) {
      const { config, secrets } = await untilHeld(namespace);
      expect(config.store).toMatchObject({ isDefault: true, redis: { username: `weir-${namespace}` } });
      expect(secrets.size).toBe(1);
      await waitFor(`the user of ${namespace}`, () => cli(namespace, 'TIME') !== '' || undefined, SOON);
      const stores = new StoreRegistry({ deadlineMs: 5000, clock: systemClock, log: silentLogger() });
      const reservation = take([bucket(tokens(5, HOUR), newKey(namespace)), 1]);
      expect((await stores.renew(config, secrets).reserve(reservation)).outcome).toBe('admitted');
      await stores.close();
    }
    const passwords = ['a', 'b', 'ab'].map((namespace) => [...(held(namespace)?.secrets.values() ?? [])][0]);
    expect(new Set(passwords).size).toBe(3);
    await redis.ask('SET weir:{b}:bucket secret-of-b');
    expect(cli('b', 'MGET', 'weir:{b}:bucket')).toBe('secret-of-b');
    const tried = [
      ['MGET', 'weir:{b}:bucket'],
      ['SET', 'weir:{b}:bucket', 'x'],
      ['DEL', 'weir:{b}:bucket'],
      ['EXISTS', 'weir:{b}:bucket'],
      ['MGET', 'weir:{ab}:bucket'],
      ['EVAL', "return redis.call('MGET', KEYS[1])", '1', 'weir:{b}:bucket'],
      ['EVAL', "return redis.call('MGET', 'weir:{b}:bucket')", '0'],
      ...[
        ['KEYS', '*'],
        ['SCAN', '0'],
        ['FLUSHALL'],
        ['CONFIG', 'GET', '*'],
        ['ACL', 'LIST'],
        ['MONITOR'],
        ['GET', 'x'],
      ],
    ];
    for (const command of tried)
      expect([command, cli('a', ...command)]).toEqual([
        command,
        expect.stringMatching(/NOPERM|permission|can't access/i),
      ]);
    expect(await redis.ask('EXISTS weir:{b}:bucket')).toBe(':1\r\n');
    const asOther = ['--user', 'weir-b', '--pass', passwords[0] ?? '', '--no-auth-warning', 'TIME'];
    expect(spawnSync('redis-cli', ['-p', `${redis.port}`, ...asOther], { encoding: 'utf8' }).stdout).toMatch(
      /WRONGPASS|NOAUTH/,
    );
  }, 60_000);

  test('another operator makes the same passwords; a Redis that forgot its users gets them again', async () => {
    rig = await OperatorRig.make(cluster());
    await start({});
    const before = (await untilHeld('a')).config;
    await rig.operator?.stop();
    await start({});
    expect((await untilHeld('a')).config.store).toEqual(before.store);
    await redis.restart();
    await waitFor('the user of a', () => /^\d+/.test(cli('a', 'TIME')) || undefined, SOON);
  }, 60_000);

  test('a password of the operator that changes is read again', async () => {
    rig = await OperatorRig.make(cluster());
    await start({});
    await untilHeld('a');
    await waitFor('the user of a', () => /^\d+/.test(cli('a', 'TIME')) || undefined, SOON);
    await redis.ask(`ACL SETUSER default >other-secret`);
    await redis.ask('ACL DELUSER weir-a');
    await redis.ask('CLIENT KILL TYPE normal');
    await writeFile(passwordFile, 'other-secret');
    await redis.ask(`ACL SETUSER default <${PASSWORD}`);
    await waitFor('the user of a', () => /^\d+/.test(cli('a', 'TIME')) || undefined, SOON);
    const admin = spawnSync('redis-cli', [
      '-p',
      `${redis.port}`,
      '-a',
      'other-secret',
      'ACL',
      'SETUSER',
      'default',
      `>${PASSWORD}`,
    ]);
    expect(admin.status).toBe(0);
    await writeFile(passwordFile, PASSWORD);
  }, 60_000);

  test('the password of a Redis of the release is created in the cluster, kept over restarts, and restored when it is deleted', async () => {
    const secret = ['secret', 'weir-redis-auth', '-n', 'weir-system'];
    const stored = async (): Promise<string> => {
      const data = await cluster().mustKubectl(['get', ...secret, '-o', 'jsonpath={.data.password}']);
      return Buffer.from(data, 'base64').toString('utf8');
    };
    const own = { passwordFile: undefined, passwordSecret: 'weir-redis-auth' };
    rig = await OperatorRig.make(cluster());
    await start(own);
    const first = await stored();
    expect(first).toMatch(/^[-\w]{43}$/);
    // As the pod of Redis is given it.
    await redis.ask(`ACL SETUSER default resetpass >${first}`);
    try {
      await rig.apply(shared('a'));
      await untilHeld('a');
      await waitFor('the user of a', () => /^\d+/.test(cli('a', 'TIME')) || undefined, SOON);
      await cluster().mustKubectl(['delete', ...secret]);
      await waitFor('the Secret', stored, SOON);
      expect(await stored()).toBe(first);
      await rig.end();
      rig = await OperatorRig.make(cluster());
      await start(own);
      expect(await stored()).toBe(first);
      expect(lines.join('')).not.toContain(first);
    } finally {
      const restore = ['ACL', 'SETUSER', 'default', 'resetpass', `>${PASSWORD}`];
      spawnSync('redis-cli', ['-p', `${redis.port}`, '-a', first, ...restore]);
    }
  }, 60_000);

  test('a user goes some time after the last object of its namespace, or the namespace; not if an object is back by then', async () => {
    rig = await OperatorRig.make(cluster());
    const keepMs = 3_000;
    await start({}, { redisUsers: { everyMs: 100, keepMs } });
    await redis.ask('ACL SETUSER weir-stranger on >stranger-secret ~* +@all');
    for (const namespace of ['brief', 'emptied', 'back']) {
      await cluster().mustKubectl(['create', 'namespace', namespace]);
      await rig.apply(shared(namespace));
      await untilHeld(namespace);
    }
    const users = async (): Promise<string[]> =>
      [...(await redis.ask('ACL USERS')).matchAll(/^[a-z][-a-z0-9]+/gm)].map(([name]) => name).sort();
    const untilUsers = (...names: string[]): Promise<boolean> =>
      waitFor(
        `the users ${names.join(', ')}`,
        async () => {
          const found = (await users()).filter((name) => /-(brief|emptied|back)$/.test(name));
          if (found.join() === names.join()) return true;
          throw new Error(found.join(', '));
        },
        SOON,
      );
    await untilUsers('weir-back', 'weir-brief', 'weir-emptied');
    const remove = (namespace: string): Promise<string> =>
      cluster().mustKubectl(['delete', ROUTE, 'chat', '-n', namespace]);
    const beganMs = performance.now();
    await Promise.all(['emptied', 'back'].map(remove));
    await waitFor('their removal', () => (held('emptied') ?? held('back')) === undefined || undefined, SOON);
    await rig.apply(shared('back'));
    await untilHeld('back');
    expect(await users()).toContain('weir-emptied');
    await untilUsers('weir-back', 'weir-brief');
    expect(performance.now() - beganMs).toBeGreaterThan(keepMs);
    // No controller empties a namespace here: what is in it goes first, as it does where there is one.
    await cluster().mustKubectl(['delete', 'namespace', 'brief', '--wait=false']);
    await remove('brief');
    await untilUsers('weir-back');
    expect(cli('back', 'TIME')).toMatch(/^\d+/);
    // Named like one, but it reaches more: it was made by someone else.
    expect(await users()).toEqual(expect.arrayContaining(['weir-a', 'weir-stranger']));
    await redis.ask('ACL DELUSER weir-stranger');
  }, 60_000);

  test('the user of a namespace that is no longer watched stays: its limiters go on with it', async () => {
    rig = await OperatorRig.make(cluster());
    const keepMs = 200;
    await start({}, { redisUsers: { everyMs: 50, keepMs } });
    await rig.apply(shared('a'), shared('b'));
    await Promise.all(['a', 'b'].map(untilHeld));
    for (const namespace of ['a', 'b'])
      await waitFor(`the user of ${namespace}`, () => cli(namespace, 'TIME') !== '' || undefined, SOON);
    await rig.operator!.stop();
    await redis.ask('ACL SETUSER weir-named on nopass ~weir:{named}:*');
    const source = { kind: 'cluster', kubeconfig, namespaces: ['a', 'named'] } as const;
    await start({}, { source, redisUsers: { everyMs: 50, keepMs } });
    // Watched and without an object, so its user goes: by then that of b would have gone too.
    await waitFor(
      'the end of the user of named',
      async () => !(await redis.ask('ACL USERS')).includes('weir-named') || undefined,
      SOON,
    );
    expect(await redis.ask('ACL USERS')).toContain('weir-b');
  }, 60_000);

  test('without users: the password is for shared limiters and named namespaces; others are told', async () => {
    rig = await OperatorRig.make(cluster());
    await start({ acl: false, namespaces: ['named'] });
    const sidecars = { workloadSelector: { matchLabels: { app: 'x' } } };
    await rig.apply(shared('a'), shared('named', sidecars), shared('unnamed', sidecars));
    for (const namespace of ['a', 'named']) {
      const { config, secrets } = await untilHeld(namespace);
      expect(config.store).toMatchObject({ isDefault: true });
      await waitFor(
        `the password for ${namespace}`,
        () => [...(held(namespace)?.secrets.values() ?? [])][0] === PASSWORD || undefined,
        SOON,
      );
      expect(secrets.size).toBe(1);
    }
    const refused = await waitFor(
      'the verdict',
      async () => {
        const text = await cluster().mustKubectl(['get', ROUTE, 'chat', '-n', 'unnamed', '-o', 'json']);
        const { status = {} } = JSON.parse(text) as { status?: Parameters<typeof verdict>[0] };
        return verdict(status, 'Accepted') === 'False RedisRequired' ? condition(status, 'Accepted') : undefined;
      },
      SOON,
    );
    expect(refused.message).toContain('sidecars of namespace unnamed');
    expect(refused.message).toContain('--default-redis-namespaces');
    expect(held('unnamed')).toBeUndefined();
  }, 60_000);

  test('nothing of a password is in what the operator logs, keeps or tells', async () => {
    rig = await OperatorRig.make(cluster());
    await start({});
    await untilHeld('a');
    const given = ['a', 'b'].flatMap((namespace) => [...(held(namespace)?.secrets.values() ?? [])]);
    const objects = await cluster().mustKubectl([
      'get',
      `${ROUTE},controllerrevisions,events.events.k8s.io`,
      '-A',
      '-o',
      'yaml',
    ]);
    const users = await redis.ask('ACL LIST');
    for (const value of [PASSWORD, 'other-secret', ...given]) {
      for (const text of [lines.join(''), objects, users]) expect(text).not.toContain(value);
    }
    expect(given.length).toBeGreaterThan(1);
  }, 60_000);
});
