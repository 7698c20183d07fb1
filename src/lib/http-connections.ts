// Lib, HTTP servers: what becomes of a connection whose bytes are not HTTP. In: errors of the parser; out: an
// answer in its turn, behind those of earlier requests, and a close that lets the client read it.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { ErrorName, WeirError } from './errors.ts';
import { randomUUID } from 'node:crypto';
import {
  faultOfParser,
  rawHeadOf,
  type AnsweredRequest,
  type OwnAnswer,
  type ParserError,
} from './http/http-faults.ts';
import { linger } from './http/lingering-close.ts';

export interface ConnectionsOptions {
  readonly answerTo: (fault: WeirError, request: AnsweredRequest) => OwnAnswer;
  readonly onFault: (code: ErrorName) => void;
  /** Answers a request in flight whose body turned out to be faulty. */
  readonly refuse: (request: IncomingMessage, response: ServerResponse, fault: WeirError) => void;
  /** An answer is complete, and the connection about to close: what else arrives does not matter. */
  readonly isAnswered: (response: ServerResponse) => boolean;
}

/** Requests of one connection that wait for their answers, or begin in one turn; no client pipelines as many. */
const MOST_PIPELINED = 64;

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

interface Connection {
  readonly open: Exchange[];
  /** The turn of the event loop in which `begun` requests began. */
  turn: symbol;
  begun: number;
}

/** The connections of one server: which exchanges are open on each, and which have failed. */
export class Connections {
  readonly #options: ConnectionsOptions;
  readonly #known = new WeakMap<Socket, Connection>();
  /** Of the event loop; undefined until a request begins in it. */
  #turn: symbol | undefined;
  /** The parser reports each further chunk of a failed connection as one more error: only the first one counts. */
  readonly #failed = new WeakSet<Socket>();

  constructor(options: ConnectionsOptions) {
    this.#options = options;
  }

  /**
   * A request's head was read.
   * @returns false: its connection is cut, because too many of its requests are under way. Node reads on, however
   * many there are, and each takes hundreds of times the memory of its bytes.
   */
  began(request: IncomingMessage, response: ServerResponse): boolean {
    const { socket } = request;
    if (socket.destroyed) return false;
    const connection = this.#connectionOf(socket);
    connection.begun += 1;
    if (Math.max(connection.open.length, connection.begun) > MOST_PIPELINED) {
      this.#options.onFault('over_capacity');
      socket.destroy();
      stopParsing(socket);
      return false;
    }
    const exchange = { request, response };
    connection.open.push(exchange);
    response.once('close', () => {
      connection.open.splice(connection.open.indexOf(exchange), 1);
    });
    return true;
  }

  #connectionOf(socket: Socket): Connection {
    this.#turn ??= this.#beginTurn();
    let connection = this.#known.get(socket);
    if (connection === undefined) {
      connection = { open: [], turn: this.#turn, begun: 0 };
      this.#known.set(socket, connection);
      // Every request that waits listens for its end.
      socket.setMaxListeners(0);
    } else if (connection.turn !== this.#turn) {
      connection.turn = this.#turn;
      connection.begun = 0;
    }
    return connection;
  }

  #beginTurn(): symbol {
    setImmediate(() => {
      this.#turn = undefined;
    });
    return Symbol('turn');
  }

  /** The parser, or its deadline, gave a connection up. */
  parserFailed(error: ParserError, socket: Socket): void {
    if (this.#failed.has(socket)) return;
    const fault = faultOfParser(error);
    // Who sent nothing (a load balancer that looks whether the port is open) asked nothing.
    if (fault === undefined || socket.bytesRead === 0 || !socket.writable) {
      socket.destroy();
      return;
    }
    const last = this.#known.get(socket)?.open.at(-1);
    if (last !== undefined && !last.request.complete) this.#failBody(last, socket, fault);
    else
      this.failed(
        socket,
        fault,
        { ...rawHeadOf(error.rawPacket), headers: {}, requestId: randomUUID() },
        last?.response,
      );
  }

  /** Answers on the bare connection, after `earlier` if there is one. */
  failed(socket: Socket, fault: WeirError, request: AnsweredRequest, earlier?: ServerResponse): void {
    this.#failed.add(socket);
    this.#options.onFault(fault.code);
    const write = (): void => {
      const answer = this.#options.answerTo(fault, request);
      endGently(socket, rawAnswer(answer, request.method === 'HEAD'));
    };
    if (earlier === undefined) write();
    else earlier.once('close', write);
  }

  /** The body of the request in flight is faulty: it is the one to be answered, if it still can be. */
  #failBody({ request, response }: Exchange, socket: Socket, fault: WeirError): void {
    this.#failed.add(socket);
    if (this.#options.isAnswered(response)) {
      // The client has closed its side: it does not send what is still waited for.
      if (socket.readableEnded) response.end();
      // Nothing more can be read as a body: the client need not wait for the end of it.
      else if (response.socket === socket) socket.end();
      return;
    }
    if (response.headersSent) {
      this.#options.onFault(fault.code);
      socket.destroy();
    } else this.#options.refuse(request, response, fault);
  }
}

/**
 * Keeps node from making requests of what it has read of a closed connection: 64 KiB hold 2,500 requests and would take
 * 140 ms. What `onIncoming` returns is not documented (2: the bytes behind a head are not HTTP); without such a parser,
 * the rest is read and dropped one by one.
 */
function stopParsing(socket: Socket & { readonly parser?: { onIncoming?: unknown } | null }): void {
  if (typeof socket.parser?.onIncoming === 'function') socket.parser.onIncoming = () => 2;
}

/** The bytes of an answer that no ServerResponse can write any more. */
export function rawAnswer({ status, headers, body }: OwnAnswer, isHead: boolean): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const length = `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n`;
  const date = `date: ${new Date().toUTCString()}\r\n`;
  const head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${lines.join('')}${date}${length}\r\n`;
  return isHead ? head : head + body;
}

/** Writes, says that no more will come, reads and drops what the client still sends, closes. */
function endGently(socket: Socket, bytes: string): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  socket.on('error', () => undefined);
  socket.end(bytes);
  socket.resume();
  linger(socket, () => {
    socket.destroy();
  });
}
