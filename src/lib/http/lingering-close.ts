// Lib, HTTP servers: ends a connection so that a client which still sends can read the answer. In: a socket
// to which the answer was written; out: a call when nothing more needs to be read. Closing at once would reset the
// connection (RFC 9112, 9.6).
import type { Socket } from 'node:net';

/** What is read and dropped after an early answer. Whichever comes first ends it. */
export interface LingerBounds {
  /** Without a byte from the client, ms. */
  readonly idleMs: number;
  readonly totalMs: number;
  readonly bytes: number;
}

/** A client that writes all of an upload before it reads gets its answer when the rest is not larger than this. */
export const LINGER: LingerBounds = { idleMs: 5_000, totalMs: 30_000, bytes: 64 * 1024 * 1024 };
const LOOKS_PER_IDLE = 10;

/**
 * Calls `done` once, when the client sent nothing for `idleMs` or says that it sends no more, when a bound is
 * reached, or when the socket closes. The caller has to keep the socket flowing.
 * @returns ends the wait at once
 */
export function linger(socket: Socket, done: () => void, bounds: LingerBounds = LINGER): () => void {
  const { idleMs, totalMs, bytes } = bounds;
  const startBytes = socket.bytesRead;
  const lookMs = Math.max(1, Math.floor(idleMs / LOOKS_PER_IDLE));
  let [passedMs, quietMs, lastBytes] = [0, 0, startBytes];
  const look = setInterval(() => {
    passedMs += lookMs;
    quietMs = socket.bytesRead === lastBytes ? quietMs + lookMs : 0;
    lastBytes = socket.bytesRead;
    if (quietMs >= idleMs || passedMs >= totalMs || lastBytes - startBytes > bytes) end();
  }, lookMs);
  const end = (): void => {
    clearInterval(look);
    socket.off('close', end);
    socket.off('end', end);
    if (isOver) return;
    isOver = true;
    done();
  };
  let isOver = false;
  socket.once('close', end);
  socket.once('end', end);
  if (socket.destroyed || socket.readableEnded) end();
  return end;
}
