// Limiter, record: what is known of one request once it has ended. In: what the stages note as they go; out: one
// RequestRecord per request, for every observer. Nothing else counts requests.
import { createHmac, randomBytes } from 'node:crypto';
import type { ErrorName } from '../../lib/errors.ts';
import type { Decision, Identity } from '../decide/decision.ts';
import { endpointOf } from '../request/endpoints.ts';

/**
 * What became of a request in routing. `object`: one takes it. `forwarded`: no object claims it, and a sidecar passed
 * it on. `invalid`: it was refused before it was known where it belongs.
 */
export type Placing = 'object' | 'forwarded' | 'not_found' | 'unconfigured_passed' | 'unconfigured_refused' | 'invalid';

/**
 * How a request ended. `answered`: with the whole answer of the upstream. `refused`: with an answer of the limiter.
 * `cut`: the answer broke off after its head. `client_left`: before its answer was complete. `upgraded`: the connection
 * changed to another protocol.
 */
export type RequestEnding = 'answered' | 'refused' | 'cut' | 'client_left' | 'upgraded';

/** How the answer of an upstream ended; `status` is absent when none came. */
export interface AnswerEnd {
  readonly status?: number;
  readonly ending: Exclude<RequestEnding, 'refused'>;
}

/** Callers by keyed hashes: the same caller has the same text for as long as the process runs. */
export interface HashedCaller {
  readonly user?: string;
  readonly application?: string;
}

/** One request that has ended. Absent means: not known. */
export interface RequestRecord {
  readonly requestId: string;
  readonly placing: Placing;
  /** Resource name. */
  readonly object?: string;
  /** An id of the endpoint table, or `other`. */
  readonly endpoint: string;
  readonly who: HashedCaller | undefined;
  readonly decision?: Decision;
  /** What deciding took, the store included. */
  readonly decisionMs?: number;
  readonly ending: RequestEnding;
  /** Absent: no answer began. */
  readonly status?: number;
  readonly source?: 'limiter' | 'upstream';
  /** The error that the limiter answered with; absent for refusals of limits. */
  readonly code?: ErrorName;
  readonly durationMs: number;
  /** The model of a request that no route claims, where routes claim models. */
  readonly unclaimedModel?: string;
  readonly inputTokens?: number;
  readonly outputTokens?: number;
}

export type RecordObserver = (record: RequestRecord) => void;

/** What the exchange knows of a request at its end. */
export interface RequestEnd {
  readonly requestId: string;
  readonly object: string | undefined;
  readonly method: string;
  readonly path: string;
  readonly durationMs: number;
}

const HASH_KEY = randomBytes(32);
const HASH_DIGITS = 16;

/** What the stages learn of one request. */
export class RequestNotes {
  placing: Placing | undefined;
  identity: Identity | undefined;
  unclaimedModel: string | undefined;
  #decided: Pick<RequestRecord, 'decision' | 'decisionMs'> = {};
  #ended: Pick<RequestRecord, 'ending' | 'status' | 'source' | 'code'> = { ending: 'client_left' };

  decided(decision: Decision, decisionMs: number): void {
    this.#decided = { decision, decisionMs };
  }

  /** The upstream answered, or the client left before it did. */
  answered({ status, ending }: AnswerEnd): void {
    this.#ended = status === undefined ? { ending } : { ending, status, source: 'upstream' };
  }

  /** The limiter answers. */
  refused(status: number, ending: RequestEnding): void {
    const { code } = this.#ended;
    this.#ended = { ending, status, source: 'limiter', ...(code === undefined ? {} : { code }) };
  }

  /** The limiter is about to answer with an error of the table. */
  failed(code: ErrorName): void {
    this.#ended = { ...this.#ended, code };
  }

  /** @returns a record whose `endpoint` and `who` are computed when they are read */
  record({ requestId, object, method, path, durationMs }: RequestEnd): RequestRecord {
    const { identity, unclaimedModel } = this;
    return {
      requestId,
      placing: this.placing ?? (object === undefined ? 'invalid' : 'object'),
      ...(object === undefined ? {} : { object }),
      get endpoint() {
        return endpointOf(method, path)?.endpoint.id ?? 'other';
      },
      get who() {
        return identity === undefined ? undefined : callerOf(identity);
      },
      ...this.#decided,
      ...this.#ended,
      durationMs,
      ...(unclaimedModel === undefined ? {} : { unclaimedModel }),
    };
  }
}

function callerOf({ user, application }: Identity): HashedCaller | undefined {
  if (user === undefined && application === undefined) return undefined;
  return {
    ...(user === undefined ? {} : { user: hashOf(user) }),
    ...(application === undefined ? {} : { application: hashOf(application) }),
  };
}

function hashOf(name: string): string {
  return createHmac('sha256', HASH_KEY).update(name).digest('hex').slice(0, HASH_DIGITS);
}
