// Controller: the operator's own face. Input: HTTP on the admin port. Output: health, metrics, and (standalone) the
// statuses of all objects; nothing secret.
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Logger } from '../lib/log.ts';
import { messageOf } from '../lib/thrown.ts';

export interface OperatorView {
  /** ready: caches synced and the push port open (or not ours to open); `reason` says what is missing. */
  readiness(): { readonly ready: boolean; readonly reason: string };
  metrics(): Promise<string>;
  /** Absent: the API server tells. */
  status?(): unknown;
}

interface Reply {
  readonly code: number;
  readonly type: string;
  readonly body: string;
}

const TEXT = 'text/plain; charset=utf-8';
const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** Opens the admin port. @returns the server and its port. @throws Error when it cannot be bound. */
export async function openAdmin(
  view: OperatorView,
  address: { readonly host: string; readonly port: number },
  log: Logger,
): Promise<{ server: Server; port: number }> {
  const server = createServer((request, response) => {
    request.resume();
    const { pathname } = new URL(request.url ?? '/', 'http://admin');
    const isRead = request.method === 'GET' || request.method === 'HEAD';
    const reply = isRead ? replyTo(view, pathname) : Promise.resolve(plain(405, 'only GET is allowed\n'));
    reply
      .then((answer) => {
        send(response, answer);
      })
      .catch((error: unknown) => {
        log.error('admin request failed', { error: messageOf(error) });
        response.destroy();
      });
  });
  server.requestTimeout = 10_000;
  server.maxConnections = 100;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(address.port, address.host, resolve);
  });
  server.on('error', (error) => log.error('admin port failed', { error: messageOf(error) }));
  return { server, port: (server.address() as AddressInfo).port };
}

async function replyTo(view: OperatorView, path: string): Promise<Reply> {
  if (path === '/livez') return plain(200, 'ok\n');
  if (path === '/readyz') {
    const { ready, reason } = view.readiness();
    return plain(ready ? 200 : 503, `${reason}\n`);
  }
  if (path === '/metrics') return { code: 200, type: METRICS_TYPE, body: await view.metrics() };
  if (path === '/status' && view.status !== undefined) {
    return { code: 200, type: 'application/json', body: `${JSON.stringify(view.status(), undefined, 2)}\n` };
  }
  return plain(404, `not found: try /livez, /readyz, /metrics${view.status === undefined ? '' : ', /status'}\n`);
}

function plain(code: number, body: string): Reply {
  return { code, type: TEXT, body };
}

function send(response: ServerResponse, { code, type, body }: Reply): void {
  response.writeHead(code, { 'content-type': type, 'cache-control': 'no-store' }).end(body);
}
