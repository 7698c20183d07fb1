// Controller, push: who a limiter is. In: its token and what it asks for; out: what it may see and until when, or why
// not.
import { createHash, timingSafeEqual } from 'node:crypto';
import { TOKEN_AUDIENCE, type LimiterSelf } from '../../contract/push-protocol.ts';
import type { Logger } from '../../lib/log.ts';
import { messageOf } from '../../lib/thrown.ts';
import { AdmissionQueue, type AdmissionQueueSettings } from './admission-queue.ts';
import type { Kube, TokenVerdict } from '../kube/kube-api.ts';
import { namesOf } from '../../reconcile/names.ts';
import type { LimiterView, PodView } from './visibility.ts';

/** What a limiter brings: its bearer token and what it says of itself. */
export interface LimiterCredentials {
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
  /** It is of these namespaces, and this operator watches none of them. */
  readonly unwatched?: readonly string[];
}

export type AdmissionResult = Admitted | Refused;

/** Never rejects: whatever goes wrong is a refusal. */
export type Authenticator = (credentials: LimiterCredentials) => Promise<AdmissionResult>;

/** What authentication asks. A rejected promise means: no answer. */
export interface ReviewApi extends Pick<Kube, 'reviewToken' | 'reviewAccess'> {
  /** Namespaces that this operator watches; absent or empty: all. */
  readonly watched?: readonly string[];
  /**
   * The pod as it is now, or undefined when it is gone; a cache asks the API server for a pod that it does not know.
   */
  findPod(namespace: string, name: string): PodView | undefined | Promise<PodView | undefined>;
}

/** Tokens whose refusal is remembered. */
const MOST_REMEMBERED = 10_000;

const GONE: Refused = { admitted: false, reason: 'unavailable', message: 'the limiter has left' };
const POD_NAME = 'authentication.kubernetes.io/pod-name';
const POD_UID = 'authentication.kubernetes.io/pod-uid';
const SERVICE_ACCOUNT = /^system:serviceaccount:([^:]+):([^:]+)$/;

/**
 * Believes ServiceAccount tokens of the audience `weir.dev`. A limiter whose token is bound to a pod, and that asks
 * for no namespaces, is the sidecar of that pod; every other one needs `get limiterconfigs.weir.dev` in all
 * namespaces, or in each that it asks for.
 */
export function createTokenAuthenticator(
  api: ReviewApi,
  log: Logger,
  settings: AdmissionQueueSettings = {},
): Authenticator {
  const queue = new AdmissionQueue(settings);
  const unwatched = new Map<string, Refused>();
  return async (credentials) => {
    const key = digest(credentials.token).toString('base64');
    const known = unwatched.get(key);
    if (known !== undefined && credentials.self.namespaces === undefined) return known;
    try {
      const admission = await queue.run(() =>
        credentials.isGone?.() === true ? Promise.resolve(GONE) : admit(api, credentials),
      );
      // Who is not served comes again every few seconds; the answer to its token stays the same.
      if (isUnwatched(admission)) remember(unwatched, key, admission);
      return admission;
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

async function admit(api: ReviewApi, { token, self }: LimiterCredentials): Promise<AdmissionResult> {
  const verdict = await api.reviewToken(token, [TOKEN_AUDIENCE]);
  const expiresAtMs = expiryOf(token);
  const refusal = unbelieved(verdict, expiresAtMs) ?? unserved(api, verdict, self);
  if (refusal !== undefined) return refusal;
  const expiry = expiresAtMs === undefined ? {} : { expiresAtMs };
  const pod = await podOf(api, verdict);
  if (pod === 'gone') return refuse('unauthenticated', 'the pod that the token is bound to is gone');
  if (pod !== undefined && self.namespaces === undefined) {
    return { admitted: true, limiterId: `pod/${pod.uid}`, view: { kind: 'pod', pod }, ...expiry };
  }
  return authorise(api, verdict, self, { ...expiry, ...(pod === undefined ? {} : { pod }) });
}

function unbelieved(verdict: TokenVerdict, expiresAtMs: number | undefined): Refused | undefined {
  if (!verdict.authenticated || !verdict.audiences.includes(TOKEN_AUDIENCE)) {
    return refuse('unauthenticated', `the token is not valid for the audience ${TOKEN_AUDIENCE}, or it has expired`);
  }
  if (expiresAtMs === undefined || expiresAtMs > Date.now()) return undefined;
  return refuse('unauthenticated', 'the token has expired');
}

/**
 * A limiter is refused when none of its namespaces is watched; a shared one of several, some of them watched, is
 * served those.
 */
function unserved({ watched = [] }: ReviewApi, verdict: TokenVerdict, self: LimiterSelf): Refused | undefined {
  const own = self.namespaces === undefined && verdict.extra[POD_NAME] !== undefined ? namespaceOf(verdict) : undefined;
  const wanted = own === undefined ? (self.namespaces ?? ['*']) : [own];
  if (watched.length === 0 || wanted.some((namespace) => namespace === '*' || watched.includes(namespace))) {
    return undefined;
  }
  return refuseUnwatched(wanted, watched);
}

function refuseUnwatched(unwatched: readonly string[], watched: readonly string[]): Refused {
  const which =
    unwatched.length === 1 ? `namespace ${String(unwatched[0])} is` : `namespaces ${namesOf(unwatched)} are`;
  const message = `${which} not watched by this operator (it watches ${namesOf(watched)}): the limiter keeps its last config; add it to watchNamespaces (--namespace) to follow edits`;
  return { ...refuse('denied', message), unwatched };
}

function namespaceOf({ username }: TokenVerdict): string | undefined {
  return SERVICE_ACCOUNT.exec(username)?.[1];
}

/** undefined: the token is bound to no pod. A pod of the same name with another UID is another pod. */
async function podOf(api: ReviewApi, verdict: TokenVerdict): Promise<PodView | 'gone' | undefined> {
  const name = verdict.extra[POD_NAME]?.[0];
  if (name === undefined) return undefined;
  const namespace = namespaceOf(verdict);
  if (namespace === undefined) return 'gone';
  const pod = await api.findPod(namespace, name);
  return pod === undefined || pod.uid !== verdict.extra[POD_UID]?.[0] ? 'gone' : pod;
}

async function authorise(
  api: ReviewApi,
  verdict: TokenVerdict,
  self: LimiterSelf,
  rest: { readonly expiresAtMs?: number; readonly pod?: PodView },
): Promise<AdmissionResult> {
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

function isUnwatched(admission: AdmissionResult): admission is Refused {
  return !admission.admitted && admission.unwatched !== undefined;
}

/** The oldest goes when there are too many. */
function remember(refusals: Map<string, Refused>, key: string, refusal: Refused): void {
  refusals.set(key, refusal);
  const [oldest] = refusals.keys();
  if (refusals.size > MOST_REMEMBERED && oldest !== undefined) refusals.delete(oldest);
}

function refuse(reason: Refused['reason'], message: string): Refused {
  return { admitted: false, reason, message };
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
