// An answer passes through its meter: whatever the boundaries of its chunks, the client gets what the meter lets pass,
// and what the meter read is how the call ended.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { lookup } from 'node:dns';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Server } from 'node:net';
import { LIMITER_DEFAULTS } from '../../../src/limiter/settings.ts';
import { UNMETERED, type AnswerMeter, type Reading } from '../../../src/limiter/meter/answer-meter.ts';
import { responseHeaders } from '../../../src/limiter/proxy/http-headers.ts';
import type { UpstreamEnd } from '../../../src/limiter/proxy/relay.ts';
import { Upstreams } from '../../../src/limiter/proxy/upstream.ts';

const EVENTS = 'data: {"a":"é"}\r\n\r\ndata: drop\n\ndata: 🜂\n\n';
const HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nETag: "x"\r\n';

/** Holds lines back until they are whole, and drops those that say so. */
class DroppingMeter implements AnswerMeter {
  #held = Buffer.alloc(0);
  #lines = 0;
  readonly #at: number;

  constructor(failsAtLine = Infinity) {
    this.#at = failsAtLine;
  }

  get reading(): Reading | undefined {
    return this.#lines === 0 ? undefined : { usage: { requests: 1, output: this.#lines }, source: 'counted' };
  }

  start(): 'rewrite' {
    return 'rewrite';
  }

  chunk(bytes: Buffer): Buffer[] {
    this.#held = Buffer.concat([this.#held, bytes]);
    const out: Buffer[] = [];
    for (let end = this.#held.indexOf('\n'); end !== -1; end = this.#held.indexOf('\n')) {
      const line = this.#held.subarray(0, end + 1);
      this.#held = this.#held.subarray(end + 1);
      if (line.length > 2) this.#lines += 1;
      if (this.#lines >= this.#at) throw new Error('a fault of the meter');
      if (!line.includes('drop')) out.push(line);
    }
    return out;
  }

  end(): Buffer[] {
    return [this.#held];
  }
}

describe('a metered answer', () => {
  let upstream: Server;
  let answer: readonly Buffer[] = [];
  const upstreams = new Upstreams(LIMITER_DEFAULTS);
  const faults: unknown[] = [];

  beforeAll(async () => {
    upstream = createTcpServer({ noDelay: true }, (socket) => {
      socket.on('error', () => undefined).resume();
      socket.once('data', () => {
        void (async () => {
          for (const piece of answer) {
            socket.write(piece);
            // The next piece is a read of its own.
            await new Promise(setImmediate);
          }
          socket.end();
        })();
      });
    }).listen(0, '127.0.0.1');
    await once(upstream, 'listening');
  });
  afterAll(async () => {
    await upstreams.close();
    upstream.close();
  });

  /** One call through a server of node and the relay. */
  async function call(meter: AnswerMeter): Promise<{ body: Buffer; headers: Headers; end: UpstreamEnd }> {
    const { promise: ended, resolve } = Promise.withResolvers<UpstreamEnd>();
    const url = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`;
    const front = createServer((_request, response: ServerResponse) => {
      const observer = {
        answered: (
          { headers, status }: { headers: readonly (readonly [string, string])[]; status: number },
          _: unknown,
          isRewritten: boolean,
        ) => responseHeaders(headers, status, {}, isRewritten),
        faulted: () => undefined,
        threw: (error: unknown) => void faults.push(error),
      };
      const request = { url, path: '/', method: 'GET', headers: [], body: null };
      void upstreams.relay(request, response, meter, observer, { scope: 'a', lookup }).then((end) => {
        if (end.error !== undefined && !response.headersSent) response.writeHead(500).end();
        resolve(end);
      });
    }).listen(0, '127.0.0.1');
    await once(front, 'listening');
    try {
      const address = `http://127.0.0.1:${(front.address() as AddressInfo).port}/`;
      const answered = await fetch(address).catch(() => Response.error());
      const body = Buffer.from(await answered.arrayBuffer().catch(() => new ArrayBuffer(0)));
      return { body, headers: answered.headers, end: await ended };
    } finally {
      front.closeAllConnections();
      front.close();
    }
  }

  const body = Buffer.from(EVENTS);
  const chunked = (piece: Buffer): Buffer =>
    Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')]);
  const cut = (at: number): Buffer[] => [body.subarray(0, at), body.subarray(at)].filter(({ length }) => length > 0);

  test('has the same bytes at every chunk boundary, with what the meter drops left out', async () => {
    const kept = EVENTS.replace('data: drop\n', '');
    for (let at = 0; at <= body.length; at += 1) {
      const head = Buffer.from(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`);
      answer = [head, ...cut(at).map(chunked), Buffer.from('0\r\n\r\n')];
      const { body: got, end } = await call(new DroppingMeter());
      expect([at, got.toString()]).toEqual([at, kept]);
      expect(end.reading).toEqual({ usage: { requests: 1, output: 3 }, source: 'counted' });
    }
  });

  test('that is rewritten has no header about the bytes of the upstream', async () => {
    answer = [Buffer.from(`${HEAD}Content-Length: ${body.length}\r\n\r\n`), body];
    const rewritten = await call(new DroppingMeter());
    expect([rewritten.headers.get('content-length'), rewritten.headers.get('etag')]).toEqual([null, null]);
    const passed = await call(UNMETERED);
    expect([passed.headers.get('content-length'), passed.headers.get('etag')]).toEqual([String(body.length), '"x"']);
    expect(passed.body.equals(body)).toBe(true);
    expect(passed.end.reading).toBeUndefined();
  });

  test('that breaks off has what was read until then', async () => {
    answer = [Buffer.from(`${HEAD}Content-Length: 1000\r\n\r\n`), body.subarray(0, 20)];
    const { end } = await call(new DroppingMeter());
    expect(end).toMatchObject({ status: 200, reading: { usage: { output: 1 } } });
    expect(end.error).toBeDefined();
  });

  test('ends when its meter throws, and nothing else does', async () => {
    answer = [Buffer.from(`${HEAD}Content-Length: ${body.length}\r\n\r\n`), body];
    const { end } = await call(new DroppingMeter(2));
    expect(end.error?.code).toBe('internal_error');
    expect(faults).toEqual([new Error('a fault of the meter')]);
    answer = [Buffer.from(`${HEAD}Content-Length: ${body.length}\r\n\r\n`), body];
    expect((await call(UNMETERED)).body.equals(body)).toBe(true);
  });
});
