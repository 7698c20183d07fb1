// Limiter, admin listener: health, metrics and what is in force, for probes, Prometheus and people. In: HTTP; out: text
// and JSON without secrets.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { pathOf, sendJson, sendText } from './http-listener.ts';

/** What the admin listener shows of a limiter. */
export interface AdminView {
  /** ready: takes traffic; `reason` says why not, or since when. */
  readiness(): { readonly ready: boolean; readonly reason: string };
  metrics(): Promise<string>;
  /** Everything in force, secrets left out. */
  configDump(): unknown;
  /** Turns readiness off for good; requests are still served. */
  drain(): void;
}

const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';
const PATHS = ['GET /livez', 'GET /readyz', 'GET /metrics', 'GET /config_dump', 'POST /drain'];

/** The request handler of the admin port. */
export function adminHandler(view: AdminView): (request: IncomingMessage, response: ServerResponse) => void {
  const routes = new Map<string, (response: ServerResponse) => void | Promise<void>>([
    [
      'GET /livez',
      (response) => {
        sendText(response, 200, 'text/plain', 'ok\n');
      },
    ],
    [
      'GET /readyz',
      (response) => {
        const { ready, reason } = view.readiness();
        sendText(response, ready ? 200 : 503, 'text/plain', `${reason}\n`);
      },
    ],
    [
      'GET /metrics',
      async (response) => {
        sendText(response, 200, METRICS_TYPE, await view.metrics());
      },
    ],
    [
      'GET /config_dump',
      (response) => {
        sendJson(response, 200, hideSecrets(view.configDump()));
      },
    ],
    [
      'POST /drain',
      (response) => {
        view.drain();
        sendText(response, 200, 'text/plain', 'draining\n');
      },
    ],
  ]);
  return (request, response) => {
    request.resume();
    const method = request.method === 'HEAD' ? 'GET' : (request.method ?? '');
    const path = pathOf(request);
    const route = routes.get(`${method} ${path}`);
    if (route !== undefined) void Promise.resolve(route(response)).catch(() => response.destroy());
    else if (PATHS.some((known) => known.endsWith(` ${path}`)))
      sendJson(response, 405, { error: 'method not allowed' });
    else sendJson(response, 404, { error: 'not found', paths: PATHS });
  };
}

const SECRET_MEMBER = /password|secret|credential|token$|^key$/i;
const URL_CREDENTIALS = /^([a-z][a-z0-9+.-]*:\/\/)[^/@]*@/i;

/** The value with every member whose name speaks of a secret, and the user info of every URL, replaced. */
export function hideSecrets(value: unknown): unknown {
  if (typeof value === 'string') return value.replace(URL_CREDENTIALS, '$1***@');
  if (Array.isArray(value)) return value.map(hideSecrets);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [
      name,
      SECRET_MEMBER.test(name) && typeof member === 'string' ? '***' : hideSecrets(member),
    ]),
  );
}
