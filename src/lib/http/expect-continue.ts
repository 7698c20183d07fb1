// Lib, HTTP servers: clients that wait for leave to send their body (`Expect: 100-continue`). In: such a
// request; out: 100 as soon as somebody reads the body or asks for it, once.
import type { IncomingMessage, ServerResponse } from 'node:http';

const waiting = new WeakMap<IncomingMessage, () => void>();

/** Notes that the client of a request waits. A flowing reader asks by itself; others call {@link askForBody}. */
export function clientWaits(request: IncomingMessage, response: ServerResponse): void {
  const ask = (): void => {
    if (waiting.delete(request) && !response.headersSent && !response.destroyed) response.writeContinue();
  };
  waiting.set(request, ask);
  // A body that is only dropped is not asked for.
  request.once('resume', () => {
    if (request.listenerCount('data') > 0) ask();
  });
}

/** true: the client has not been asked for its body yet. */
export function awaitsContinue(request: IncomingMessage): boolean {
  return waiting.has(request);
}

/** Asks a client that waits for its body. */
export function askForBody(request: IncomingMessage): void {
  waiting.get(request)?.();
}
