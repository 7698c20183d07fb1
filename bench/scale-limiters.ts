// The limiters of bench/scale.ts, many in one process: each a stream of its own that acknowledges at once and keeps
// names alone. In: one message with port, CA and tokens; out: a message per second of progress and one per ACK that
// may belong to an edit.
import { Client, Metadata } from '@grpc/grpc-js';
import {
  LIMITER_CONFIG_TYPE_URL,
  loadPushProtocol,
  toNode,
  WILDCARD,
  type DeltaDiscoveryResponse,
} from '../src/contract/push-protocol.ts';
import { OperatorCredentials } from '../src/limiter/config/operator-credentials.ts';

export interface LightLimiter {
  readonly nodeId: string;
  readonly token: string;
  /** Of a shared limiter. */
  readonly namespaces?: readonly string[];
}

export interface FleetOrder {
  readonly port: number;
  readonly ca: string;
  readonly limiters: readonly LightLimiter[];
}

/** Objects held over all limiters of the process, and the ACKs since the last message. */
export interface FleetNews {
  readonly held: number;
  readonly connected: number;
  readonly acks: readonly { readonly name: string; readonly atMs: number }[];
}

/**
 * As limiters do it: doubled each time until one was served, or a thousand of them would leave no CPU to a starting
 * operator.
 */
const RETRY_MS = 200;
const MAX_RETRY_MS = 5_000;
/** A response with no more than this may be of an edit; each ACK of it is told. */
const FEW = 4;
const SETTLED_MS = 100;

let held = 0;
let connected = 0;
let acks: { name: string; atMs: number }[] = [];
let timer: NodeJS.Timeout | undefined;

/** On the clock that all processes of a machine share. */
function nowMs(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}

function tell(afterMs: number): void {
  timer ??= setTimeout(() => {
    timer = undefined;
    process.send?.({ held, connected, acks } satisfies FleetNews);
    acks = [];
  }, afterMs);
}

function open(order: FleetOrder, limiter: LightLimiter, retryMs = RETRY_MS): void {
  const { nodeId, token, namespaces } = limiter;
  const names = new Set<string>();
  const { path, requestSerialize, responseDeserialize } = loadPushProtocol().method;
  const client = new Client(
    `dns:localhost:${order.port}`,
    new OperatorCredentials(Buffer.from(order.ca), 'localhost'),
    {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_channelz': 0,
      'grpc.max_receive_message_length': -1,
    },
  );
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  const stream = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, metadata);
  let isOpen = false;
  stream.on('data', ({ nonce, resources, removed_resources: removed }: DeltaDiscoveryResponse) => {
    stream.write({ type_url: LIMITER_CONFIG_TYPE_URL, response_nonce: nonce });
    const atMs = nowMs();
    if (!isOpen) connected += 1;
    isOpen = true;
    held -= names.size;
    for (const { name } of resources) if (!name.startsWith('Fleet/')) names.add(name);
    for (const name of removed) names.delete(name);
    held += names.size;
    if (resources.length <= FEW) acks.push(...resources.map(({ name }) => ({ name, atMs })));
    tell(resources.length <= FEW ? 0 : SETTLED_MS);
  });
  stream.on('error', () => undefined);
  stream.on('status', () => {
    client.close();
    held -= names.size;
    if (isOpen) connected -= 1;
    tell(SETTLED_MS);
    const nextMs = isOpen ? RETRY_MS : Math.min(retryMs * 2, MAX_RETRY_MS);
    setTimeout(open, nextMs * (0.5 + Math.random() / 2), order, limiter, nextMs);
  });
  const self = { nodeId, version: 'bench', ...(namespaces === undefined ? {} : { namespaces }) };
  stream.write({ node: toNode(self), type_url: LIMITER_CONFIG_TYPE_URL, resource_names_subscribe: [WILDCARD] });
}

process.on('message', (order: FleetOrder) => {
  for (const limiter of order.limiters) open(order, limiter);
});
