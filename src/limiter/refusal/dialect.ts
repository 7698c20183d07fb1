// Limiter, refuse stage: what a dialect knows. One file per dialect fills this in; dialects.ts has them in order. Types
// alone.
import type { HeaderFamily } from '../../contract/limiter-config.ts';
import type { RefusalContext, WireRequest } from '../decide/decision.ts';
import type { EndpointDialect } from '../request/endpoints.ts';
import type { Refusal, ReplyHeaders } from './refusal.ts';

/** What tells the dialect of a request. */
export interface DialectSigns extends Pick<WireRequest, 'headers'> {
  /** The body is a JSON-RPC message. */
  readonly isJsonRpc: boolean;
  /** Of its path; undefined: no endpoint of a model server. */
  readonly endpoint: EndpointDialect | undefined;
}

/** A refusal as its body says it. */
export interface DialectBody {
  /** The refusal's own, except where a client drops bodies of errors. */
  readonly status: number;
  /** '': none. */
  readonly body: string;
}

/** One dialect of errors. All functions are pure. */
export interface RefusalDialect {
  readonly id: RefusalContext['shape'];
  readonly contentType: string;
  /** The rate limit headers that its clients read, where the object names no others. */
  readonly family: HeaderFamily;
  /** Whether the client of a request reads this dialect. */
  detects(signs: DialectSigns): boolean;
  body(refusal: Refusal, context: RefusalContext): DialectBody;
  /** Headers of this dialect alone. @param requestId safe for a header */
  headers(requestId: string): ReplyHeaders;
  /** The last event of a stream of server-sent events that has begun and cannot go on. */
  streamError(refusal: Refusal, context: RefusalContext): string;
}
