// An operator that does only what a test tells it: gRPC over TLS on loopback, one answer per call of the test.
import { Server, ServerCredentials, status, type ServerDuplexStream } from '@grpc/grpc-js';
import {
  LIMITER_CONFIG_TYPE_URL,
  loadPushProtocol,
  type DeltaDiscoveryRequest,
  type DeltaDiscoveryResponse,
} from '../../../src/contract/push-protocol.ts';
import type { VersionedResource } from '../../../src/contract/snapshot.ts';
import { waitFor } from '../../../tools/node-cluster/wait.ts';
import type { PushCertificates } from '../../contract/push-certificates.ts';

type Call = ServerDuplexStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;

/** One stream of a limiter, as the operator sees it. */
export class SeenStream {
  readonly token: string;
  readonly requests: DeltaDiscoveryRequest[] = [];
  isOver = false;
  readonly #call: Call;
  #read = 0;
  #nonce = 0;

  constructor(call: Call) {
    this.#call = call;
    this.token = String(call.metadata.get('authorization')[0]);
    call.on('data', (request: DeltaDiscoveryRequest) => this.requests.push(request));
    call.on('end', () => {
      call.end();
    });
    for (const event of ['end', 'cancelled', 'close', 'error']) call.on(event, () => (this.isOver = true));
  }

  async next(): Promise<DeltaDiscoveryRequest> {
    const request = await waitFor('a request', () => this.requests[this.#read], { deadlineMs: 5_000, everyMs: 5 });
    this.#read += 1;
    return request;
  }

  /** Sends resources and removals; what the limiter answers is the next request. */
  async push(
    resources: readonly VersionedResource[],
    more: Partial<DeltaDiscoveryResponse> = {},
  ): Promise<DeltaDiscoveryRequest> {
    this.#nonce += 1;
    const nonce = String(this.#nonce);
    const { encode } = loadPushProtocol();
    this.#call.write({
      type_url: LIMITER_CONFIG_TYPE_URL,
      nonce,
      resources: resources.map(encode),
      removed_resources: [],
      ...more,
    });
    const answer = await this.next();
    if (answer.response_nonce !== nonce) throw new Error(`answered ${answer.response_nonce ?? ''} instead of ${nonce}`);
    return answer;
  }

  end(code: status, details = 'told to'): void {
    if (code === status.OK) this.#call.end();
    else this.#call.emit('error', { code, details });
  }
}

export interface ScriptedOperator {
  readonly port: number;
  readonly streams: SeenStream[];
  /** The stream of this index, as soon as it is there. */
  stream(index: number): Promise<SeenStream>;
  /** Ends at once, as kill -9 does. */
  kill(): void;
}

export async function startScriptedOperator({ tls }: PushCertificates, port = 0): Promise<ScriptedOperator> {
  const streams: SeenStream[] = [];
  const server = new Server();
  server.addService(
    { delta: loadPushProtocol().method },
    {
      delta: (call: Call) => {
        streams.push(new SeenStream(call));
      },
    },
  );
  const pair = { cert_chain: Buffer.from(tls.cert), private_key: Buffer.from(tls.key) };
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createSsl(null, [pair]), (error, result) => {
      if (error === null) resolve(result);
      else reject(error);
    });
  });
  return {
    port: bound,
    streams,
    stream: (index) => waitFor(`stream ${index}`, () => streams[index], { deadlineMs: 5_000, everyMs: 5 }),
    kill: () => {
      server.forceShutdown();
    },
  };
}
