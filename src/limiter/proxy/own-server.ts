// Limiter, proxy: connections to the server of a sidecar's own pod for what nobody claims. In: a client's request;
// out: the same request, opened on a connection that belongs to this client's connection alone, as if there were no
// sidecar.
import {
  Agent,
  request as httpRequest,
  type ClientRequest,
  type ClientRequestArgs,
  type IncomingMessage,
} from 'node:http';
import { Agent as TlsAgent, request as httpsRequest } from 'node:https';
import type { Socket, TcpNetConnectOpts } from 'node:net';
import { WeirError } from '../../lib/errors.ts';
import { PatientSocket } from '../../lib/http/patient-socket.ts';
import { wireRequestHeaders } from './wire-headers.ts';

export interface OwnServerOptions {
  readonly url: string;
  readonly connectTimeoutMs: number;
  /** How long an unused connection is kept; servers close theirs after 5 s and more. */
  readonly idleTimeoutMs: number;
}

/** The own server's answers may have larger headers than requests: it is trusted. */
const MAX_ANSWER_HEADERS = 1024 * 1024;

/** Connections on which an early answer is not lost to a write that fails. */
class PatientAgent extends Agent {
  override createConnection(options: ClientRequestArgs): PatientSocket {
    return PatientSocket.connect(options as TcpNetConnectOpts);
  }
}

export class OwnServer {
  readonly #options: OwnServerOptions;
  readonly #url: URL;
  readonly #basePath: string;
  readonly #agents = new WeakMap<Socket, Agent>();

  constructor(options: OwnServerOptions) {
    this.#options = options;
    this.#url = new URL(options.url);
    this.#basePath = this.#url.pathname === '/' ? '' : this.#url.pathname.replace(/\/$/, '');
  }

  /**
   * Opens the request that goes on: target and headers as sent. Nothing of its body is sent.
   * @param keepsExpect false: the client was already asked for its body
   * @throws Error for a head that cannot be sent on
   */
  open(request: IncomingMessage, keepsExpect: boolean): ClientRequest {
    const { method = 'GET', url = '/', rawHeaders, socket } = request;
    const send = this.#url.protocol === 'https:' ? httpsRequest : httpRequest;
    const upstream = send({
      host: this.#url.hostname.replace(/^\[(.*)\]$/, '$1'),
      port: this.#url.port,
      method,
      path: url.startsWith('/') ? `${this.#basePath}${url}` : url,
      headers: wireRequestHeaders({ method, rawHeaders, host: this.#url.host, keepsExpect }),
      agent: this.#agentOf(socket),
      maxHeaderSize: MAX_ANSWER_HEADERS,
    });
    upstream.maxHeadersCount = 0;
    upstream.once('socket', (connection) => {
      this.#boundConnect(connection);
    });
    return upstream;
  }

  #agentOf(client: Socket): Agent {
    let agent = this.#agents.get(client);
    if (agent === undefined) {
      const options = { keepAlive: true, maxSockets: 1, timeout: this.#options.idleTimeoutMs };
      agent = this.#url.protocol === 'https:' ? new TlsAgent(options) : new PatientAgent(options);
      const made = agent;
      client.once('close', () => {
        made.destroy();
      });
      this.#agents.set(client, agent);
    }
    return agent;
  }

  #boundConnect(connection: Socket): void {
    if (!connection.connecting) return;
    const timer = setTimeout(() => {
      connection.destroy(new WeirError('upstream_timeout', 'the upstream does not accept connections'));
    }, this.#options.connectTimeoutMs);
    for (const event of ['connect', 'close']) {
      connection.once(event, () => {
        clearTimeout(timer);
      });
    }
  }
}
