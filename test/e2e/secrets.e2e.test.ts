// End to end: credentials of Redis. A namespace with a Redis of its own (password and CA in a Secret, TLS) and two
// with users of the default Redis: limits are exact, a rotation costs no call, nothing secret comes to light, and a
// tenant reaches no other's keys.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { grantsFor } from '../../src/cli/grant-command.ts';
import { loadPushProtocol } from '../../src/contract/push-protocol.ts';
import { createAuthority, issueServerCertificate } from '../../tools/node-cluster/certificates.ts';
import { waitFor } from '../../tools/node-cluster/wait.ts';
import { RawLimiter } from '../contract/raw-limiter.ts';
import { ADMIN, startRedis, stopAllRedis, type RedisServer } from '../rig/redis/redis-server.ts';
import { OPERATOR_SUBJECT, writeLimiterToken } from '../rig/stack/cluster-access.ts';
import type { Limiter } from '../rig/stack/weir-stack.ts';
import { describeEndToEnd, MODEL } from './harness.ts';
import { refOf, requestLimit, type Manifest } from './manifests.ts';
import { makePod, startSidecar } from './sidecar.ts';
import { call, chat, flood, tally, type Answer } from './traffic.ts';

const SOON = { deadlineMs: 30_000, everyMs: 50 };
const CAPACITY = 3000;
const SHARE = 40;
const FIRST = 'first-own-Wd41xPq8';
const SECOND = 'second-own-Kz72mRt5';
const ADMIN_WORD = 'default-admin-Hq93vLs6';
const TENANTS = ['alpha', 'beta'] as const;
const WEB = { app: 'web' };
/** Names and values. */
const EVERY_KEY =
  "local all = {} for _, k in ipairs(redis.call('KEYS', '*')) do all[#all + 1] = {k, redis.call('GET', k)} end return all";
const LIMITER_FLAGS = ['--store-deadline', '2s'];

interface Authority {
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
}

async function makeAuthority(name: string): Promise<Authority> {
  const authority = await createAuthority(name);
  const { certificate, key } = await issueServerCertificate(authority, 'redis', ['redis.example']);
  return { ca: `${authority.certificate}\n`, certificate, key };
}

/** A line of a PEM that is in no other. */
const lineOf = (pem: string): string => pem.split('\n')[3]!;

describeEndToEnd('credentials of Redis', { operator: false, limiters: 0, audit: true }, (e2e) => {
  const own: { server?: RedisServer } = {};
  let shared: RedisServer;
  let authorities: [Authority, Authority];
  let sidecars: Limiter[] = [];
  /** What the pod of a namespace was given, read off the wire. */
  const given = new Map<string, Received>();

  const folder = (): string => e2e().weir.stack.folder;
  const kubectl = (...args: string[]): Promise<string> => e2e().cluster.mustKubectl(args);
  const login = (password: string, ca: string): object => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'redis-login', namespace: 'team', labels: { 'weir.dev/credential': 'true' } },
    stringData: { password, 'ca.crt': ca },
  });
  const ownRoute = (): Manifest =>
    e2e().route('team/chat', {
      limits: [requestLimit('all', CAPACITY)],
      redis: {
        address: own.server!.address,
        username: 'weir',
        passwordSecretRef: { name: 'redis-login', key: 'password' },
        tls: { caSecretRef: { name: 'redis-login', key: 'ca.crt' }, serverName: 'redis.example' },
      },
    });
  const tenantRoute = (namespace: string): Manifest =>
    e2e().route(
      `${namespace}/chat`,
      { limits: [requestLimit('all', SHARE)] },
      { targets: undefined, workloadSelector: { matchLabels: WEB } },
    );

  beforeAll(async () => {
    authorities = [await makeAuthority('first-authority'), await makeAuthority('second-authority')];
    const [first, second] = authorities;
    const tls = { ...first, ca: `${first.ca}${second.ca}` };
    const user = ['--user', 'weir', 'on', `>${FIRST}`, '~*', '&*', '+@all'];
    own.server = await startRedis({ admin: true, tls, args: user });
    shared = await startRedis({
      admin: true,
      tls,
      args: ['--user', 'chief', 'on', `>${ADMIN_WORD}`, '~*', '&*', '+@all'],
    });
    const [passwordFile, caFile] = [join(folder(), 'chief.password'), join(folder(), 'redis.ca')];
    await writeFile(passwordFile, `${ADMIN_WORD}\n`, { mode: 0o600 });
    await writeFile(caFile, tls.ca);
    const flags = [
      ...['--default-redis', shared.address, '--default-redis-acl', '--default-redis-username', 'chief'],
      ...['--default-redis-password-file', passwordFile, '--default-redis-ca-file', caFile],
      ...['--default-redis-server-name', 'redis.example', '--own-namespace', 'weir-system', '--log-level', 'debug'],
    ];
    await e2e().weir.startOperator({ defaultRedis: false, flags });
    for (const id of ['limiter1', 'limiter2'])
      await e2e().startLimiter({ id, flags: [...LIMITER_FLAGS, '--log-level', 'debug'] });
    for (const namespace of ['team', ...TENANTS]) await e2e().makeNamespace(namespace);
    const input = grantsFor(new Map([['team', new Set(['redis-login'])]]), 'weir-system/weir-operator');
    await e2e().apply(login(FIRST, first.ca), input);
    await e2e().enforce(ownRoute());
    for (const namespace of TENANTS) {
      for (const pod of ['one', 'two']) await makePod(e2e(), { namespace, pod: `${namespace}-${pod}`, labels: WEB });
      given.set(namespace, await receive(namespace, `${namespace}-one`));
    }
  }, 120_000);
  afterAll(stopAllRedis);

  /** Opens a stream with the token of a pod, and keeps what comes first of its object. */
  async function receive(namespace: string, pod: string): Promise<Received> {
    await e2e().apply(tenantRoute(namespace));
    const tokenFile = join(folder(), `${pod}.raw-token`);
    await writeLimiterToken(e2e().cluster.mustKubectl, tokenFile, { account: { namespace, name: 'workload' }, pod });
    const ca = await readFile(join(folder(), 'operator-data', 'ca.crt'), 'utf8');
    const raw = new RawLimiter({ port: e2e().weir.ports.push, ca, token: await readFile(tokenFile, 'utf8') });
    try {
      raw.ackAll();
      raw.subscribe();
      const resource = await waitFor(
        `the config of ${namespace}`,
        () => raw.responses.flatMap(({ resources }) => resources).find(({ name }) => name.startsWith('ModelRoute/')),
        SOON,
      );
      const { bytes, secrets } = loadPushProtocol().decode(resource);
      const { store } = JSON.parse(bytes.toString()) as { store: { redis: { username: string } } };
      const password = [...secrets.values()].find((value) => !value.includes('BEGIN CERTIFICATE'));
      const names = raw.responses.flatMap(({ resources }) => resources.map(({ name }) => name));
      return { names, username: store.redis.username, password: password ?? '', values: [...secrets.values()] };
    } finally {
      raw.close();
    }
  }

  const everyone = (): Limiter[] => [...e2e().limiters, ...sidecars];
  const metricsOf = async ({ adminUrl }: Limiter): Promise<string> => (await call(`${adminUrl}/metrics`)).body;
  const clientIds = async (): Promise<Set<string>> => {
    const list = await own.server!.ask('CLIENT LIST');
    return new Set([...list.matchAll(/^(?:\$\d+\r\n)?id=(\d+) .* user=weir /gm)].map(([, id]) => id!));
  };

  test('a Redis with password and TLS of the own namespace; both are rotated under load: each call counted, none lost', async () => {
    const server = own.server!;
    const [first, second] = authorities;
    const answers: Answer[] = [];
    const run = { isOver: false };
    const load = (async (): Promise<void> => {
      while (!run.isOver) answers.push(...(await e2e().ask('team/chat', 16)));
    })();
    const untilBoth = async (password: string, ca: string): Promise<void> => {
      const before = (await e2e().get(refOf(ownRoute()))).status?.configVersion;
      const present = await clientIds();
      expect(present.size).toBeGreaterThan(1);
      await e2e().apply(login(password, ca));
      await waitFor(
        'another version at both',
        async () => {
          const { status, metadata } = await e2e().get(refOf(ownRoute()));
          const isNew = status?.configVersion !== before && status?.observedGeneration === metadata.generation;
          return (isNew && status.limiters?.summary === '2/2') || undefined;
        },
        SOON,
      );
      await waitFor(
        'new connections alone',
        async () => (await clientIds()).isDisjointFrom(present) || undefined,
        SOON,
      );
    };
    try {
      // The password: Redis knows both for a while.
      await server.ask(`ACL SETUSER weir >${SECOND}`);
      await untilBoth(SECOND, first.ca);
      await server.ask(`ACL SETUSER weir <${FIRST}`);
      // The authority: limiters trust both for a while.
      await untilBoth(SECOND, `${first.ca}${second.ca}`);
      await writeFile(join(folder(), 'second.crt'), second.certificate);
      await writeFile(join(folder(), 'second.key'), second.key, { mode: 0o600 });
      const files = ['tls-cert-file', join(folder(), 'second.crt'), 'tls-key-file', join(folder(), 'second.key')];
      expect(await server.ask(`CONFIG SET ${files.join(' ')}`)).toMatch(/^\+OK/);
      await untilBoth(SECOND, second.ca);
    } finally {
      run.isOver = true;
      await load;
    }
    const passed = answers.length;
    process.stdout.write(`credentials of Redis: ${passed} calls during three rotations\n`);
    expect(tally(answers)).toEqual({ 200: passed });
    expect(passed).toBeLessThan(CAPACITY);
    expect(await e2e().send('team/chat', CAPACITY - passed + 50)).toEqual({ 200: CAPACITY - passed, 429: 50 });
    expect(await e2e().upstreamCount()).toBe(CAPACITY);
    for (const limiter of e2e().limiters) expect(await metricsOf(limiter)).not.toMatch(/_credentials_refused\{.*\} 1/);
  }, 180_000);

  test('two sidecars of each tenant share one exact limit, and none takes from the other tenant', async () => {
    for (const namespace of TENANTS) {
      for (const pod of ['one', 'two']) {
        const upstream = e2e().upstreamUrl;
        const flags = [...LIMITER_FLAGS, '--log-level', 'debug'];
        sidecars = [
          ...sidecars,
          await startSidecar(e2e(), { namespace, pod: `${namespace}-${pod}`, labels: WEB, upstream, flags }),
        ];
      }
      await e2e().untilCondition(refOf(tenantRoute(namespace)), 'Ready', { status: 'True', summary: '4/4' });
      const { username, password } = given.get(namespace)!;
      await waitFor('its user', async () => (await cli(username, password, 'TIME')).match(/^\d+/) ?? undefined, SOON);
    }
    for (const [at] of TENANTS.entries()) {
      const two = sidecars.slice(at * 2, at * 2 + 2);
      const answers = await flood(SHARE + 20, 8, (index) => chat(two[index % 2]!.url, MODEL));
      expect(tally(answers)).toEqual({ 200: SHARE, 429: 20 });
    }
  }, 120_000);

  /** redis-cli on the default Redis. */
  const cli = (username: string, password: string, ...command: string[]): Promise<string> =>
    cliOf(shared, username, password, ...command);

  async function cliOf(server: RedisServer, username: string, password: string, ...command: string[]): Promise<string> {
    const access = ['-p', `${server.port}`, '--tls', '--cacert', join(folder(), 'redis.ca'), '--sni', 'redis.example'];
    const env = { ...process.env, REDISCLI_AUTH: password };
    const { stdout, stderr } = await promisify(execFile)(
      'redis-cli',
      [...access, '--user', username, '--no-auth-warning', ...command],
      { env },
    );
    return `${stdout}${stderr}`.trim();
  }

  test('with what a pod was given one reaches the keys of its namespace, and not those of another', async () => {
    const [alpha, beta] = TENANTS.map((namespace) => given.get(namespace)!) as [Received, Received];
    for (const [namespace, { names, username }] of given) {
      expect(names.filter((name) => !name.startsWith('Fleet/'))).toEqual([`ModelRoute/${namespace}/chat`]);
      expect(username).toBe(`weir-${namespace}`);
    }
    expect(alpha.values).not.toContain(beta.password);
    const keys = await cli('chief', ADMIN_WORD, 'KEYS', '*');
    const keyOf = (namespace: string): string =>
      keys.split('\n').find((key) => key.startsWith(`weir:{${namespace}}:`)) ?? '';
    expect(keyOf('beta')).not.toBe('');
    expect(await cli(alpha.username, alpha.password, 'MGET', keyOf('alpha'))).not.toMatch(/NOPERM|^$/);
    const denied = [
      ['MGET', keyOf('beta')],
      ['MGET', keyOf('alpha'), keyOf('beta')],
      ['SET', keyOf('beta'), 'x'],
      ['DEL', keyOf('beta')],
      ['EVAL', "return redis.call('MGET', KEYS[1])", '1', keyOf('beta')],
      ['EVAL', "return redis.call('DEL', ARGV[1])", '0', keyOf('beta')],
      ['KEYS', '*'],
      ['SCAN', '0'],
      ['ACL', 'LIST'],
      ['CONFIG', 'GET', 'requirepass'],
      ['MONITOR'],
      ['FLUSHALL'],
    ];
    for (const command of denied) {
      const answer = await cli(alpha.username, alpha.password, ...command);
      expect([command, answer]).toEqual([command, expect.stringMatching(/NOPERM|can't access|permission/i)]);
    }
    expect(await cli(beta.username, alpha.password, 'TIME').catch(String)).toMatch(/WRONGPASS|NOAUTH/);
    expect(await cli('chief', ADMIN_WORD, 'EXISTS', keyOf('beta'))).toBe('1');
  });

  test('nothing secret is in logs, statuses, Events, last good forms, dumps, metrics, keys, or what the operator asks', async () => {
    const values = [...given.values()].map(({ password }) => password);
    expect(new Set(values).size).toBe(TENANTS.length);
    const words = [FIRST, SECOND, ADMIN_WORD, ...values, ...authorities.map(({ key }) => lineOf(key))];
    const hidden = [...words, ...words.map((word) => Buffer.from(word).toString('base64').replace(/=+$/, ''))];
    // The certificates of an authority are no secret, and yet of no use in any of these.
    hidden.push(...authorities.map(({ ca }) => lineOf(ca)));
    const places = await everyPlace();
    for (const [place, text] of places) {
      expect([place, text.length > 0]).toEqual([place, true]);
      expect([place, hidden.filter((word) => text.includes(word))]).toEqual([place, []]);
    }
    // They would be found: the places are those where the rest of the story is told.
    expect(places.get('log of operator')).toContain('redis user set');
    for (const kind of ['ModelRoute', 'ControllerRevision', 'Event'])
      expect(places.get('objects')).toContain(`kind: ${kind}\n`);
    expect(places.get('dump of limiter1')).toContain('redis-login');
    expect(places.get('keys of own')).toContain('weir:{team}');
  }, 60_000);

  async function everyPlace(): Promise<Map<string, string>> {
    const kinds = 'modelroutes.weir.dev,controllerrevisions,events,events.events.k8s.io,configmaps,pods,leases,roles';
    const places = new Map<string, string>();
    places.set('objects', await kubectl('get', kinds, '-A', '-o', 'yaml', '--show-managed-fields'));
    places.set('descriptions', await kubectl('describe', 'modelroutes.weir.dev', '-A'));
    places.set('log of operator', await e2e().weir.stack.log('operator'));
    places.set('metrics of operator', (await call(`${e2e().weir.operatorAdminUrl}/metrics`)).body);
    for (const limiter of everyone()) {
      places.set(`log of ${limiter.id}`, await e2e().weir.stack.log(limiter.id));
      places.set(`metrics of ${limiter.id}`, await metricsOf(limiter));
      places.set(`dump of ${limiter.id}`, (await call(`${limiter.adminUrl}/config_dump`)).body);
    }
    for (const server of [...everyone().map(({ server }) => server), e2e().operator])
      places.set(`command of ${server.pid()}`, await readFile(`/proc/${server.pid()}/cmdline`, 'utf8'));
    const [name = '', word = ''] = ADMIN.split(' ');
    for (const server of [own.server!, shared]) {
      const keys = await cliOf(server, name, word, '--no-raw', 'EVAL', EVERY_KEY, '0');
      places.set(`keys of ${server === shared ? 'shared' : 'own'}`, keys);
      places.set(`slow log of ${server.port}`, await cliOf(server, name, word, '--no-raw', 'SLOWLOG', 'GET', '128'));
    }
    const audit = await readFile(e2e().cluster.plane.auditLog!, 'utf8');
    const mine = audit.split('\n').filter((line) => line.includes(`"username":"${OPERATOR_SUBJECT.user}"`));
    places.set('what the operator asked', mine.join('\n'));
    return places;
  }
});

interface Received {
  readonly names: readonly string[];
  readonly username: string;
  readonly password: string;
  readonly values: readonly string[];
}
