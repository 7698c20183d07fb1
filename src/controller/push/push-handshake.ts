// Controller, push: the first moments of a stream. In: a gRPC call; out: an admitted limiter with its first request, or
// a refusal. Nothing is answered before it is known who asks.
import { status, type ServerDuplexStream } from '@grpc/grpc-js';
import {
  fromNode,
  LIMITER_CONFIG_TYPE_URL,
  WILDCARD,
  type DeltaDiscoveryRequest,
  type DeltaDiscoveryResponse,
} from '../../contract/push-protocol.ts';
import type { Admitted, Authenticator, Refused } from './authenticator.ts';

export type PushCall = ServerDuplexStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;

/** How a stream begins. */
export type Greeting =
  | {
      readonly kind: 'admitted';
      readonly who: Admitted;
      readonly held: ReadonlyMap<string, string>;
      readonly version: string;
      readonly features: readonly string[];
    }
  | {
      readonly kind: 'refused';
      readonly code: status;
      readonly message: string;
      /** Namespaces of the limiter, when this operator watches none of them. */
      readonly unwatched?: readonly string[];
    };

const REFUSAL_CODES: Readonly<Record<Refused['reason'], status>> = {
  unauthenticated: status.UNAUTHENTICATED,
  denied: status.PERMISSION_DENIED,
  unavailable: status.UNAVAILABLE,
};
/** Longest node id, in characters. */
const MAX_NODE_ID = 253;
/** Most namespaces that a limiter may ask for one by one; more are asked for with "*". */
const MAX_NAMESPACES = 1_000;

const ENDS = ['end', 'cancelled', 'close'];

/** Reads token and first request of a call and asks who it is. The call is paused when this resolves. Never rejects. */
export async function greet(call: PushCall, authenticate: Authenticator, firstRequestMs: number): Promise<Greeting> {
  const token = bearerToken(call);
  if (token === undefined) return refuse(status.UNAUTHENTICATED, 'send a token: "authorization: Bearer <token>"');
  const first = await firstRequest(call, firstRequestMs);
  if (first === undefined) return refuse(status.DEADLINE_EXCEEDED, 'the first request did not arrive in time');
  const complaint = complaintOf(first);
  if (complaint !== undefined) return refuse(status.INVALID_ARGUMENT, complaint);
  const self = fromNode(first.node);
  const admission = await authenticate({ token, self, isGone: () => call.cancelled });
  if (!admission.admitted) {
    const { reason, message, unwatched = [] } = admission;
    return { kind: 'refused', code: REFUSAL_CODES[reason], message, unwatched };
  }
  const held = new Map(Object.entries(first.initial_resource_versions ?? {}));
  const { version, features = [] } = self;
  return { kind: 'admitted', who: admission, held, version: version.slice(0, 64), features };
}

function bearerToken(call: PushCall): string | undefined {
  const [value] = call.metadata.get('authorization');
  return /^Bearer +(\S+) *$/i.exec(String(value ?? ''))?.[1];
}

function firstRequest(call: PushCall, withinMs: number): Promise<DeltaDiscoveryRequest | undefined> {
  return new Promise((resolve) => {
    const settle = (request?: DeltaDiscoveryRequest): void => {
      clearTimeout(timer);
      call.pause();
      call.off('data', settle);
      for (const event of ENDS) call.off(event, giveUp);
      resolve(request);
    };
    const giveUp = (): void => {
      settle();
    };
    const timer = setTimeout(giveUp, withinMs);
    for (const event of ENDS) call.once(event, giveUp);
    call.once('data', settle);
  });
}

function complaintOf(request: DeltaDiscoveryRequest): string | undefined {
  const { nodeId, namespaces = [] } = fromNode(request.node);
  if (request.type_url !== LIMITER_CONFIG_TYPE_URL)
    return `only resources of type ${LIMITER_CONFIG_TYPE_URL} are served`;
  if ((request.resource_names_subscribe ?? []).some((name) => name !== WILDCARD)) {
    return `only the wildcard subscription "${WILDCARD}" is served`;
  }
  if (nodeId === '' || nodeId.length > MAX_NODE_ID) return `node.id must have 1 to ${MAX_NODE_ID} characters`;
  return namespaces.length > MAX_NAMESPACES ? `request at most ${MAX_NAMESPACES} namespaces, or "*"` : undefined;
}

function refuse(code: status, message: string): Greeting {
  return { kind: 'refused', code, message };
}
