// Limiter, proxy: one request that nobody claims, on its way to the own server and back. In: a request, its body
// still to come or already read; out: the server's answer as it comes. Streamed both ways with backpressure, framed
// anew, changed in nothing.
import type { EventEmitter } from 'node:events';
import type { ClientRequest, IncomingMessage, InformationEvent, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { WeirError } from '../../lib/errors.ts';
import { askForBody, awaitsContinue } from '../../lib/http/expect-continue.ts';
import { expectsBody } from '../../lib/http/http-faults.ts';
import { linger } from '../../lib/http/lingering-close.ts';
import type { AnswerEnd } from '../record/request-record.ts';
import { pairsOf, wireAnswerHeaders } from './wire-headers.ts';

/** What is sent on. `read`: the whole body, where it had to be read before it was known that nobody claims it. */
export interface Passing {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly read?: Buffer | undefined;
  /** Opens the request to the server. */
  readonly open: () => ClientRequest;
  /** Takes the connection once the server has accepted an upgrade; absent: there is nothing to accept. */
  readonly onUpgrade?: (answer: IncomingMessage, server: Socket, bytes: Buffer) => void;
}

/** Requests that may be sent twice (RFC 9110, 9.2.2). */
const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

/**
 * Passes a request on. Resolves when the answer is out, or either side left.
 * @throws WeirError when there is no answer to relay
 */
export async function passThrough(passing: Passing): Promise<AnswerEnd> {
  const first = await new Passage(passing).run();
  const again = first.isStale ? await new Passage(passing).run() : first;
  if (again.error !== undefined) throw again.error;
  const { status, ending = 'client_left' } = again;
  return status === undefined ? { ending } : { status, ending };
}

interface PassageEnd extends Partial<AnswerEnd> {
  readonly error?: WeirError;
  /** A kept connection closed just when it was used again, and the request may be repeated. */
  readonly isStale?: boolean;
}

class Passage {
  readonly #passing: Passing;
  readonly #done = Promise.withResolvers<PassageEnd>();
  #answer: IncomingMessage | undefined;

  constructor(passing: Passing) {
    this.#passing = passing;
  }

  run(): Promise<PassageEnd> {
    const { response, open } = this.#passing;
    if (response.destroyed) return Promise.resolve({});
    let upstream: ClientRequest;
    try {
      upstream = open();
    } catch {
      return Promise.resolve({ error: new WeirError('invalid_request', 'the head of the request cannot be sent on') });
    }
    this.#listen(upstream);
    const onLeft = (): void => {
      if (!response.writableFinished) upstream.destroy();
      this.#done.resolve(this.#ended('client_left'));
    };
    response.once('close', onLeft);
    void this.#feed(upstream);
    return this.#done.promise.finally(() => response.off('close', onLeft));
  }

  #listen(upstream: ClientRequest): void {
    const { onUpgrade } = this.#passing;
    upstream.on('information', (information) => {
      this.#inform(information);
    });
    upstream.once('response', (answer) => {
      this.#relay(answer);
    });
    upstream.on('error', (error) => {
      this.#fail(upstream, error);
    });
    upstream.once('close', () => {
      if (this.#answer === undefined) this.#done.resolve({ error: new WeirError('upstream_unreachable') });
    });
    if (onUpgrade === undefined) return;
    upstream.once('upgrade', (answer, server, bytes) => {
      this.#done.resolve({ status: 101, ending: 'upgraded' });
      onUpgrade(answer, server, bytes);
    });
  }

  /** Sends the body, in step with the server. */
  async #feed(upstream: ClientRequest): Promise<void> {
    const { request, read } = this.#passing;
    try {
      if (read === undefined) {
        for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
          if (upstream.destroyed) break;
          if (!upstream.write(chunk)) await anyOf(upstream, 'drain', 'close');
        }
      } else if (read.length > 0) upstream.write(read);
      if (upstream.destroyed) return;
      upstream.addTrailers(pairsOf(request.rawTrailers));
      upstream.end();
    } catch {
      // The client left in the middle of its body, or its trailers cannot be sent: the server must not take it for
      // whole.
      upstream.destroy();
    } finally {
      if (read === undefined && !request.complete) request.resume();
    }
  }

  #inform({ statusCode, rawHeaders }: InformationEvent): void {
    const { request, response } = this.#passing;
    if (response.headersSent || response.destroyed || isOldClient(request)) return;
    try {
      if (statusCode === 100) askForBody(request);
      else response.writeInformation(statusCode, rawHeaders);
    } catch {
      // A hint that cannot be repeated is left out: the answer is still to come.
    }
  }

  #relay(answer: IncomingMessage): void {
    this.#answer = answer;
    answer.on('error', () => undefined);
    answer.once('close', () => {
      if (!answer.complete) this.#breakOff();
    });
    const { response } = this.#passing;
    try {
      if (answer.statusCode === 101) throw new Error('a switch that nobody asked for');
      if (!response.destroyed) this.#writeHead(answer);
    } catch {
      this.#done.resolve({ error: new WeirError('upstream_unreachable', 'the answer of the upstream is malformed') });
    }
    if (!response.headersSent) {
      answer.destroy();
      return;
    }
    answer.pipe(response, { end: false });
    answer.once('end', () => {
      void this.#finish(answer);
    });
  }

  #writeHead({ statusCode = 502, statusMessage = '', rawHeaders }: IncomingMessage): void {
    const { request, response } = this.#passing;
    const isOld = isOldClient(request);
    response.sendDate = false;
    if (!isOld) response.removeHeader('connection');
    // A client that was not asked for its body may send it or not: what comes next could be either.
    const closes = !response.shouldKeepAlive || awaitsContinue(request);
    const headers = wireAnswerHeaders({ rawHeaders, isOldClient: isOld, closes });
    response.writeHead(statusCode, statusMessage, headers);
    // The head goes out at once even if the body pauses; a body that is already here shares its packet.
    setImmediate(() => {
      if (!response.writableEnded) response.flushHeaders();
    });
  }

  /** A client that is still sending would lose the answer if its connection closed under it. */
  async #finish(answer: IncomingMessage): Promise<void> {
    const { request, response } = this.#passing;
    if (!request.complete && !awaitsContinue(request)) await lingering(request);
    try {
      response.addTrailers(pairsOf(answer.rawTrailers));
    } catch {
      // Trailers that cannot be repeated are left out; the body is whole.
    }
    response.end();
    this.#done.resolve(this.#ended('answered'));
  }

  #ended(ending: AnswerEnd['ending']): PassageEnd {
    const status = this.#answer?.statusCode;
    return status === undefined ? { ending } : { status, ending };
  }

  #fail(upstream: ClientRequest, error: Error): void {
    if (this.#answer !== undefined) return;
    const { request } = this.#passing;
    if (upstream.reusedSocket && !expectsBody(request) && IDEMPOTENT.has(request.method ?? '')) {
      this.#done.resolve({ isStale: true });
    } else this.#done.resolve({ error: error instanceof WeirError ? error : new WeirError('upstream_unreachable') });
  }

  /** An answer cut off in the middle must look cut off. */
  #breakOff(): void {
    this.#passing.response.destroy();
    this.#done.resolve(this.#ended('cut'));
  }
}

function isOldClient({ httpVersionMajor, httpVersionMinor }: IncomingMessage): boolean {
  return httpVersionMajor < 1 || (httpVersionMajor === 1 && httpVersionMinor === 0);
}

/** Resolves when the rest of a body was read, or when the client need not be waited for any longer. */
function lingering(request: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    const stop = linger(request.socket, resolve);
    void anyOf(request, 'end', 'error', 'close').then(stop);
  });
}

/** Resolves when one of the events happens. */
function anyOf(emitter: EventEmitter, ...events: readonly string[]): Promise<void> {
  return new Promise((resolve) => {
    const onEvent = (): void => {
      for (const event of events) emitter.off(event, onEvent);
      resolve();
    };
    for (const event of events) emitter.once(event, onEvent);
  });
}
