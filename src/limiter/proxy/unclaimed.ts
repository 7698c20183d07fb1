// Limiter, proxy: what nobody claims on a sidecar. In: a request, its head read; out: it went on to the own server as
// it came, its body unread where the head tells enough, or it is for the judging stages.
import { ServerResponse, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { WeirError } from '../../lib/errors.ts';
import { askForBody, awaitsContinue } from '../../lib/http/expect-continue.ts';
import { expectsBody } from '../../lib/http/http-faults.ts';
import { linger } from '../../lib/http/lingering-close.ts';
import type { RuntimeInForce } from '../config/config-applier.ts';
import type { Splices } from '../front/splices.ts';
import type { AnswerEnd } from '../record/request-record.ts';
import { bodyStart } from '../request/first-body-bytes.ts';
import { isJsonInAnotherCharset, mediaTypeOf } from '../request/media-type.ts';
import { modelsOf } from '../request/model-request.ts';
import { inTime } from '../request/reading-deadline.ts';
import { headClaim, type HeadClaim } from '../route/head-claim.ts';
import type { WireRequest } from '../decide/decision.ts';
import type { Exchange } from './exchange.ts';
import { readHead } from './incoming.ts';
import type { OwnServer } from './own-server.ts';
import { passThrough } from './pass-through.ts';
import { isTunnel, offeredProtocols } from './wire-headers.ts';

export interface UnclaimedOptions {
  readonly server: OwnServer;
  readonly inForce: () => RuntimeInForce;
  /** true: nothing is in force, and that is no reason to refuse. */
  readonly isOpen: () => boolean;
  /** For the first bytes of a body, where they must be seen. */
  readonly requestTimeoutMs: number;
  readonly splices: Splices;
}

/** A request that nobody claims, as far as it was read. */
export interface UnclaimedRequest {
  /** Its whole body as it came, where it was read. */
  readonly read?: Buffer | undefined;
  /** Absent: nothing is in force, so nothing is to be said of it. */
  readonly wire?: WireRequest;
}

export class Unclaimed {
  readonly #options: UnclaimedOptions;
  /** Requests of a connection that are not answered yet. */
  readonly #pending = new WeakMap<Socket, number>();

  constructor(options: UnclaimedOptions) {
    this.#options = options;
  }

  /** Notes a request until it is answered. */
  started({ request, response }: Exchange): void {
    const { socket } = request;
    this.#pending.set(socket, (this.#pending.get(socket) ?? 0) + 1);
    response.once('close', () => {
      this.#pending.set(socket, (this.#pending.get(socket) ?? 1) - 1);
    });
  }

  /** true: nothing is in force, so nobody claims anything. */
  get isAll(): boolean {
    return this.#options.isOpen();
  }

  /**
   * Passes the request on if its head, or its head and the first bytes of its body, show that nobody claims it.
   * @param wire of its head
   * @returns false: its body is unread, and must be read to know
   * @throws WeirError as {@link pass}
   */
  async passes(exchange: Exchange, wire: WireRequest): Promise<boolean> {
    const { request } = exchange;
    // Without objects, and not open: nothing passes.
    if (this.#options.inForce().set.size === 0) return false;
    const claim = this.#claimOf(request, wire);
    if (claim === 'body') return false;
    if (claim === 'nobody') {
      await this.pass(exchange, { wire: { ...wire, ...modelsOf(wire, undefined) } });
      return true;
    }
    askForBody(request);
    const { isJson, whole } = await inTime(bodyStart(request), this.#options.requestTimeoutMs);
    if (isJson) return false;
    await this.pass(exchange, { read: whole, wire });
    return true;
  }

  /**
   * Passes a request on, and notes the model that it names.
   * @throws WeirError when the own server gives no answer, or the head cannot be sent on
   */
  async pass(exchange: Exchange, { read, wire }: UnclaimedRequest = {}): Promise<void> {
    const { request, response } = exchange;
    const { server, isOpen } = this.#options;
    if (!isOpen()) rejectFragment(request);
    exchange.notes.placing ??= 'forwarded';
    const keepsExpect = awaitsContinue(request);
    const end = await passThrough({
      request,
      response,
      read,
      open: () => server.open(request, keepsExpect),
    });
    this.#note(exchange, end, wire);
  }

  #note(exchange: Exchange, end: AnswerEnd, wire: WireRequest | undefined): void {
    exchange.notes.answered(end);
    if (wire === undefined) return;
    exchange.wire = wire;
    if (this.#options.inForce().set.index.hasModels) exchange.notes.unclaimedModel = wire.model;
  }

  /** true: the server may be asked for the upgrade; else the request is served like any other. */
  mayUpgrade(request: IncomingMessage): boolean {
    const offers = offeredProtocols(request.headers.upgrade).filter((protocol) => !isTunnel(protocol));
    if (offers.length === 0 || expectsBody(request) || (this.#pending.get(request.socket) ?? 0) > 0) return false;
    return this.#nobodysNow(request)();
  }

  /** Asks the server for an upgrade, and joins the two connections once it has accepted. */
  async upgrade(exchange: Exchange, client: Socket, head: Buffer): Promise<void> {
    const { request, response } = exchange;
    const { server, splices, isOpen } = this.#options;
    exchange.notes.placing = 'forwarded';
    const wire = isOpen() ? undefined : readHead(request).wire;
    const isAllowed = this.#nobodysNow(request);
    const release = splices.hold(client);
    const passing = passThrough({
      request,
      response,
      read: Buffer.alloc(0),
      open: () => server.open(request, false),
      onUpgrade: (answer, upstream, bytes) => {
        if (client.destroyed || !isOffered(request, answer)) {
          upstream.destroy();
          client.destroy();
          return;
        }
        release();
        response.detachSocket(client);
        client.write(switchingHead(answer), 'latin1');
        if (bytes.length > 0) upstream.unshift(bytes);
        // Held back until now: before the server accepts, they would be a request of their own to it.
        if (head.length > 0) client.unshift(head);
        upstream.allowHalfOpen = true;
        splices.join({ client, server: upstream, isAllowed });
      },
    });
    const end = await passing.finally(release);
    this.#note(exchange, end, wire && { ...wire, ...modelsOf(wire, undefined) });
  }

  /** Tells at any time whether nobody claims a request by its head; its head is read once. */
  #nobodysNow(request: IncomingMessage): () => boolean {
    let wire: WireRequest | undefined;
    return () => {
      if (this.#options.isOpen()) return true;
      try {
        rejectFragment(request);
        wire ??= readHead(request).wire;
        return this.#claimOf(request, wire) === 'nobody';
      } catch {
        return false;
      }
    };
  }

  #claimOf(request: IncomingMessage, wire: WireRequest): HeadClaim {
    const coding = request.headers['content-encoding'] ?? 'identity';
    const isCoded =
      coding.trim().toLowerCase() !== 'identity' || isJsonInAnotherCharset(mediaTypeOf(request.rawHeaders));
    const signs = { hasBody: expectsBody(request), isCoded };
    return headClaim(this.#options.inForce().set.index, wire, signs);
  }
}

/**
 * A response for a connection that node has handed over: it ends with the answer. undefined: an earlier answer is
 * still due on the connection.
 */
export function closingResponse(request: IncomingMessage, socket: Socket): ServerResponse | undefined {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  try {
    response.assignSocket(socket);
  } catch {
    return undefined;
  }
  response.once('finish', () => {
    socket.removeAllListeners('readable');
    socket.end();
    socket.resume();
    linger(socket, () => {
      socket.destroy();
    });
  });
  return response;
}

/** A target is sent on as it came; in a path, some servers take "#" for a character of its own. */
function rejectFragment({ url = '' }: IncomingMessage): void {
  if (url.includes('#')) throw new WeirError('invalid_request', 'the request target has a fragment ("#")');
}

function isOffered(request: IncomingMessage, answer: IncomingMessage): boolean {
  const offers = offeredProtocols(request.headers.upgrade).map((protocol) => protocol.toLowerCase());
  const accepted = offeredProtocols(answer.headers.upgrade).map((protocol) => protocol.toLowerCase());
  return accepted.length > 0 && accepted.every((protocol) => offers.includes(protocol) && !isTunnel(protocol));
}

function switchingHead({ statusMessage = '', rawHeaders }: IncomingMessage): string {
  const lines = rawHeaders.flatMap((name, index) =>
    index % 2 === 0 ? [`${name}: ${rawHeaders[index + 1] ?? ''}\r\n`] : [],
  );
  return `HTTP/1.1 101 ${statusMessage}\r\n${lines.join('')}\r\n`;
}
