// Limiter, admin listener: health, metrics and what is in force, for probes, Prometheus and people. In: HTTP; out: text
// and JSON without secrets.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { parseAddress } from '../lib/values/address.ts';
import { parseDurationMicros } from '../lib/values/duration.ts';
import { pathOf, sendJson, sendText } from '../lib/http/http-listener.ts';

/** What the admin listener shows of a limiter. */
export interface AdminView {
  /** ready: takes traffic; `reason` says why not, or since when. */
  readiness(): { readonly ready: boolean; readonly reason: string };
  metrics(): Promise<string>;
  /** Everything in force, secrets left out. For callers on loopback: it names hosts, paths and limits. */
  configDump(): unknown;
  /**
   * Turns readiness off for good; requests are still served. Resolves after `delayMs`, and when none is in flight any
   * more, but after `maxMs` at the latest.
   */
  drain(hold: DrainHold): Promise<void>;
  /** Who may drain must bring it in the header; absent: callers on loopback may. */
  readonly drainToken?: string | undefined;
}

/** How long the answer of /drain is held back: a preStop hook lasts as long. */
export interface DrainHold {
  readonly delayMs: number;
  readonly maxMs: number;
}

/** Most that a hook can ask for. */
const MAX_HOLD_MS = 3_600_000;

const ONLY_LOOPBACK =
  'only callers on loopback may do this: kubectl port-forward to this port, then call it on 127.0.0.1';
const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';
const PATHS = ['GET /livez', 'GET /readyz', 'GET /metrics', 'GET /config_dump', 'GET /drain', 'POST /drain'];

type Route = (response: ServerResponse, request: IncomingMessage) => void | Promise<void>;

/** The request handler of the admin port. What it rejects with is the listener's to answer. */
export function adminHandler(view: AdminView): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  const routes = new Map<string, Route>([
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
      (response, request) => {
        if (isFromLoopback(request)) sendJson(response, 200, hideSecrets(view.configDump()));
        else sendJson(response, 403, { error: ONLY_LOOPBACK });
      },
    ],
    // The kubelet's hooks can only GET.
    ['GET /drain', drainRoute(view)],
    ['POST /drain', drainRoute(view)],
  ]);
  return async (request, response) => {
    const path = pathOf(request);
    const method = request.method === 'HEAD' && path !== '/drain' ? 'GET' : (request.method ?? '');
    const route = routes.get(`${method} ${path}`);
    if (route !== undefined) await route(response, request);
    else if (PATHS.some((known) => known.endsWith(` ${path}`)))
      sendJson(response, 405, { error: 'method not allowed' });
    else sendJson(response, 404, { error: 'not found', paths: PATHS });
  };
}

function drainRoute(view: AdminView): Route {
  return async (response, request) => {
    const problem = drainProblem(view, request);
    if (problem !== undefined) {
      sendJson(response, 403, { error: problem });
      return;
    }
    const hold = holdOf(request);
    if (hold === undefined) {
      sendJson(response, 400, { error: 'delay and max are durations of at most 1h, such as /drain?delay=5s&max=15s' });
      return;
    }
    await view.drain(hold);
    sendText(response, 200, 'text/plain', 'draining\n');
  };
}

/** A token keeps everybody else out, the pod's own containers too; without one only they may drain. */
function drainProblem({ drainToken }: AdminView, request: IncomingMessage): string | undefined {
  if (drainToken === undefined) return isFromLoopback(request) ? undefined : ONLY_LOOPBACK;
  const isRight = request.headers['x-weir-drain-token'] === drainToken;
  return isRight ? undefined : 'the header x-weir-drain-token is not that of this limiter';
}

/** True for callers of the same pod or host, `kubectl port-forward` and `kubectl exec` among them. */
function isFromLoopback({ socket: { remoteAddress = '' } }: IncomingMessage): boolean {
  return parseAddress(remoteAddress)?.range() === 'loopback';
}

/** undefined: not durations. */
function holdOf(request: IncomingMessage): DrainHold | undefined {
  const { searchParams } = new URL(request.url ?? '/', 'http://admin');
  const delayMs = durationMs(searchParams.get('delay'));
  const maxMs = searchParams.has('max') ? durationMs(searchParams.get('max')) : delayMs;
  return delayMs === undefined || maxMs === undefined ? undefined : { delayMs, maxMs };
}

function durationMs(text: string | null): number | undefined {
  if (text === null) return 0;
  const micros = parseDurationMicros(text);
  return micros === undefined || micros / 1000 > MAX_HOLD_MS ? undefined : micros / 1000;
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
