// Test upstream: answers each request with bytes written by hand. In: what to do with a connection that has sent a
// whole request; out: its URL, and how many requests came. No HTTP library stands between: what a test says is what
// is sent.
import { createServer, type AddressInfo, type Socket } from 'node:net';

export interface RawUpstream {
  readonly url: string;
  /** Requests whose head arrived. */
  count(): number;
  /** The head of the last request. */
  last(): string;
  close(): Promise<void>;
}

/** What becomes of a request: bytes to answer with, or a function that acts on the socket. */
export type RawAnswer = string | Buffer | ((socket: Socket, head: string) => void);

/**
 * Starts the upstream on loopback. `answer` is called once for each request that is complete.
 * @param onBytes called with the first bytes of each connection; when it pauses the socket, no request completes
 */
export async function startRawUpstream(
  answer: (head: string) => RawAnswer,
  onBytes?: (socket: Socket) => void,
): Promise<RawUpstream> {
  const sockets = new Set<Socket>();
  let [count, last] = [0, ''];
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
    let seen = '';
    socket.on('data', (chunk: Buffer) => {
      if (seen === '') onBytes?.(socket);
      if (socket.isPaused() || socket.destroyed) return;
      seen += chunk.toString('latin1');
      for (let end = wholeRequest(seen); end > 0; end = wholeRequest(seen)) {
        const head = seen.slice(0, seen.indexOf('\r\n\r\n'));
        seen = seen.slice(end);
        [count, last] = [count + 1, head];
        const told = answer(head);
        if (typeof told === 'function') told(socket, head);
        else socket.write(told);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    count: () => count,
    last: () => last,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => {
          resolve();
        });
      }),
  };
}

/** The length of the first request in `seen`; 0 while it is not complete. */
function wholeRequest(seen: string): number {
  const headEnd = seen.indexOf('\r\n\r\n');
  if (headEnd < 0) return 0;
  const length = Number(/\r\ncontent-length: *(\d+)/i.exec(seen.slice(0, headEnd))?.[1] ?? 0);
  const end = headEnd + 4 + length;
  return seen.length < end ? 0 : end;
}
