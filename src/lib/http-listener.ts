// Leaf of every HTTP server: start listening, answer in JSON, stop within a grace period.
import type { IncomingMessage, RequestListener, Server, ServerOptions, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

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

/** Longer than the idle timeouts of load balancers: the limiter is never the one to close a connection being reused. */
const KEEP_ALIVE_MS = 75_000;
const IDLE_CHECK_MS = 50;

/** Stands before an HTTP server: takes every connection, and gives it those that are HTTP. */
export interface ConnectionFront {
  accept(socket: Socket, serveHttp: (socket: Socket) => void): void;
  /** Closes connections of its own that nobody would miss. */
  closeIdle(): void;
  /** Closes all connections of its own. */
  closeAll(): void;
}

/** What a server needs beside its handler. */
export interface ListenOptions {
  readonly front?: ConnectionFront | undefined;
  readonly serverOptions?: ServerOptions;
  /** Called before the server listens: to listen to its other events. */
  readonly prepare?: (server: Server) => void;
}

/** Starts a server. Rejects with the system's error (EADDRINUSE …), naming the address. */
export async function listen(
  handler: RequestListener,
  address: ListenAddress,
  { front, serverOptions, prepare }: ListenOptions = {},
): Promise<HttpListener> {
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS, ...serverOptions }, handler);
  prepare?.(server);
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

/** Answers with JSON. */
export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  sendText(response, status, 'application/json', `${JSON.stringify(value)}\n`);
}

/** Answers with a text of the given type. */
export function sendText(response: ServerResponse, status: number, contentType: string, text: string): void {
  response.writeHead(status, { 'content-type': contentType, 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

/** The path of a request without its query. */
export function pathOf(request: IncomingMessage): string {
  return (request.url ?? '/').split('?', 1)[0] ?? '/';
}
