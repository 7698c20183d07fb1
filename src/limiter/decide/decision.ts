// Limiter: the words of the request path. Each type is what one stage hands to the next; no behaviour here.
import type { FailurePolicy, LimitConfig, ResponseConfig, Target } from '../../contract/limiter-config.ts';
import type { ModelNeed } from '../request/endpoints.ts';
import type { Source } from '../request/one-value.ts';
import type { BucketState } from '../store/store.ts';

/** A request as the wire gave it, before anything is believed. Header names are lower case. */
export interface WireRequest {
  readonly method: string;
  /** Lower case, without port; '' when the client sent none. */
  readonly host: string;
  /** The path alone, normalised (no "//", no dot segments), still percent-encoded as it came otherwise. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** Headers and query parameters that have more than one value, or one that is not UTF-8: what reads one refuses. */
  readonly unclear?: ReadonlySet<Source>;
  /** The address of the TCP peer. */
  readonly peerAddress: string;
  /** From the path, the query or the body; undefined when the request names none. */
  readonly model?: string;
  /** What the body names where the path names the model. */
  readonly bodyModel?: string;
  /** Whether it must name one; absent: as the endpoint table says of its method and path. */
  readonly modelNeed?: ModelNeed;
  /** The tool of an MCP tools/call. */
  readonly tool?: string | undefined;
  /** Mcp-Session-Id, when the request carries one. */
  readonly session?: string;
}

/** Who calls, as authentication established it. A header that a caller can set is never here. */
export interface Identity {
  readonly user?: string;
  readonly application?: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  /** The peer, or the X-Forwarded-For entry that trustedHops believes. */
  readonly clientAddress: string;
}

/** What `when` and `per` look at: the request below its route's prefix, and who sent it. */
export interface RequestFacts extends WireRequest {
  readonly identity: Identity;
  /** The path below the route's prefix: what the upstream would see. */
  readonly upstreamPath: string;
}

/** Where a request goes: resolved once, before any limit. */
export interface RouteMatch {
  readonly target: Target;
  readonly ruleName: string;
  /** The path below the route's prefix. */
  readonly upstreamPath: string;
  /** The model as the object claims it; absent when the request names none. */
  readonly model?: string;
}

/** One applicable limit and the state of its bucket. */
export interface LimitOutcome {
  readonly limit: LimitConfig;
  /** Units this request takes of it. */
  readonly amount: number;
  readonly state: BucketState;
}

/** The decision on one request: a value, never an exception. `outcomes` has every applicable limit. */
export type Decision =
  | {
      readonly kind: 'allowed';
      readonly outcomes: readonly LimitOutcome[];
      /** Set when the store did not answer and this policy admitted. */
      readonly degraded?: FailurePolicy;
    }
  | {
      readonly kind: 'denied';
      /** exhausted: 429; blocked: a limit of 0, 403; too-large: can never fit, 400. */
      readonly reason: 'exhausted' | 'blocked' | 'too-large';
      readonly by: LimitOutcome;
      readonly outcomes: readonly LimitOutcome[];
    }
  | {
      /** The store did not answer, and failurePolicy Closed, or this limiter's own share, refuses: 503. */
      readonly kind: 'unavailable';
      readonly limit: LimitConfig;
      /** Of the shares that were asked. */
      readonly outcomes: readonly LimitOutcome[];
      /** The policy that refused. */
      readonly degraded: 'Closed' | 'Local';
    };

/** A reply that the limiter itself gives. */
export interface LocalReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What the rendering of a refusal needs to know of the request. */
export interface RefusalContext {
  readonly response: ResponseConfig;
  /** 'mcp' for JSON-RPC messages. */
  readonly shape: 'openai' | 'anthropic' | 'mcp' | 'problem';
  /** Source text of the JSON-RPC id that is answered (`7`, `"a"`); absent when the message has none. */
  readonly jsonRpcId?: string;
  readonly isNotification?: boolean;
  /** MCP-Protocol-Version of the request, when known: error code -32029 exists only before 2026-07-28. */
  readonly mcpProtocolVersion?: string;
  readonly requestId: string;
}
