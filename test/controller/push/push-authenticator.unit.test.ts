// Who a token makes a limiter, told from the API server's verdicts; the verdicts of a real one:
// push-authenticator.cluster.test.ts.
import { describe, expect, test } from '@jest/globals';
import type { AdmissionQueueSettings } from '../../../src/controller/push/admission-queue.ts';
import {
  createStaticAuthenticator,
  createTokenAuthenticator,
  type AdmissionResult,
  type ReviewApi,
} from '../../../src/controller/push/authenticator.ts';
import { silentLogger, type Logger } from '../../../src/lib/log.ts';
import { capturingLogger } from '../../lib/capturing-logger.ts';
import type { TokenVerdict } from '../../../src/controller/kube/kube-api.ts';

const POD = { namespace: 'a', name: 'p', uid: 'u', labels: { app: 'x' } };
const SHARED: TokenVerdict = {
  authenticated: true,
  username: 'system:serviceaccount:a:limiter',
  groups: ['g'],
  audiences: ['weir.dev'],
  extra: {},
};
const BOUND: TokenVerdict = {
  ...SHARED,
  extra: { 'authentication.kubernetes.io/pod-name': ['p'], 'authentication.kubernetes.io/pod-uid': ['u'] },
};
const inSeconds = (seconds: number): string => tokenOf({ exp: Math.floor(Date.now() / 1000) + seconds });
const tokenOf = (claims: unknown): string => `h.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.s`;

interface World extends Partial<Pick<ReviewApi, 'reviewToken' | 'findPod'>> {
  readonly verdict?: TokenVerdict;
  readonly allowed?: readonly string[];
  readonly queue?: AdmissionQueueSettings;
  readonly token?: string;
  readonly log?: Logger;
  readonly namespaces?: readonly string[];
  readonly watched?: readonly string[];
}

function ask(world: World = {}): Promise<AdmissionResult> {
  const { verdict = SHARED, allowed = [], queue, token = 't', namespaces } = world;
  const api: ReviewApi = {
    reviewToken: world.reviewToken ?? (() => Promise.resolve(verdict)),
    reviewAccess: ({ namespace }) => Promise.resolve(allowed.includes(namespace)),
    findPod: world.findPod ?? (() => POD),
    watched: world.watched ?? [],
  };
  const self = { nodeId: 'n', version: '1', ...(namespaces === undefined ? {} : { namespaces }) };
  return createTokenAuthenticator(api, world.log ?? silentLogger(), queue)({ token, self });
}

describe('a token that is bound to a pod', () => {
  test('makes the sidecar of that pod, with the labels that the API has', async () => {
    expect(await ask({ verdict: BOUND })).toEqual({
      admitted: true,
      limiterId: 'pod/u',
      view: { kind: 'pod', pod: POD },
    });
  });

  test('is refused when the pod is gone, also when another one has its name', async () => {
    for (const found of [undefined, { ...POD, uid: 'other' }]) {
      expect(await ask({ verdict: BOUND, findPod: () => found })).toMatchObject({ reason: 'unauthenticated' });
    }
  });

  test('needs access as any other when it asks for namespaces, and still ends with its pod', async () => {
    expect(await ask({ verdict: BOUND, namespaces: ['*'] })).toMatchObject({ reason: 'denied' });
    expect(await ask({ verdict: BOUND, namespaces: ['*'], allowed: [''] })).toMatchObject({
      limiterId: 'shared/system:serviceaccount:a:limiter/n',
      view: { kind: 'shared', namespaces: 'all', pod: POD },
    });
  });
});

describe('a token without a pod', () => {
  test('needs access to all namespaces, or to each that it asks for', async () => {
    expect(await ask()).toMatchObject({ reason: 'denied', message: expect.stringContaining('all namespaces') });
    expect(await ask({ allowed: [''] })).toMatchObject({ view: { namespaces: 'all' } });
    expect(await ask({ allowed: ['a', 'b'], namespaces: ['a', 'b'] })).toMatchObject({
      view: { kind: 'shared', namespaces: ['a', 'b'] },
    });
    expect(await ask({ allowed: [''], namespaces: ['a'] })).toMatchObject({ view: { namespaces: ['a'] } });
    expect(await ask({ allowed: ['a'], namespaces: ['a', 'b'] })).toMatchObject({
      reason: 'denied',
      message: expect.stringContaining('namespace b'),
    });
  });
});

describe('an operator that watches some namespaces', () => {
  const refused = (unwatched: readonly string[]) => ({ admitted: false, reason: 'denied', unwatched });

  test('refuses the sidecar of another one, saying which it watches; that of a watched one it serves', async () => {
    const refusal = await ask({ verdict: BOUND, watched: ['b', 'c', 'd', 'e'] });
    expect(refusal).toMatchObject(refused(['a']));
    expect(refusal).toHaveProperty(
      'message',
      'namespace a is not watched by this operator (it watches b, c, d and 1 more): the limiter keeps its last config; add it to watchNamespaces (--namespace) to follow edits',
    );
    expect(await ask({ verdict: BOUND, watched: ['a'] })).toMatchObject({ admitted: true });
  });

  test('serves a shared limiter that wants all, or one that is watched; none of which is, it refuses', async () => {
    const all = { allowed: [''], watched: ['a'] };
    expect(await ask(all)).toMatchObject({ admitted: true });
    expect(await ask({ ...all, namespaces: ['a', 'x'] })).toMatchObject({ view: { namespaces: ['a', 'x'] } });
    expect(await ask({ ...all, namespaces: ['x', 'y'] })).toMatchObject(refused(['x', 'y']));
  });

  test('asks the API server once about the token of a limiter that it does not serve, and not before it is believed', async () => {
    let reviews = 0;
    let authenticated = false;
    const api: ReviewApi = {
      watched: ['b'],
      reviewToken: () => {
        reviews += 1;
        return Promise.resolve({ ...BOUND, authenticated });
      },
      reviewAccess: () => Promise.resolve(false),
      findPod: () => POD,
    };
    const authenticate = createTokenAuthenticator(api, silentLogger());
    const come = (token: string): Promise<AdmissionResult> =>
      authenticate({ token, self: { nodeId: 'n', version: '1' } });
    expect(await come('t')).toMatchObject({ reason: 'unauthenticated' });
    authenticated = true;
    for (let turn = 0; turn < 5; turn++) expect(await come('t')).toMatchObject(refused(['a']));
    expect(reviews).toBe(2);
    await come('another');
    expect(reviews).toBe(3);
  });
});

describe('a token is not believed', () => {
  test('when the review says no, or does not vouch for the audience', async () => {
    for (const verdict of [
      { ...SHARED, authenticated: false },
      { ...SHARED, audiences: [] },
      { ...SHARED, audiences: ['kubernetes'] },
    ]) {
      expect(await ask({ verdict, allowed: [''] })).toMatchObject({ reason: 'unauthenticated' });
    }
  });

  test('when it has expired since the API server last looked; its expiry is handed on', async () => {
    expect(await ask({ token: inSeconds(-1), allowed: [''] })).toMatchObject({ reason: 'unauthenticated' });
    const admission = await ask({ token: inSeconds(60), allowed: [''] });
    expect(admission).toHaveProperty('expiresAtMs');
    for (const token of ['opaque', 'a.b.c', tokenOf(null), tokenOf({ exp: 'soon' })]) {
      expect(await ask({ token, allowed: [''] })).not.toHaveProperty('expiresAtMs');
    }
  });
});

describe('when the API server does not answer', () => {
  test('nobody is judged: unavailable, without the text of the failure', async () => {
    const reviewToken = (): Promise<never> => Promise.reject(new Error('forbidden: POST with secret failed'));
    const { log, lines } = capturingLogger();
    const admission = await ask({ reviewToken, token: 'secret', log });
    expect(admission).toMatchObject({ admitted: false, reason: 'unavailable' });
    expect(JSON.stringify(admission)).not.toContain('forbidden');
    expect(lines.join()).toContain('forbidden');
    expect(JSON.stringify([admission, lines])).not.toContain('secret');
  });

  test('an admission ends at its deadline, and too many at once are turned away', async () => {
    const never = (): Promise<never> => new Promise(() => undefined);
    const api: ReviewApi = { reviewToken: never, reviewAccess: never, findPod: never };
    const authenticate = createTokenAuthenticator(api, silentLogger(), { concurrency: 1, waiting: 1, deadlineMs: 50 });
    const admissions = [1, 2, 3].map(() => authenticate({ token: 't', self: { nodeId: 'n', version: '1' } }));
    expect(await admissions[2]).toMatchObject({ reason: 'unavailable', message: expect.stringContaining('too many') });
    expect(await admissions[1]).toMatchObject({ reason: 'unavailable', message: expect.stringContaining('too long') });
    expect(await admissions[0]).toMatchObject({ reason: 'unavailable' });
  });

  test('nothing is asked for a limiter that left while it waited for its turn', async () => {
    const first = Promise.withResolvers<TokenVerdict>();
    const asked: string[] = [];
    const reviewToken = (token: string): Promise<TokenVerdict> => {
      asked.push(token);
      return token === 'first' ? first.promise : Promise.resolve(SHARED);
    };
    const api: ReviewApi = { reviewToken, reviewAccess: () => Promise.resolve(true), findPod: () => POD };
    const authenticate = createTokenAuthenticator(api, silentLogger(), { concurrency: 1 });
    const self = { nodeId: 'n', version: '1' };
    const admissions = [
      authenticate({ token: 'first', self, isGone: () => false }),
      authenticate({ token: 'left', self, isGone: () => true }),
      authenticate({ token: 'waits', self, isGone: () => false }),
    ];
    first.resolve(SHARED);
    expect((await Promise.all(admissions)).map(({ admitted }) => admitted)).toEqual([true, false, true]);
    expect(asked).toEqual(['first', 'waits']);
  });
});

test('without a cluster the one token makes a shared limiter of all namespaces', async () => {
  const authenticate = createStaticAuthenticator('right');
  const self = { nodeId: 'n', version: '1' };
  expect(await authenticate({ token: 'right', self })).toMatchObject({ view: { namespaces: 'all' } });
  expect(await authenticate({ token: 'wrong', self })).toMatchObject({ reason: 'unauthenticated' });
  expect(await createStaticAuthenticator('')({ token: '', self })).toMatchObject({ admitted: false });
});
