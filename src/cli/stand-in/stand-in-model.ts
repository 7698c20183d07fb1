// CLI, stand-in model: a small model server for the demo and for tests, which counts what reaches it. In: HTTP
// requests in the shapes of OpenAI, Anthropic and MCP; out: answers, and at /count and /ledger what it saw (/reset
// forgets it).
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { answerOf, type StandInAnswer } from './stand-in-answers.ts';

/** One request that reached the server. */
export interface LedgerEntry {
  readonly number: number;
  /** ISO 8601 */
  readonly at: string;
  readonly method: string;
  /** With its query. */
  readonly path: string;
  /** Credentials are shown as "***". */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly model?: string;
  readonly rpcMethod?: string;
  readonly tool?: string;
  readonly status: number;
}

export interface StandInModel {
  /** `http://host:port` */
  readonly url: string;
  /** Requests seen since the start or the last /reset; control paths and health checks are not among them. */
  count(): number;
  ledger(): readonly LedgerEntry[];
  close(): Promise<void>;
}

/** The ledger holds this many of the last entries; the count goes on. */
const MOST_ENTRIES = 10_000;
/** Requests that run when the server is closed get this long to end. */
const DRAIN_MS = 5000;
const CREDENTIALS: ReadonlySet<string> = new Set(['authorization', 'x-api-key', 'api-key', 'cookie']);

/**
 * Starts the server.
 * A caller may ask for trouble with the header `x-stand-in-status: <status>`: the answer is that status, an error.
 */
export async function startStandInModel(address: { host: string; port: number }): Promise<StandInModel> {
  const book = { count: 0, entries: [] as LedgerEntry[] };
  const server = createServer((request, response) => {
    serve(request, response, book).catch(() => response.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(address.port, address.host, resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://${address.host}:${port}`,
    count: () => book.count,
    ledger: () => book.entries,
    close: () =>
      new Promise((resolve) => {
        const cut = setTimeout(() => {
          server.closeAllConnections();
        }, DRAIN_MS);
        // A connection kept alive would stay open for its time-out after its last answer.
        const idle = setInterval(() => {
          server.closeIdleConnections();
        }, 50);
        server.close(() => {
          clearTimeout(cut);
          clearInterval(idle);
          resolve();
        });
      }),
  };
}

interface Book {
  count: number;
  entries: LedgerEntry[];
}

async function serve(request: IncomingMessage, response: ServerResponse, book: Book): Promise<void> {
  const bytes = Buffer.concat(await request.toArray());
  const url = request.url ?? '/';
  const [path = '/'] = url.split('?', 1);
  if (control(path, response, book)) return;
  const body = parse(bytes);
  const wanted = Number(request.headers['x-stand-in-status'] ?? 0);
  const trouble = {
    error: { message: 'as asked for by x-stand-in-status', type: 'server_error', param: null, code: null },
  };
  const answer: StandInAnswer = wanted >= 200 ? { kind: 'json', status: wanted, body: trouble } : answerOf(path, body);
  const status = answer.kind === 'json' ? answer.status : 200;
  record(request, url, body, status, book);
  send(response, request, answer);
}

/** /count, /ledger, /reset, /health and /healthz: true when it was one of them. */
function control(path: string, response: ServerResponse, book: Book): boolean {
  if (path === '/reset') {
    book.count = 0;
    book.entries = [];
  }
  const answers: Readonly<Record<string, unknown>> = {
    '/count': book.count,
    '/ledger': book.entries,
    '/reset': 0,
    '/health': { status: 'ok' },
    '/healthz': { status: 'ok' },
  };
  if (!Object.hasOwn(answers, path)) return false;
  sendJson(response, 200, answers[path]);
  return true;
}

function parse(bytes: Buffer): Readonly<Record<string, unknown>> {
  try {
    const value = JSON.parse(bytes.toString()) as unknown;
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function record(
  request: IncomingMessage,
  path: string,
  body: Readonly<Record<string, unknown>>,
  status: number,
  book: Book,
): void {
  book.count += 1;
  const headers = Object.entries(request.headers).map(([name, value]) => [name, CREDENTIALS.has(name) ? '***' : value]);
  const tool = (body['params'] as { name?: unknown } | undefined)?.name;
  book.entries.push({
    number: book.count,
    at: new Date().toISOString(),
    method: request.method ?? '',
    path,
    headers: Object.fromEntries(headers) as LedgerEntry['headers'],
    ...(typeof body['model'] === 'string' ? { model: body['model'] } : {}),
    ...(typeof body['method'] === 'string' ? { rpcMethod: body['method'] } : {}),
    ...(typeof tool === 'string' ? { tool } : {}),
    status,
  });
  if (book.entries.length > MOST_ENTRIES) book.entries.shift();
}

function send(response: ServerResponse, request: IncomingMessage, answer: StandInAnswer): void {
  if (answer.kind === 'json') {
    sendJson(response, answer.status, request.method === 'HEAD' ? undefined : answer.body);
    return;
  }
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  for (const event of answer.events) response.write(event);
  response.end();
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  const text = body === undefined ? '' : `${JSON.stringify(body)}\n`;
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}
