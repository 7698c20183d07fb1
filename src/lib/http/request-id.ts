// Lib, HTTP servers: the id of a request. In: the incoming message; out: the caller's X-Request-Id or a new
// one, the same one each time.
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

/** Ids that go into headers and logs as they are. */
const SAFE_ID = /^[\x21-\x7e]{1,128}$/;

const made = new WeakMap<IncomingMessage, string>();

/** The caller's X-Request-Id where it is safe to repeat, else a new one. */
export function requestIdOf(request: IncomingMessage): string {
  const given = request.headers['x-request-id'];
  if (typeof given === 'string' && SAFE_ID.test(given)) return given;
  const id = made.get(request) ?? randomUUID();
  made.set(request, id);
  return id;
}
