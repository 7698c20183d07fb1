// Redis with a password, an ACL user and TLS: who may come in, how a refusal looks, and a rotation that no call
// notices.
import { afterEach, describe, expect, test } from '@jest/globals';
import type { RedisStoreConfig, SecretReference } from '../../../src/contract/limiter-config.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { StoreRegistry, type StoreOptions } from '../../../src/limiter/store/create-store.ts';
import type { Store } from '../../../src/limiter/store/store.ts';
import { createAuthority, issueServerCertificate } from '../../../tools/node-cluster/certificates.ts';
import { waitFor } from '../../../tools/node-cluster/wait.ts';
import { capturingLogger } from '../../lib/capturing-logger.ts';
import { describeOnRedis } from '../../rig/redis/describe-redis.ts';
import { startRedis } from '../../rig/redis/redis-server.ts';
import { bucket, HOUR, newKey, take, tokens, truth } from './fixtures.ts';

const SOON = { deadlineMs: 10_000, everyMs: 20 };
const RIGHTS = 'on resetkeys ~weir:{team}:* +eval +evalsha +script|load +time +mget +exists +set +mset +pexpireat +del';

/** A reference as the operator sends it; `version` rises with each change of the Secret. */
const ref = (version: number, key = 'password'): SecretReference => ({
  secret: { name: 'redis', key, uid: 'u', resourceVersion: String(version) },
});

const opened: StoreRegistry[] = [];

function registryOf(options: Partial<StoreOptions> = {}) {
  const { log, lines } = capturingLogger();
  const told: string[] = [];
  const hooks = {
    onCredentials: (endpoint: string, state: string) => void told.push(`${endpoint} ${state}`),
  };
  const registry = new StoreRegistry({ deadlineMs: 5000, clock: systemClock, log, hooks, ...options });
  opened.push(registry);
  return { registry, lines, told };
}

const use = (redis: RedisStoreConfig['redis'], namespace = 'team') =>
  ({ namespace, store: { type: 'redis', redis } }) as const;
const password = (value: string) => new Map([['redis/password', value]]);

async function reasonOf(store: Store): Promise<string> {
  return await store.reserve(take([bucket(tokens(5, HOUR)), 1])).then(
    ({ outcome }) => outcome,
    (error: unknown) => (error as { reason: string }).reason,
  );
}

describeOnRedis('credentials of Redis', () => {
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((registry) => registry.close()));
  });

  test('the password of the default user opens', async () => {
    const server = await startRedis({ password: 'first-secret' });
    const { registry, told } = registryOf();
    const config = use({ address: server.address, password: ref(1) });
    expect(await reasonOf(registry.storeFor(config, password('first-secret')))).toBe('admitted');
    expect(told).toEqual([]);
  });

  test.each([
    ['a wrong one', 'wrong-secret', 'WRONGPASS'],
    ['none', undefined, 'NOAUTH'],
  ])('%s is told once, in words of its own, and is an outage to its callers', async (_what, value, word) => {
    const server = await startRedis({ password: 'first-secret', admin: true });
    const { registry, lines, told } = registryOf({ deadlineMs: 1000 });
    const config = use({ address: server.address, ...(value === undefined ? {} : { password: ref(1) }) });
    const store = registry.storeFor(config, value === undefined ? new Map() : password(value));
    await waitFor('a refusal', async () => ((await reasonOf(store)) === 'credentials' ? true : undefined), SOON);
    await waitFor('the circuit', async () => ((await reasonOf(store)) === 'circuit-open' ? true : undefined), SOON);
    expect(told).toEqual([`${server.address} refused`]);
    const refusals = lines.filter((line) => line.includes('store refuses the credentials'));
    expect(refusals).toHaveLength(1);
    expect(refusals[0]).toContain(word);
    expect(lines.join('')).not.toContain('-secret');
    await server.ask(`ACL SETUSER default ${value === undefined ? 'nopass' : `resetpass >${value}`}`);
    await waitFor('it to be taken', async () => ((await reasonOf(store)) === 'admitted' ? true : undefined), SOON);
    expect(told).toEqual([`${server.address} refused`, `${server.address} accepted`]);
  });

  test('an ACL user with the commands of the store and the keys of its namespace can do all of it, and no more', async () => {
    const server = await startRedis({ args: ['--user', 'team', ...RIGHTS.split(' '), '>team-secret'] });
    const { registry } = registryOf();
    const config = use({ address: server.address, username: 'team', password: ref(1) });
    const store = registry.storeFor(config, password('team-secret'));
    const reservation = take([bucket(tokens(5, HOUR)), 2]);
    expect((await store.reserve(reservation)).outcome).toBe('admitted');
    expect(await store.settle(truth(reservation, [1]))).toMatchObject({ applied: true });
    expect(await store.report(take([bucket(tokens(5, HOUR)), 1]))).toMatchObject({ applied: true });
    const foreign = take([bucket(tokens(5, HOUR), newKey('other')), 1]);
    await expect(store.reserve(foreign)).rejects.toMatchObject({ name: 'StoreUnavailable' });
  });

  describe('TLS', () => {
    test('the authority of the Secret and a name in the certificate open, anything else does not', async () => {
      const authority = await createAuthority('redis-ca');
      const stranger = await createAuthority('stranger');
      const { certificate, key } = await issueServerCertificate(authority, 'redis', ['redis.example']);
      const ca = authority.certificate;
      const server = await startRedis({ password: 'first-secret', tls: { certificate, key, ca } });
      const { registry } = registryOf({ deadlineMs: 1000 });
      const tls = { ca: ref(1, 'ca.crt'), serverName: 'redis.example' };
      const base = { address: server.address, password: ref(1) };
      const secrets = (pem: string) => new Map([...password('first-secret'), ['redis/ca.crt', pem]]);
      const good = registry.storeFor(use({ ...base, tls }), secrets(ca));
      expect(await reasonOf(good)).toBe('admitted');
      const bad: Store[] = [
        registry.storeFor(use({ ...base, tls }, 'stranger'), secrets(stranger.certificate)),
        registry.storeFor(use({ ...base, tls: { ...tls, serverName: 'other.example' } }), secrets(ca)),
        registry.storeFor(use({ ...base, tls: { ca: tls.ca } }), secrets(ca)),
        registry.storeFor(use({ ...base, tls: {} }), secrets(ca)),
        registry.storeFor(use(base), secrets(ca)),
      ];
      for (const store of bad) expect(['connection', 'timeout', 'circuit-open']).toContain(await reasonOf(store));
    });
  });

  test('a rotation: calls go on without one failure, the old connection is closed, what was used is kept', async () => {
    const server = await startRedis({ password: 'first-secret', admin: true });
    const { registry, lines } = registryOf();
    const config = (version: number) => use({ address: server.address, password: ref(version) });
    const store = registry.storeFor(config(1), password('first-secret'));
    const one = bucket(tokens(1_000_000, HOUR * 1000));
    const outcomes: string[] = [];
    const run = { isOver: false };
    const load = (async () => {
      while (!run.isOver)
        outcomes.push(
          ...(await Promise.all(
            Array.from(
              { length: 20 },
              async () =>
                (await store.reserve(take([one, 1])).catch((error: unknown) => ({ outcome: String(error) }))).outcome,
            ),
          )),
        );
    })();
    for (const [index, next] of ['second-secret', 'third-secret', 'fourth-secret'].entries()) {
      // First the Secret, then Redis: until Redis follows, the old connection serves.
      expect(registry.renew(config(index + 2), password(next))).toBe(store);
      await waitFor(
        'its refusal',
        () => lines.filter((line) => line.includes('store refuses')).length > index || undefined,
        SOON,
      );
      await server.ask(`ACL SETUSER default resetpass >${next}`);
      const since = lines.length;
      await waitFor(
        'the new connection',
        () => lines.slice(since).some((line) => line.includes('other credentials')) || undefined,
        SOON,
      );
    }
    const before = outcomes.length;
    await waitFor('more calls', () => outcomes.length > before + 100 || undefined, SOON);
    run.isOver = true;
    await load;
    expect(new Set(outcomes)).toEqual(new Set(['admitted']));
    const state = (await store.peek(take([one, 0]))).states[0];
    expect(state?.remaining).toBe(1_000_000 - outcomes.length);
    expect(lines.join('')).not.toMatch(/(first|second|third|fourth)-secret/);
  });

  test('credentials that are taken away are not used one call longer, and used again when they are back', async () => {
    const server = await startRedis({ password: 'first-secret' });
    const { registry, told } = registryOf();
    const endpoint = { address: server.address, password: ref(1) };
    const store = registry.storeFor(use(endpoint), password('first-secret'));
    expect(await reasonOf(store)).toBe('admitted');
    registry.renew(use({ ...endpoint, password: { secret: { name: 'redis', key: 'password' } } }));
    expect(await reasonOf(store)).toBe('credentials');
    expect(told).toEqual([`${server.address} refused`]);
    registry.renew(use({ ...endpoint, password: ref(2) }), password('first-secret'));
    expect(await reasonOf(store)).toBe('admitted');
    expect(told).toEqual([`${server.address} refused`, `${server.address} accepted`]);
  });

  test('a namespace never uses the connection of another, though all that it says is the same', async () => {
    const server = await startRedis({ password: 'first-secret' });
    const { registry } = registryOf({ deadlineMs: 1000 });
    const endpoint = { address: server.address, password: ref(1) };
    const mine = registry.storeFor(use(endpoint, 'mine'), password('first-secret'));
    const theirs = registry.storeFor(use(endpoint, 'theirs'), password('guess'));
    expect(theirs).not.toBe(mine);
    expect(await reasonOf(mine)).toBe('admitted');
    expect(['credentials', 'circuit-open']).toContain(await reasonOf(theirs));
  });
});
