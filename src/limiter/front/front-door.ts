// Limiter, front: decides what becomes of a connection of a sidecar. In: accepted sockets and what is in force; out:
// a wire to the own server while nothing is, else the HTTP server for what begins like HTTP/1 and an end for
// everything else.
import type { Socket } from 'node:net';
import type { Logger } from '../../lib/log.ts';
import { PatientSocket } from '../../lib/http/patient-socket.ts';
import { farewellOf, protocolOf, type Protocol } from './first-bytes.ts';
import type { Splices } from './splices.ts';

/** What became of a connection. `unreachable`: the own server did not accept it. */
export type Handling =
  'spliced' | 'http' | 'refused_tls' | 'refused_http2' | 'refused_other' | 'refused_silent' | 'unreachable';

export interface FrontDoorOptions {
  /** The pod's own server; absent: there is none that a wire could lead to. */
  readonly server: { readonly host: string; readonly port: number } | undefined;
  /** true: nothing is in force, so bytes pass untouched. */
  readonly isOpen: () => boolean;
  /** Resolves once it is known what is in force. */
  readonly whenDecided: () => Promise<unknown>;
  readonly splices: Splices;
  readonly connectTimeoutMs: number;
  /** How long a client may be silent where only HTTP/1 is served. */
  readonly firstBytesTimeoutMs: number;
  readonly onHandled: (handling: Handling) => void;
  readonly log: Logger;
  readonly nowMs: () => number;
}

/** A refused client has this long to take note of it. */
const LINGER_MS = 1_000;
/** One line for each kind of trouble in this time. */
const LOG_EVERY_MS = 60_000;
const LOG_LINES: Readonly<Partial<Record<Handling, string>>> = {
  refused_tls: 'connection refused: it speaks TLS, and an object in force limits HTTP/1.1 in the clear',
  refused_http2: 'connection refused: it speaks HTTP/2, and an object in force limits HTTP/1.1 in the clear',
  refused_other: 'connection refused: it does not speak HTTP, and an object in force limits HTTP/1.1 in the clear',
  refused_silent: 'connection closed: the client sent nothing, and an object in force limits HTTP/1.1 in the clear',
  unreachable: 'connection reset: the server of the pod does not accept connections',
};

/** Stands before the HTTP server of a sidecar. */
export class FrontDoor {
  readonly #options: FrontDoorOptions;
  /** Connections that wait for their first bytes, and what ends the wait. */
  readonly #silent = new Map<Socket, () => Buffer>();
  readonly #loggedMs = new Map<Handling, number>();
  #serveHttp: (socket: Socket) => void = (socket) => socket.destroy();

  constructor(options: FrontDoorOptions) {
    this.#options = options;
  }

  /** Takes a connection; `serveHttp` is the HTTP server. */
  accept(socket: Socket, serveHttp: (socket: Socket) => void): void {
    this.#serveHttp = serveHttp;
    socket.on('error', ignore);
    this.#options
      .whenDecided()
      .then(() => {
        this.#place(socket);
      })
      .catch(() => socket.destroy());
  }

  /** Something else is in force: connections are judged again. */
  review(): void {
    for (const socket of this.#options.splices.review()) this.#place(socket);
    if (!this.#options.isOpen()) return;
    for (const [socket, stop] of [...this.#silent]) {
      const bytes = stop();
      if (bytes.length > 0) socket.unshift(bytes);
      this.#place(socket);
    }
  }

  /** Connections of which nothing is known are no loss. */
  closeIdle(): void {
    for (const socket of this.#silent.keys()) socket.destroy();
    this.#options.splices.closeIdle();
  }

  closeAll(): void {
    this.closeIdle();
    this.#options.splices.closeAll();
  }

  #place(socket: Socket): void {
    if (socket.destroyed) return;
    if (this.#options.server !== undefined && this.#options.isOpen()) this.#splice(socket, this.#options.server);
    else this.#listen(socket);
  }

  #splice(client: Socket, address: { readonly host: string; readonly port: number }): void {
    const { connectTimeoutMs, splices, isOpen } = this.#options;
    const server = PatientSocket.connect({ ...address, allowHalfOpen: true, noDelay: true });
    const timer = setTimeout(() => server.destroy(new Error('it does not accept connections')), connectTimeoutMs);
    let isConnected = false;
    server.once('connect', () => {
      isConnected = true;
      this.#count('spliced');
    });
    server.once('error', () => {
      if (!isConnected) this.#count('unreachable');
    });
    for (const event of ['connect', 'close']) {
      server.once(event, () => {
        clearTimeout(timer);
      });
    }
    splices.join({
      client,
      server,
      isAllowed: isOpen,
      onRequest: (socket, bytes) => {
        this.#toHttp(socket, bytes);
      },
    });
  }

  /** Waits for bytes that tell the protocol. */
  #listen(socket: Socket): void {
    let bytes: Buffer = Buffer.alloc(0);
    const stop = (): Buffer => {
      clearTimeout(timer);
      this.#silent.delete(socket);
      socket.pause();
      socket.off('data', onData).off('end', onEnd).off('close', stop);
      return bytes;
    };
    const onData = (chunk: Buffer): void => {
      bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
      const protocol = protocolOf(bytes);
      if (protocol === 'http1') this.#toHttp(socket, stop());
      else if (protocol !== 'undecided') this.#refuse(socket, protocol, stop());
    };
    const onEnd = (): void => {
      // Probes of TCP connect and leave.
      if (stop().length > 0) this.#refuse(socket, 'other', bytes);
      else socket.destroy();
    };
    const timer = setTimeout(() => {
      this.#refuse(socket, 'other', stop());
    }, this.#options.firstBytesTimeoutMs);
    this.#silent.set(socket, stop);
    socket.on('data', onData).on('end', onEnd).on('close', stop);
    socket.resume();
  }

  #toHttp(socket: Socket, bytes: Buffer): void {
    socket.unshift(bytes);
    socket.off('error', ignore);
    this.#count('http');
    this.#serveHttp(socket);
    socket.resume();
  }

  #refuse(socket: Socket, protocol: Protocol, { length }: Buffer): void {
    if (protocol === 'tls' || protocol === 'http2') this.#count(`refused_${protocol}`);
    else this.#count(length === 0 ? 'refused_silent' : 'refused_other');
    const timer = setTimeout(() => socket.destroy(), LINGER_MS);
    socket.once('close', () => {
      clearTimeout(timer);
    });
    socket.once('end', () => {
      socket.destroySoon();
    });
    socket.end(farewellOf(protocol));
    socket.resume();
  }

  #count(handling: Handling): void {
    const { onHandled, log, nowMs } = this.#options;
    onHandled(handling);
    const line = LOG_LINES[handling];
    const lastMs = this.#loggedMs.get(handling);
    if (line === undefined || (lastMs !== undefined && nowMs() - lastMs < LOG_EVERY_MS)) return;
    this.#loggedMs.set(handling, nowMs());
    log.warn(line);
  }
}

function ignore(): void {
  // A connection that breaks before anybody serves it is nobody's trouble.
}
