// Controller, push: the certificate of the push port. In: PEM; out: gRPC server credentials whose certificate can be
// replaced.
import { ServerCredentials } from '@grpc/grpc-js';

/** A certificate chain and its key, PEM. */
export interface TlsPair {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
}

const HANDSHAKE_TIMEOUT_MS = 10_000;

/** TLS 1.2 or later. Streams that are there keep their certificate; new connections get the latest. */
export class ReplaceableCredentials extends ServerCredentials {
  /** @throws Error at the first connection when the pair does not fit together. */
  constructor(pair: TlsPair) {
    super({ minVersion: 'TLSv1.2', handshakeTimeout: HANDSHAKE_TIMEOUT_MS }, { cert: pair.cert, key: pair.key });
  }

  replace(pair: TlsPair): void {
    this.updateSecureContextOptions({ cert: pair.cert, key: pair.key });
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}
