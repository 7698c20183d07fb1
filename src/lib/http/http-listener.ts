// Lib, HTTP servers: starts listening, answers what no handler can (faults of a request, a handler that
// throws), answers in JSON, stops within a grace period.
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer, STATUS_CODES } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { attempt } from '../guarded.ts';
import { ERRORS, WeirError, type ErrorName } from '../errors.ts';
import { clientWaits } from './expect-continue.ts';
import { Connections } from '../http-connections.ts';
import { expectsBody, faultOfHead, type AnsweredRequest, type OwnAnswer } from './http-faults.ts';
import { linger } from './lingering-close.ts';
import { gather, pace } from './paced-reading.ts';
import { requestIdOf } from './request-id.ts';
import { Starts } from '../turns.ts';

/** Where a server listens; port 0 = any free port. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** A server that listens. */
export interface HttpListener {
  /** With the port that was really taken. */
  readonly address: ListenAddress;
  /**
   * Stops accepting, lets requests in flight end for up to `graceMs`, then cuts what is left.
   * @returns true when all of them ended by themselves.
   */
  close(graceMs: number): Promise<boolean>;
}

/** Serves one request. What it throws, or rejects with, is answered with 500 and goes to `onThrow`. */
export type HttpHandler = (request: IncomingMessage, response: ServerResponse) => unknown;

/** Stands before an HTTP server: takes every connection, and gives it those that are HTTP. */
export interface ConnectionFront {
  accept(socket: Socket, serveHttp: (socket: Socket) => void): void;
  /** Closes connections of its own that nobody would miss. */
  closeIdle(): void;
  /** Closes all connections of its own. */
  closeAll(): void;
}

/**
 * Serves upgrades; every other request that asks for one is served as if it did not. One whose `accepts` throws is
 * none; one whose `take` throws, or rejects, is cut.
 */
export interface UpgradeHandler {
  accepts(request: IncomingMessage): boolean;
  take(request: IncomingMessage, socket: Socket, head: Buffer): unknown;
}

/** What a server needs beside its handler. */
export interface ListenOptions {
  readonly front?: ConnectionFront | undefined;
  readonly upgrades?: UpgradeHandler | undefined;
  readonly maxHeaderBytes?: number;
  readonly maxHeaders?: number;
  /** From a connection, or the first byte of a request, to the end of its headers. */
  readonly headersTimeoutMs?: number;
  readonly keepAliveTimeoutMs?: number;
  /** The form of the answers to faults; JSON without it, and when it throws. */
  readonly answerTo?: (fault: WeirError, request: AnsweredRequest) => OwnAnswer;
  /** Told of each fault that was answered, or cut. */
  readonly onFault?: (code: ErrorName) => void;
  /** Told what a handler threw. */
  readonly onThrow?: (error: unknown, requestId: string) => void;
}

type Callbacks = Required<Pick<ListenOptions, 'answerTo' | 'onFault' | 'onThrow'>>;

const DEFAULTS = {
  maxHeaderBytes: 16 * 1024,
  maxHeaders: 100,
  headersTimeoutMs: 60_000,
  // Longer than the idle timeouts of load balancers: the limiter is never the one to close a connection being reused.
  keepAliveTimeoutMs: 75_000,
  answerTo: jsonFault,
  onFault: (): void => undefined,
  onThrow: (): void => undefined,
};
const IDLE_CHECK_MS = 50;
/** Of all servers of the process. What 64 KiB of one connection, or many connections, bring may be dozens. */
const starts = new Starts(8);
const SLOWEST_DEADLINE_CHECK_MS = 5_000;

/** Starts a server. Rejects with the system's error (EADDRINUSE …), naming the address. */
export async function listen(
  handler: HttpHandler,
  address: ListenAddress,
  options: ListenOptions = {},
): Promise<HttpListener> {
  const { front } = options;
  const server = createHttpServer(handler, { ...DEFAULTS, ...options });
  if (front !== undefined) putBefore(server, front);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    // Without a host: every IPv6 and IPv4 address, or those of IPv4 alone where the kernel has no IPv6.
    const host = address.host === '::' ? undefined : address.host;
    server.listen({ port: address.port, host }, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const { port } = server.address() as AddressInfo;
  return { address: { host: address.host, port }, close: (graceMs) => closeServer(server, front, graceMs) };
}

type ServerSettings = Required<Omit<ListenOptions, 'front' | 'prepare' | 'upgrades'>> & Pick<ListenOptions, 'upgrades'>;

function boundedServer(settings: ServerSettings, upgrades: UpgradeHandler): Server {
  const { maxHeaders, maxHeaderBytes, headersTimeoutMs, keepAliveTimeoutMs } = settings;
  const server = createServer({
    maxHeaderSize: maxHeaderBytes,
    headersTimeout: headersTimeoutMs,
    keepAliveTimeout: keepAliveTimeoutMs,
    connectionsCheckingInterval: Math.min(SLOWEST_DEADLINE_CHECK_MS, Math.max(1, Math.floor(headersTimeoutMs / 4))),
    // Bodies have deadlines of their own; a missing Host, and too many headers, are answered by faultOfHead.
    requestTimeout: 0,
    requireHostHeader: false,
    shouldUpgradeCallback: (request) => faultOfHead(request, maxHeaders) === undefined && upgrades.accepts(request),
  });
  server.maxHeadersCount = 0;
  server.on('connection', (socket: Socket) => {
    socket.once('close', () => {
      starts.forget(socket);
    });
  });
  return server;
}

function createHttpServer(handler: HttpHandler, settings: ServerSettings): Server {
  const { answerTo, onFault, onThrow } = safe(settings);
  const upgrades = safeUpgrades(settings.upgrades, onThrow);
  const server = boundedServer(settings, upgrades);
  const refuse = (request: IncomingMessage, response: ServerResponse, fault: WeirError): void => {
    onFault(fault.code);
    // Where its next request begins is not clear.
    response.shouldKeepAlive = false;
    sendAnswer(request, response, answerTo(fault, answeredRequest(request)));
  };
  const connections = new Connections({ answerTo, onFault, refuse, isAnswered: (response) => answered.has(response) });
  const serve = (request: IncomingMessage, response: ServerResponse): void => {
    if (!connections.began(request, response)) return;
    gather(request);
    starts.begin(request.socket, () => {
      // Answered with a fault of its body, or left by its client, while it waited.
      if (response.destroyed || response.headersSent) return;
      const fault = faultOfHead(request, settings.maxHeaders);
      if (fault !== undefined) refuse(request, response, fault);
      else
        settled(
          () => handler(request, response),
          (error) => {
            onThrow(error, requestIdOf(request));
            sendAnswer(request, response, answerTo(new WeirError('internal_error'), answeredRequest(request)));
          },
        );
    });
  };
  server.on('request', serve);
  server.on('checkContinue', (request, response) => {
    clientWaits(request, response);
    serve(request, response);
  });
  server.on('checkExpectation', (request, response) => {
    if (!connections.began(request, response)) return;
    refuse(request, response, new WeirError('expectation_failed'));
  });
  server.on('connect', (request, socket) => {
    connections.failed(socket as Socket, new WeirError('method_not_supported'), answeredRequest(request));
  });
  server.on('upgrade', (request, socket, head) => {
    upgrades.take(request, socket as Socket, head);
  });
  server.on('clientError', (error, socket) => {
    connections.parserFailed(error, socket as Socket);
  });
  return server;
}

/** What a server calls must not crash it. */
function safe({ answerTo, onFault, onThrow }: Callbacks): Callbacks {
  return {
    answerTo: (fault, request) =>
      attempt(
        () => answerTo(fault, request),
        (error) => {
          onThrow(error, request.requestId);
        },
      ) ?? jsonFault(fault, request),
    onFault: (code) => {
      attempt(() => {
        onFault(code);
      });
    },
    onThrow: (error, requestId) => {
      attempt(() => {
        onThrow(error, requestId);
      });
    },
  };
}

/** Without a handler no upgrade is accepted. */
function safeUpgrades(upgrades: UpgradeHandler | undefined, onThrow: Callbacks['onThrow']): UpgradeHandler {
  const noting = (request: IncomingMessage, also: () => void = () => undefined) => {
    return (error: unknown): void => {
      onThrow(error, requestIdOf(request));
      also();
    };
  };
  return {
    accepts: (request) => attempt(() => upgrades?.accepts(request), noting(request)) ?? false,
    take: (request, socket, head) => {
      const cut = (): void => {
        socket.destroy();
      };
      settled(() => upgrades?.take(request, socket, head), noting(request, cut));
    },
  };
}

/** Calls what may throw or reject; neither goes any further. */
function settled(call: () => unknown, onThrow: (error: unknown) => void): void {
  try {
    Promise.resolve(call()).catch(onThrow);
  } catch (error) {
    onThrow(error);
  }
}

/** Responses that {@link sendAnswer} wrote: some are still open while the rest of a body is read and dropped. */
const answered = new WeakSet<ServerResponse>();

/**
 * Answers a request, once: further answers are dropped. One whose body is still on its way is answered at once: the
 * answer is complete, `Connection: close` is on it, and what the client still sends is read and dropped within bounds
 * before the connection closes. Never throws; an answer of somebody else that has begun, or one that cannot be
 * written, is cut.
 */
export function sendAnswer(request: IncomingMessage, response: ServerResponse, answer: OwnAnswer): void {
  if (response.destroyed || response.writableEnded || answered.has(response)) return;
  try {
    if (response.headersSent) response.destroy();
    else writeAnswer(request, response, answer);
  } catch {
    response.destroy();
  }
}

function writeAnswer(request: IncomingMessage, response: ServerResponse, { status, headers, body }: OwnAnswer): void {
  answered.add(response);
  const content = request.method === 'HEAD' || body === '' ? undefined : body;
  const isComplete = request.complete || !expectsBody(request);
  if (!isComplete) response.shouldKeepAlive = false;
  const all = { ...validHeaders(headers), 'content-length': String(Buffer.byteLength(body)) };
  response.writeHead(status, STATUS_CODES[status] ?? '', all);
  if (isComplete) {
    response.end(content);
    return;
  }
  if (content === undefined) response.flushHeaders();
  else response.write(content);
  const stop = linger(request.socket, () => {
    response.end();
  });
  request.once('end', stop);
  request.once('error', stop);
  pace(request);
  request.resume();
}

/** A header that Node refuses to write would cost the whole answer. */
function validHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([, value]) => /^[\t\x20-\x7e\x80-\xff]*$/.test(value)));
}

function answeredRequest(request: IncomingMessage): AnsweredRequest {
  const { method = '', headers } = request;
  return { method, path: pathOf(request), headers, requestId: requestIdOf(request) };
}

function jsonFault({ code, message }: WeirError, { requestId }: AnsweredRequest): OwnAnswer {
  return {
    status: ERRORS[code].status,
    headers: { 'content-type': 'application/json', 'x-request-id': requestId },
    body: `${JSON.stringify({ error: { code, message, fix: ERRORS[code].fix } })}\n`,
  };
}

/** The server goes on to count, time and close connections: only who gets a new one first changes. */
function putBefore(server: Server, front: ConnectionFront): void {
  const listeners = server.listeners('connection') as ((socket: Socket) => void)[];
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    front.accept(socket, (given) => {
      for (const listener of listeners) listener.call(server, given);
    });
  });
}

function closeServer(server: Server, front: ConnectionFront | undefined, graceMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    let isCut = false;
    // A connection that falls idle is not needed any more: its client would wait for nothing.
    const idle = setInterval(() => {
      server.closeIdleConnections();
      front?.closeIdle();
    }, IDLE_CHECK_MS);
    const cut = setTimeout(() => {
      isCut = true;
      server.closeAllConnections();
      front?.closeAll();
    }, graceMs);
    server.close(() => {
      clearTimeout(cut);
      clearInterval(idle);
      resolve(!isCut);
    });
    server.closeIdleConnections();
    front?.closeIdle();
  });
}

/** Answers with JSON; as {@link sendAnswer}. */
export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  sendText(response, status, 'application/json', `${JSON.stringify(value)}\n`);
}

/** Answers with a text of the given type; as {@link sendAnswer}. */
export function sendText(response: ServerResponse, status: number, contentType: string, body: string): void {
  const { req: request } = response;
  const headers = { 'content-type': contentType, 'x-request-id': requestIdOf(request) };
  sendAnswer(request, response, { status, headers, body });
}

/** The path of a request without its query. */
export function pathOf(request: IncomingMessage): string {
  return (request.url ?? '/').split('?', 1)[0] ?? '/';
}
