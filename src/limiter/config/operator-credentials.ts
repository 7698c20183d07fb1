// Limiter: TLS of the connection to the operator. Input: the CA and the name that the certificate must have; output:
// channel credentials for one gRPC client, which dial nothing once that client is closed.
import { ChannelCredentials } from '@grpc/grpc-js';
import { checkServerIdentity } from 'node:tls';

type Create = ChannelCredentials['_createSecureConnector'];
type Connector = ReturnType<Create>;

/**
 * A gRPC client (grpc-js 1.14) that is closed after it failed to connect tries once more when its own pause is over,
 * and keeps that connection. One that looks for an operator again and again would have many when it is back, of which
 * the operator holds each for half a minute: so what a closed client asks before it dials is answered with an error.
 */
export class OperatorCredentials extends ChannelCredentials {
  readonly #tls: ChannelCredentials;

  /** `ca`: PEM. `serverName` is what the certificate is checked against, whatever name was sent. */
  constructor(ca: Buffer, serverName: string) {
    super();
    this.#tls = ChannelCredentials.createSsl(ca, null, null, {
      checkServerIdentity: (_sent, certificate) => checkServerIdentity(serverName, certificate),
    });
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(...given: Parameters<Create>): Connector {
    const connector = this.#tls._createSecureConnector(...given);
    let isClosed = false;
    return {
      connect: (socket) => connector.connect(socket),
      getCallCredentials: () => connector.getCallCredentials(),
      waitForReady: () => (isClosed ? Promise.reject(new Error('the client is closed')) : connector.waitForReady()),
      destroy: () => {
        isClosed = true;
        connector.destroy();
      },
    };
  }
}
