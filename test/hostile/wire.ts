// Hostile corpus: HTTP as bytes. In: a request, well formed or not; out: the answer, read to its end. No client library
// stands between: what a case says is what is sent.
import { once } from 'node:events';
import { connect } from 'node:net';
import { bodyOf, type HostileRequest } from './corpus.ts';

export interface WireAnswer {
  /** 0: the connection ended without an answer. */
  readonly status: number;
  /** Names in lower case; the last of several values. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** An answer that does not move for this long does not come. */
const SILENCE_MS = 30_000;

/** The bytes of a request; `Connection: close`, so that the end of the answer is the end of the connection. */
export function requestBytes(request: HostileRequest, host: string): Buffer {
  const { method = 'POST', path = '/', chunked = false } = request;
  const body = bodyOf(request);
  const lines = [`${method} ${path} HTTP/1.1`, ...headersOf(request, host, body).map((pair) => pair.join(': '))];
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), chunked ? inChunks(body) : body]);
}

/** The given ones, and what they lack. */
function headersOf(request: HostileRequest, host: string, body: Buffer): (readonly [string, string])[] {
  const { headers = [], chunked = false } = request;
  const given = isList(headers) ? headers : Object.entries(headers);
  const names = new Set(given.map(([name]) => name.toLowerCase()));
  const own: [string, string][] = [['Connection', 'close']];
  if (!names.has('host')) own.push(['Host', host]);
  if (chunked) own.push(['Transfer-Encoding', 'chunked']);
  else if (request.body !== undefined && !names.has('content-length')) own.push(['Content-Length', `${body.length}`]);
  return [...own, ...given];
}

function isList(headers: HostileRequest['headers']): headers is readonly (readonly [string, string])[] {
  return Array.isArray(headers);
}

function inChunks(body: Buffer): Buffer {
  const head = body.length === 0 ? '' : `${body.length.toString(16)}\r\n`;
  return Buffer.concat([Buffer.from(head), body, Buffer.from(`${head === '' ? '' : '\r\n'}0\r\n\r\n`)]);
}

/** Sends bytes to `host:port` and reads the first final answer. @throws Error when nothing moves for 30 s */
export async function exchange(bytes: Buffer, host: string): Promise<WireAnswer> {
  const [name = '', port = ''] = host.split(':');
  const socket = connect(Number(port), name);
  const chunks: Buffer[] = [];
  socket.setTimeout(SILENCE_MS, () => socket.destroy(new Error('no answer in 30 s')));
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    if (isComplete(Buffer.concat(chunks))) socket.end();
  });
  let failure: Error | undefined;
  // A limiter may close the connection while the rest of a body is still on its way: its answer counts all the same.
  socket.on('error', (error: Error & { code?: string }) => {
    if (error.code !== 'EPIPE' && error.code !== 'ECONNRESET') failure = error;
  });
  const closed = once(socket, 'close');
  socket.write(bytes);
  await closed;
  if (failure !== undefined) throw failure;
  return answerOf(withoutInterim(Buffer.concat(chunks)));
}

/** 1xx answers come before the one that counts. */
function withoutInterim(bytes: Buffer): Buffer {
  let rest = bytes;
  while (/^HTTP\/1\.1 1\d\d/.test(rest.toString('latin1', 0, 16))) rest = rest.subarray(rest.indexOf('\r\n\r\n') + 4);
  return rest;
}

/** Known only for an answer with a length: all others end with their connection. */
function isComplete(bytes: Buffer): boolean {
  const rest = withoutInterim(bytes);
  const headEnd = rest.indexOf('\r\n\r\n');
  if (headEnd < 0) return false;
  const length = /\r\ncontent-length: *(\d+)/i.exec(rest.toString('latin1', 0, headEnd))?.[1];
  return length !== undefined && rest.length >= headEnd + 4 + Number(length);
}

function answerOf(bytes: Buffer): WireAnswer {
  const headEnd = bytes.indexOf('\r\n\r\n');
  if (headEnd < 0) return { status: 0, headers: {}, body: '' };
  const [statusLine = '', ...lines] = bytes.toString('latin1', 0, headEnd).split('\r\n');
  const headers = Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  const body = bytes.subarray(headEnd + 4);
  const isChunked = headers['transfer-encoding'] === 'chunked';
  return { status: Number(statusLine.split(' ')[1]), headers, body: (isChunked ? joined(body) : body).toString() };
}

function joined(body: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < body.length;) {
    const lineEnd = body.indexOf('\r\n', at);
    const size = parseInt(body.toString('latin1', at, lineEnd), 16);
    if (!(size > 0)) break;
    parts.push(body.subarray(lineEnd + 2, lineEnd + 2 + size));
    at = lineEnd + 2 + size + 2;
  }
  return Buffer.concat(parts);
}
