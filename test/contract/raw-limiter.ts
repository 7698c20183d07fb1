// A limiter that does only what a test tells it: one stream over TLS, every response and the end of it kept.
import { Client, credentials, Metadata, type ClientDuplexStream, type StatusObject } from '@grpc/grpc-js';
import {
  GOODBYE,
  LIMITER_CONFIG_TYPE_URL,
  loadPushProtocol,
  toNode,
  type DeltaDiscoveryRequest,
  type DeltaDiscoveryResponse,
  type LimiterSelf,
} from '../../src/contract/push-protocol.ts';
import { waitFor } from '../../tools/node-cluster/wait.ts';

export interface RawLimiterOptions {
  readonly port: number;
  readonly ca: string;
  /** Absent: no authorization header. */
  readonly token?: string;
}

export class RawLimiter {
  readonly responses: DeltaDiscoveryResponse[] = [];
  ended: StatusObject | undefined;
  readonly #client: Client;
  readonly #stream: ClientDuplexStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;
  #read = 0;

  constructor({ port, ca, token }: RawLimiterOptions) {
    this.#client = new Client(`dns:localhost:${port}`, credentials.createSsl(Buffer.from(ca)), {
      'grpc.use_local_subchannel_pool': 1,
    });
    const { path, requestSerialize, responseDeserialize } = loadPushProtocol().method;
    const metadata = new Metadata();
    if (token !== undefined) metadata.set('authorization', `Bearer ${token}`);
    this.#stream = this.#client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, metadata);
    this.#stream.on('data', (response: DeltaDiscoveryResponse) => this.responses.push(response));
    this.#stream.on('error', () => undefined);
    this.#stream.on('status', (ended: StatusObject) => (this.ended = ended));
  }

  send(request: DeltaDiscoveryRequest): void {
    this.#stream.write(request);
  }

  subscribe(self: Partial<LimiterSelf> = {}, more: Partial<DeltaDiscoveryRequest> = {}): this {
    const node = toNode({ nodeId: 'raw', version: 'test', ...self });
    this.send({ node, type_url: LIMITER_CONFIG_TYPE_URL, resource_names_subscribe: ['*'], ...more });
    return this;
  }

  ack({ nonce }: DeltaDiscoveryResponse, refusal?: string): void {
    const detail = refusal === undefined ? {} : { error_detail: { code: 3, message: refusal } };
    this.send({ type_url: LIMITER_CONFIG_TYPE_URL, response_nonce: nonce, ...detail });
  }

  /** Acknowledges every response as it comes. */
  ackAll(): void {
    this.#stream.on('data', (response: DeltaDiscoveryResponse) => {
      this.ack(response);
    });
  }

  /** The next response that was not taken yet. */
  async next(deadlineMs = 5_000): Promise<DeltaDiscoveryResponse> {
    const response = await waitFor('a response', () => this.responses[this.#read], { deadlineMs, everyMs: 5 });
    this.#read += 1;
    return response;
  }

  async end(deadlineMs = 5_000): Promise<StatusObject> {
    return waitFor('the end of the stream', () => this.ended, { deadlineMs, everyMs: 5 });
  }

  /** Says that it leaves, as a limiter on SIGTERM does. */
  goodbye(): void {
    this.#stream.write(GOODBYE);
    this.#stream.end();
  }

  /** Cuts the connection. */
  close(): void {
    this.#stream.cancel();
    this.#client.close();
  }
}
