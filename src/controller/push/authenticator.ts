// Operator, push: who a limiter is. In: its token and what it asks for; out: what it may see and until when, or why not.
import { createHash, timingSafeEqual } from 'node:crypto';
import { TOKEN_AUDIENCE, type LimiterSelf } from '../../contract/push-protocol.ts';
import type { Logger } from '../../lib/log.ts';
import { messageOf } from '../../lib/thrown.ts';
import { AdmissionQueue, type AdmissionQueueSettings } from './admission-queue.ts';
import type { Kube, TokenVerdict } from '../kube/kube-api.ts';
import type { LimiterView, PodView } from './visibility.ts';

/** What a limiter brings: its bearer token and what it says of itself. */
export interface Credentials {
  readonly token: string;
  readonly self: LimiterSelf;
  /** Whether it has left while it waited for its turn: nothing is asked for it then. */
  readonly isGone?: () => boolean;
}

/** Who a limiter is. */
export interface Admitted {
  readonly admitted: true;
  /** Stable over restarts of the same limiter, unique among limiters that differ. */
  readonly limiterId: string;
  readonly view: LimiterView;
  /** Wall-clock ms since the epoch; absent: the token does not expire. */
  readonly expiresAtMs?: number;
}

/** Why a limiter is not let in. The text is for its log; it never contains the token. */
export interface Refused {
  readonly admitted: false;
  /** unavailable: it could not be found out now; to be asked again. */
  readonly reason: 'unauthenticated' | 'denied' | 'unavailable';
  readonly message: string;
}

export type Admission = Admitted | Refused;

/** Never rejects: whatever goes wrong is a refusal. */
export type Authenticator = (credentials: Credentials) => Promise<Admission>;

/** What authentication asks. A rejected promise means: no answer. */
export interface ReviewApi extends Pick<Kube, 'reviewToken' | 'reviewAccess'> {
  /** The pod as it is now, or undefined when it is gone; a cache asks the API server for a pod that it does not know. */
  findPod(namespace: string, name: string): PodView | undefined | Promise<PodView | undefined>;
}

const GONE: Refused = { admitted: false, reason: 'unavailable', message: 'the limiter has left' };
const POD_NAME = 'authentication.kubernetes.io/pod-name';
const POD_UID = 'authentication.kubernetes.io/pod-uid';
const SERVICE_ACCOUNT = /^system:serviceaccount:([^:]+):([^:]+)$/;

/**
 * Believes ServiceAccount tokens of the audience `weir.dev`. A limiter whose token is bound to a pod, and that asks for no
 * namespaces, is the sidecar of that pod; every other one needs `get limiterconfigs.weir.dev` in all namespaces, or in each
 * that it asks for.
 */
export function createTokenAuthenticator(
  api: ReviewApi,
  log: Logger,
  settings: AdmissionQueueSettings = {},
): Authenticator {
  const queue = new AdmissionQueue(settings);
  return async (credentials) => {
    try {
      return await queue.run(() => (credentials.isGone?.() === true ? Promise.resolve(GONE) : admit(api, credentials)));
    } catch (error) {
      const reason = messageOf(error).replaceAll(credentials.token, '<token>');
      log.error('limiter could not be authenticated', { reason });
      if (queue.isOwn(error)) return refuse('unavailable', error.message);
      return refuse('unavailable', 'the API server does not answer token and access reviews; try again');
    }
  };
}

/** For use without a cluster: whoever has the token is a shared limiter of all namespaces. */
export function createStaticAuthenticator(token: string): Authenticator {
  const expected = digest(token);
  return ({ token: given, self }) =>
    Promise.resolve(
      token !== '' && timingSafeEqual(expected, digest(given))
        ? { admitted: true, limiterId: `shared/${self.nodeId}`, view: { kind: 'shared', namespaces: 'all' } }
        : refuse('unauthenticated', 'the token is not the one of this operator'),
    );
}

async function admit(api: ReviewApi, { token, self }: Credentials): Promise<Admission> {
  const verdict = await api.reviewToken(token, [TOKEN_AUDIENCE]);
  if (!verdict.authenticated || !verdict.audiences.includes(TOKEN_AUDIENCE)) {
    return refuse('unauthenticated', `the token is not valid for the audience ${TOKEN_AUDIENCE}, or it has expired`);
  }
  const expiresAtMs = expiryOf(token);
  if (expiresAtMs !== undefined && expiresAtMs <= Date.now()) return refuse('unauthenticated', 'the token has expired');
  const expiry = expiresAtMs === undefined ? {} : { expiresAtMs };
  const pod = await podOf(api, verdict);
  if (pod === 'gone') return refuse('unauthenticated', 'the pod that the token is bound to is gone');
  if (pod !== undefined && self.namespaces === undefined) {
    return { admitted: true, limiterId: `pod/${pod.uid}`, view: { kind: 'pod', pod }, ...expiry };
  }
  return authorise(api, verdict, self, { ...expiry, ...(pod === undefined ? {} : { pod }) });
}

/** undefined: the token is bound to no pod. A pod of the same name with another UID is another pod. */
async function podOf(api: ReviewApi, verdict: TokenVerdict): Promise<PodView | 'gone' | undefined> {
  const name = verdict.extra[POD_NAME]?.[0];
  if (name === undefined) return undefined;
  const namespace = SERVICE_ACCOUNT.exec(verdict.username)?.[1];
  if (namespace === undefined) return 'gone';
  const pod = await api.findPod(namespace, name);
  return pod === undefined || pod.uid !== verdict.extra[POD_UID]?.[0] ? 'gone' : pod;
}

async function authorise(
  api: ReviewApi,
  verdict: TokenVerdict,
  self: LimiterSelf,
  rest: { readonly expiresAtMs?: number; readonly pod?: PodView },
): Promise<Admission> {
  const { expiresAtMs, pod } = rest;
  const wanted = [...new Set(self.namespaces ?? ['*'])];
  const isAll = wanted.includes('*');
  const missing = await firstDenied(api, verdict, isAll ? [''] : wanted);
  if (missing !== undefined) {
    const where = missing === '' ? 'all namespaces' : `namespace ${missing}`;
    return refuse('denied', `${verdict.username} may not get limiterconfigs.weir.dev in ${where}`);
  }
  return {
    admitted: true,
    limiterId: `shared/${verdict.username}/${self.nodeId}`,
    view: { kind: 'shared', namespaces: isAll ? 'all' : wanted, ...(pod === undefined ? {} : { pod }) },
    ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
  };
}

/** Who may read all namespaces may read each: one question is enough then. */
async function firstDenied(
  api: ReviewApi,
  verdict: TokenVerdict,
  namespaces: readonly string[],
): Promise<string | undefined> {
  const mayGet = (namespace: string): Promise<boolean> =>
    api.reviewAccess({
      username: verdict.username,
      groups: verdict.groups,
      extra: verdict.extra,
      verb: 'get',
      group: 'weir.dev',
      resource: 'limiterconfigs',
      namespace,
    });
  if (await mayGet('')) return undefined;
  for (const namespace of namespaces) if (namespace === '' || !(await mayGet(namespace))) return namespace;
  return undefined;
}

/** The `exp` claim of a token that was reviewed already: its signature is not looked at here. */
function expiryOf(token: string): number | undefined {
  try {
    const claims: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
    const exp = typeof claims === 'object' && claims !== null && 'exp' in claims ? claims.exp : undefined;
    return typeof exp === 'number' && Number.isFinite(exp) ? exp * 1000 : undefined;
  } catch {
    return undefined;
  }
}

function refuse(reason: Refused['reason'], message: string): Refused {
  return { admitted: false, reason, message };
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
