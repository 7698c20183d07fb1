// Limiter, front: two sockets joined byte for byte. In: a client, its server, whether that is still allowed; out:
// bytes both ways with backpressure, half-close and resets as on a wire. Nothing is parsed, and nothing waits for
// anything.
import type { Socket } from 'node:net';
import { protocolOf } from './first-bytes.ts';

/** `in`: from the client to the server. */
export type Direction = 'in' | 'out';

export interface SpliceOptions {
  readonly client: Socket;
  /** Of `lib/patient-socket`: what it has answered must not be lost when it stops listening. */
  readonly server: Socket;
  /** false: what the client sends next may be limited, so it must not pass unseen. Asked at each `review`. */
  readonly isAllowed: () => boolean;
  /** Monotonic, ms. */
  readonly nowMs: () => number;
  readonly onBytes: (direction: Direction, bytes: number) => void;
  /** Takes the client on from a request of HTTP/1 that it has just begun; absent: nobody can. */
  readonly onRequest?: (client: Socket, bytes: Buffer) => void;
  /** Both sockets are closed, or the client was given away. */
  readonly onEnd: () => void;
}

/** A pause of this length after bytes of the server: nothing is in flight. */
const QUIET_MS = 2_000;
/** A peer that vanished without a word is noticed by TCP itself after this long. */
const TCP_KEEP_ALIVE_MS = 60_000;

/** One spliced connection. */
export class Splice {
  readonly #options: SpliceOptions;
  readonly #detachers: (() => void)[] = [];
  #last: Direction | undefined;
  #lastMs: number;
  /** Set while `isAllowed` is false: from then on the client may send nothing more. */
  #closesAtMs: number | undefined;
  #isHttp = false;
  #isEnded = false;

  constructor(options: SpliceOptions) {
    this.#options = options;
    this.#lastMs = options.nowMs();
  }

  start(): void {
    const { client, server } = this.#options;
    for (const socket of [client, server]) {
      socket.setTimeout(0);
      socket.setKeepAlive(true, TCP_KEEP_ALIVE_MS);
    }
    this.#join(client, server, (chunk) => {
      this.#onClientBytes(chunk);
    });
    this.#join(server, client, (chunk) => {
      this.#pass('out', chunk);
    });
    client.resume();
    server.resume();
  }

  /** Nothing has passed yet in either direction, so the client can still be given away. */
  get isUntouched(): boolean {
    return this.#last === undefined && this.#options.onRequest !== undefined;
  }

  /** The client began with HTTP/1. */
  get isHttp(): boolean {
    return this.#isHttp;
  }

  /** A request may be waiting for its answer, or an answer is on its way. */
  get isBusy(): boolean {
    return this.#last === 'in' || (this.#last === 'out' && this.#options.nowMs() - this.#lastMs < QUIET_MS);
  }

  /**
   * Looks again whether this connection is allowed. If not, its next request of HTTP/1 is given to `onRequest`;
   * anything else passes for `graceMs` more, and then closes the connection. Answers under way are never cut.
   * @returns true: it is not allowed any more
   */
  review(graceMs: number): boolean {
    const isAllowed = this.#options.isAllowed();
    this.#closesAtMs = isAllowed ? undefined : (this.#closesAtMs ?? this.#options.nowMs() + graceMs);
    return !isAllowed;
  }

  /** Gives the client away untouched; its server is hung up. */
  release(): Socket {
    const { client, server } = this.#options;
    this.#detach();
    server.destroy();
    client.pause();
    return client;
  }

  destroy(): void {
    this.#options.client.destroy();
    this.#options.server.destroy();
  }

  #onClientBytes(chunk: Buffer): void {
    if (this.#last === undefined) this.#isHttp = protocolOf(chunk) === 'http1';
    if (this.#closesAtMs === undefined) this.#pass('in', chunk);
    else if (this.#beginsRequest(chunk)) this.#options.onRequest?.(this.release(), chunk);
    else if (this.#options.nowMs() < this.#closesAtMs) this.#pass('in', chunk);
    else this.destroy();
  }

  /** A client that does not pipeline begins a request after an answer, and with a packet of its own. */
  #beginsRequest(chunk: Buffer): boolean {
    const { client, onRequest } = this.#options;
    return onRequest !== undefined && this.#last !== 'in' && client.writable && protocolOf(chunk) === 'http1';
  }

  #pass(direction: Direction, chunk: Buffer): void {
    const { client, server, nowMs, onBytes } = this.#options;
    const [from, to] = direction === 'in' ? [client, server] : [server, client];
    this.#last = direction;
    this.#lastMs = nowMs();
    onBytes(direction, chunk.length);
    if (to.writable && !to.write(chunk)) from.pause();
  }

  #join(from: Socket, to: Socket, onData: (chunk: Buffer) => void): void {
    const listeners = {
      data: onData,
      end: () => to.end(),
      drain: () => to.resume(),
      error: () => {
        hangUp(to);
      },
      close: () => {
        // Bytes that the other side has not taken yet still go out to it.
        to.destroySoon();
        if (to.destroyed) this.#detach();
      },
    };
    for (const [event, listener] of Object.entries(listeners)) from.on(event, listener);
    this.#detachers.push(() => {
      for (const [event, listener] of Object.entries(listeners)) from.off(event, listener);
      from.on('error', () => undefined);
    });
  }

  #detach(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    for (const detach of this.#detachers) detach();
    this.#options.onEnd();
  }
}

/** As a wire does it: a reset arrives as a reset. */
function hangUp(socket: Socket): void {
  if (socket.connecting) socket.destroy();
  else socket.resetAndDestroy();
}
