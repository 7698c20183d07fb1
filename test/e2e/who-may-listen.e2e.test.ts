// End to end 7: who may listen. A limiter whose token is missing, for others, expired, of a pod that is gone or of
// another namespace gets nothing; one with the token of its pod gets exactly what selects that pod, for as long as it
// does.
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeWhole } from '../../tools/node-cluster/cluster-folder.ts';
import { reissueToken } from '../../tools/node-cluster/tokens.ts';
import { waitFor } from '../../tools/node-cluster/wait.ts';
import { RawLimiter } from '../contract/raw-limiter.ts';
import { writeLimiterToken, type TokenOptions } from '../rig/stack/cluster-access.ts';
import type { Limiter } from '../rig/stack/weir-stack.ts';
import type { LimiterSelf } from '../../src/contract/push-protocol.ts';
import { describeEndToEnd } from './harness.ts';
import { mcpServer, refOf, requestLimit, slowBucket, type Manifest } from './manifests.ts';
import { makePod, startSidecar } from './sidecar.ts';
import { call, chat, flood, tally } from './traffic.ts';

const FLEET = 'Fleet/-/-';
const WEB = { app: 'web' };
/** Limiters that are refused say at once that they have no configs. */
const IMPATIENT = ['--unconfigured-policy', 'Refuse', '--unconfigured-wait', '200ms'];

describeEndToEnd('who may listen', { limiters: 1 }, (e2e) => {
  const folder = (): string => e2e().weir.stack.folder;
  const raws: RawLimiter[] = [];

  /** A token as `kubectl create token` makes it for the account of workloads. */
  const makeToken = async (namespace: string, options: Omit<TokenOptions, 'account'> = {}): Promise<string> => {
    const path = join(folder(), 'made.token');
    const account = { namespace, name: 'workload' };
    await writeLimiterToken(e2e().cluster.mustKubectl, path, { account, duration: '1h', ...options });
    return await readFile(path, 'utf8');
  };
  const expiring = async (token: string, expiresAtMs: number): Promise<string> =>
    await reissueToken(e2e().cluster.plane.folder, token, { expiresAtMs });
  /** Opens a stream on the push port of the operator and asks for everything. */
  const listen = async (token: string | undefined, self: Partial<LimiterSelf> = {}): Promise<RawLimiter> => {
    const ca = await readFile(join(folder(), 'operator-data', 'ca.crt'), 'utf8');
    const raw = new RawLimiter({ port: e2e().weir.ports.push, ca, ...(token === undefined ? {} : { token }) });
    raws.push(raw);
    return raw.subscribe(self);
  };
  const listenFor = async (token: string, name: string): Promise<RawLimiter> => {
    const ca = await readFile(join(folder(), 'operator-data', 'ca.crt'), 'utf8');
    const raw = new RawLimiter({ port: e2e().weir.ports.push, ca, token });
    raws.push(raw);
    return raw.subscribe({}, { resource_names_subscribe: [name] });
  };
  /** How the operator ends the stream, after not one response. */
  const refusalOf = async (token: string | undefined, self?: Partial<LimiterSelf>): Promise<string | undefined> => {
    const raw = await listen(token, self);
    const { code } = await raw.end(20_000);
    expect(raw.responses).toEqual([]);
    return status[code];
  };
  const namesFor = async (token: string, self?: Partial<LimiterSelf>): Promise<string[]> => {
    const { resources } = await (await listen(token, self)).next(20_000);
    return resources.map(({ name }) => name).sort();
  };
  /** The names of what a limiter has in force. */
  const heldBy = async ({ adminUrl }: Limiter): Promise<string[]> => {
    const { versions } = JSON.parse((await call(`${adminUrl}/config_dump`)).body) as { versions: object };
    return Object.keys(versions).sort();
  };
  const untilHeld = async (limiter: Limiter, names: readonly string[]): Promise<void> => {
    await waitFor(
      `${limiter.id} with ${names.join(', ')}`,
      async () => {
        const held = await heldBy(limiter);
        if (JSON.stringify(held) === JSON.stringify([...names].sort())) return true;
        throw new Error(`it has ${held.join(', ')}`);
      },
      { deadlineMs: 15_000 },
    );
  };
  const route = (place: string, modelName: string, labels?: Readonly<Record<string, string>>): Manifest => {
    const where = labels === undefined ? {} : { targets: undefined, workloadSelector: { matchLabels: labels } };
    return e2e().route(place, { limits: [requestLimit('all', 5)] }, { modelName, ...where });
  };
  const pod = async (namespace: string, name: string, labels: Readonly<Record<string, string>>): Promise<void> => {
    await makePod(e2e(), { namespace, pod: name, labels });
  };
  const deletePod = async (namespace: string, name: string): Promise<void> => {
    await e2e().cluster.mustKubectl(['delete', 'pod', name, '--namespace', namespace, '--force', '--grace-period=0']);
  };

  beforeAll(async () => {
    for (const name of ['mine', 'theirs']) await e2e().makeNamespace(name);
    await pod('mine', 'idle', { app: 'idle' });
    await pod('theirs', 'web-0', WEB);
    await e2e().apply(
      route('mine/web', 'web-model', WEB),
      route('mine/front', 'front-model', { ...WEB, tier: 'front' }),
      route('mine/batch', 'batch-model', { app: 'batch' }),
      route('mine/shared', 'shared-model'),
      route('theirs/web', 'web-model', WEB),
      mcpServer('mine/search', {
        pathPrefix: '/search',
        workloadSelector: { matchLabels: WEB },
        rateLimiting: { shared: slowBucket(5) },
      }),
    );
    await e2e().untilReady(refOf(route('mine/shared', '')));
  });
  afterAll(() => {
    for (const raw of raws) raw.close();
  });

  describe('nothing is given', () => {
    test('without a token, and for one that is none', async () => {
      expect(await refusalOf(undefined)).toBe('UNAUTHENTICATED');
      expect(await refusalOf('nonsense')).toBe('UNAUTHENTICATED');
      const forged = (await makeToken('mine', { pod: 'idle' })).replace(/.{8}$/, 'AAAAAAAA');
      expect(await refusalOf(forged)).toBe('UNAUTHENTICATED');
    });

    test('for a wrong audience', async () => {
      const token = await makeToken('mine', { pod: 'idle', audience: 'somebody.else' });
      expect(await refusalOf(token)).toBe('UNAUTHENTICATED');
    });

    test('for an expired token; a stream ends when its token expires', async () => {
      const token = await makeToken('mine', { pod: 'idle' });
      expect(await refusalOf(await expiring(token, Date.now() - 5_000))).toBe('UNAUTHENTICATED');
      const raw = await listen(await expiring(token, Date.now() + 4_000));
      expect((await raw.next(20_000)).resources.map(({ name }) => name)).toEqual([FLEET]);
      expect(status[(await raw.end(20_000)).code]).toBe('UNAUTHENTICATED');
    });

    test('for the token of a deleted pod, also when there is a new pod of its name; its stream ends at once', async () => {
      await pod('mine', 'brief', { app: 'brief' });
      const token = await makeToken('mine', { pod: 'brief' });
      const raw = await listen(token);
      await raw.next(20_000);
      await deletePod('mine', 'brief');
      const { code, details } = await raw.end(20_000);
      expect([status[code], details]).toEqual(['UNAUTHENTICATED', 'the pod that the token is bound to is gone']);
      expect(await refusalOf(token)).toBe('UNAUTHENTICATED');
      await pod('mine', 'brief', { app: 'brief' });
      expect(await refusalOf(token)).toBe('UNAUTHENTICATED');
      expect(await namesFor(await makeToken('mine', { pod: 'brief' }))).toEqual([FLEET]);
    });

    test("of another namespace: a pod's token gives what is its own, an account's needs a right in each", async () => {
      expect(await namesFor(await makeToken('theirs', { pod: 'web-0' }))).toEqual([FLEET, 'ModelRoute/theirs/web']);
      const bare = await makeToken('theirs');
      for (const namespaces of [undefined, ['*'], ['mine'], ['theirs', 'mine']]) {
        expect(await refusalOf(bare, namespaces === undefined ? {} : { namespaces })).toBe('PERMISSION_DENIED');
      }
      // Nor for a pod that asks for more than it is selected by.
      const bound = await makeToken('theirs', { pod: 'web-0' });
      expect(await refusalOf(bound, { namespaces: ['mine'] })).toBe('PERMISSION_DENIED');
      const binding = ['rolebinding', 'read', '--clusterrole=weir-shared-limiter', '--serviceaccount=theirs:workload'];
      await e2e().cluster.mustKubectl(['create', ...binding, '--namespace', 'theirs']);
      expect(await namesFor(bare, { namespaces: ['theirs'] })).toEqual([FLEET, 'ModelRoute/theirs/web']);
      expect(await refusalOf(bare, { namespaces: ['theirs', 'mine'] })).toBe('PERMISSION_DENIED');
    });

    test('for a name that is somebody else’s: the token alone says who one is, and the true one keeps its stream', async () => {
      const uidOf = async (pod: string, namespace: string): Promise<string> =>
        e2e().cluster.mustKubectl(['get', 'pod', pod, '--namespace', namespace, '-o', 'jsonpath={.metadata.uid}']);
      const [idle, shared] = [await makeToken('mine', { pod: 'idle' }), e2e().limiters[0]!.id];
      await pod('mine', 'victim', { app: 'batch' });
      const victim = await listen(await makeToken('mine', { pod: 'victim' }), { nodeId: 'victim' });
      expect((await victim.next(20_000)).resources.map(({ name }) => name).sort()).toEqual([
        FLEET,
        'ModelRoute/mine/batch',
      ]);
      const uid = await uidOf('victim', 'mine');
      const stranger = await makeToken('theirs', { pod: 'web-0' });
      for (const nodeId of ['victim', 'mine/victim', uid, `pod/${uid}`, shared, `shared/${shared}`]) {
        expect(await namesFor(stranger, { nodeId })).toEqual([FLEET, 'ModelRoute/theirs/web']);
        expect(await namesFor(idle, { nodeId })).toEqual([FLEET]);
        for (const namespaces of [['mine'], ['*']])
          expect(await refusalOf(stranger, { nodeId, namespaces })).toBe('PERMISSION_DENIED');
      }
      expect(victim.ended).toBeUndefined();
      await e2e().untilReady(refOf(route('mine/shared', '')));
      await deletePod('mine', 'victim');
      expect(status[(await victim.end(20_000)).code]).toBe('UNAUTHENTICATED');
    });

    test('to one who asks for an object by its name', async () => {
      const token = await makeToken('theirs', { pod: 'web-0' });
      for (const name of ['ModelRoute/mine/web', 'ModelRoute/mine/*', 'ModelRoute/theirs/web']) {
        const raw = await listenFor(token, name);
        expect(status[(await raw.end(20_000)).code]).toBe('INVALID_ARGUMENT');
        expect(raw.responses).toEqual([]);
      }
    });

    test('to the product itself: such a limiter has no config, says so, and is not counted', async () => {
      const bound = await makeToken('mine', { pod: 'idle' });
      await pod('mine', 'gone', { app: 'gone' });
      const ofGone = await makeToken('mine', { pod: 'gone' });
      await deletePod('mine', 'gone');
      const bad: readonly (readonly [string, string, RegExp])[] = [
        ['no-token', '', /contains no token/],
        ['wrong-audience', await makeToken('mine', { pod: 'idle', audience: 'somebody.else' }), /UNAUTHENTICATED: /],
        ['expired', await expiring(bound, Date.now() - 5_000), /UNAUTHENTICATED: /],
        ['deleted-pod', ofGone, /UNAUTHENTICATED: /],
        ['other-namespace', await makeToken('theirs'), /PERMISSION_DENIED: .*limiterconfigs\.weir\.dev/],
      ];
      const refused = await Promise.all(
        bad.map(async ([id, token]) => {
          const tokenFile = join(folder(), `${id}.token`);
          await writeWhole(tokenFile, token);
          return await e2e().weir.startLimiter({ id, tokenFile, flags: ['--mode', 'shared', ...IMPATIENT] });
        }),
      );
      for (const [place, [id, token, words]] of bad.entries()) {
        const limiter = refused[place]!;
        await waitFor(`${id} to log why`, async () => words.test(await e2e().weir.stack.log(id)) || undefined, {
          deadlineMs: 15_000,
        });
        expect(await heldBy(limiter)).toEqual([]);
        expect((await chat(`${limiter.url}/mine/shared`, 'shared-model')).status).toBe(503);
        expect((await call(`${limiter.adminUrl}/readyz`)).status).toBe(503);
        if (token !== '') expect(await e2e().weir.stack.log(id)).not.toContain(token.trim());
        if (token !== '') expect(await e2e().weir.stack.log('operator')).not.toContain(token.trim());
      }
      await e2e().untilReady(refOf(route('mine/shared', '')));
      await Promise.all(refused.map(({ server }) => server.stop()));
    });
  });

  describe('with the token of its pod', () => {
    let sidecar: Limiter;

    beforeAll(async () => {
      const upstream = e2e().upstreamUrl;
      sidecar = await startSidecar(e2e(), { namespace: 'mine', pod: 'web-0', labels: WEB, upstream });
    });

    test('a limiter gets exactly what selects its pod, and enforces it', async () => {
      await untilHeld(sidecar, [FLEET, 'ModelRoute/mine/web', 'MCPServer/mine/search']);
      expect(tally(await flood(8, 4, () => chat(sidecar.url, 'web-model')))).toEqual({ 200: 5, 429: 3 });
      expect(tally(await flood(8, 4, () => chat(sidecar.url, 'batch-model')))).toEqual({ 200: 8 });
      const programmed = { status: 'True', summary: '2/2' } as const;
      await e2e().untilCondition(refOf(route('mine/web', '')), 'Programmed', programmed);
    });

    test('a shared limiter gets every object, each once', async () => {
      const all = ['ModelRoute/mine/batch', 'ModelRoute/mine/front', 'ModelRoute/mine/shared', 'ModelRoute/mine/web'];
      const shared = e2e().limiters[0]!;
      await untilHeld(shared, [FLEET, ...all, 'ModelRoute/theirs/web', 'MCPServer/mine/search']);
    });

    test('a change of its labels is followed, both ways', async () => {
      const label = (...labels: string[]): Promise<string> =>
        e2e().cluster.mustKubectl(['label', 'pod', 'web-0', '--namespace', 'mine', '--overwrite', ...labels]);
      await label('tier=front');
      await untilHeld(sidecar, [FLEET, 'ModelRoute/mine/web', 'ModelRoute/mine/front', 'MCPServer/mine/search']);
      await label('app=batch');
      await untilHeld(sidecar, [FLEET, 'ModelRoute/mine/batch']);
      expect(tally(await flood(8, 4, () => chat(sidecar.url, 'batch-model')))).toEqual({ 200: 5, 429: 3 });
      expect(tally(await flood(4, 4, () => chat(sidecar.url, 'web-model')))).toEqual({ 200: 4 });
    });

    test('an object that no longer selects the pod is taken away, one that does comes', async () => {
      await e2e().apply(
        route('mine/batch', 'batch-model', { app: 'other' }),
        route('mine/late', 'late-model', { app: 'batch' }),
      );
      await untilHeld(sidecar, [FLEET, 'ModelRoute/mine/late']);
    });

    test('when its pod is deleted it hears nothing more, and is not counted', async () => {
      await deletePod('mine', 'web-0');
      const words = /UNAUTHENTICATED: the pod that the token is bound to is gone/;
      await waitFor('the end of its stream', async () => words.test(await e2e().weir.stack.log('web-0')) || undefined, {
        deadlineMs: 15_000,
      });
      await e2e().apply(route('mine/later', 'later-model', { app: 'batch' }));
      const none = { status: 'False', reason: 'NoMatchingPods' } as const;
      await e2e().untilCondition(refOf(route('mine/later', '')), 'Programmed', none);
      expect(await heldBy(sidecar)).toEqual([FLEET, 'ModelRoute/mine/late']);
    });
  });
});
