// Limiter, proxy: calls an upstream and relays its answer as it comes. In: a request with its whole body and the client's
// response; out: how it ended. Never buffers an answer; backpressure goes both ways; a client that leaves cancels it.
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { LookupFunction } from 'node:net';
import { Agent, type Dispatcher } from 'undici';
import { WeirError } from '../../lib/errors.ts';

/** What goes to an upstream. */
export interface UpstreamRequest {
  /** The target's base: scheme, host, port and a path that is put before `path`. */
  readonly url: string;
  /** Path and query below the base. */
  readonly path: string;
  readonly method: string;
  /** Flat: name, value, name, value … */
  readonly headers: string[];
  readonly body: Buffer;
}

/** How a call ended. `reached`: the request was sent, at least in part. `status`: absent when no answer came. */
export interface UpstreamEnd {
  readonly reached: boolean;
  readonly status?: number;
  /** Why no answer, or not all of it, came; nothing was written to the client if `status` is absent. */
  readonly error?: WeirError;
  readonly clientLeft: boolean;
}

/** Called once, with the upstream's status and headers; returns the headers for the client. */
export type AnswerHeaders = (status: number, headers: IncomingHttpHeaders) => Record<string, string | string[]>;

export interface UpstreamTimeouts {
  readonly connectMs: number;
  /** From the request sent to the answer's headers. Bodies have no time limit: a stream may pause as long as it likes. */
  readonly headersMs: number;
}

/** The connections to upstreams, pooled per origin and per lookup (what one object may dial, another may not). */
export class Upstreams {
  readonly #timeouts: UpstreamTimeouts;
  readonly #agents = new Map<string, Agent>();

  constructor(timeouts: UpstreamTimeouts) {
    this.#timeouts = timeouts;
  }

  /**
   * Sends a request and relays the answer into `response`.
   * @param scope names the lookup: equal scopes share connections
   * @param lookup resolves host names, and fails with a WeirError for an address that may not be dialled
   * @returns when the answer is complete, failed or cancelled; never rejects
   */
  relay(
    request: UpstreamRequest,
    response: ServerResponse,
    answerHeaders: AnswerHeaders,
    scope: string,
    lookup: LookupFunction,
  ): Promise<UpstreamEnd> {
    const base = new URL(request.url);
    const basePath = base.pathname === '/' ? '' : base.pathname.replace(/\/$/, '');
    const { promise, resolve } = Promise.withResolvers<UpstreamEnd>();
    const relay = new Relay(response, answerHeaders, resolve);
    const options: Dispatcher.DispatchOptions = {
      origin: base.origin,
      path: `${basePath}${request.path}`,
      method: request.method,
      headers: request.headers,
      body: request.body.length > 0 ? request.body : null,
      headersTimeout: this.#timeouts.headersMs,
      bodyTimeout: 0,
    };
    try {
      this.#agentOf(scope, lookup).dispatch(options, relay);
    } catch (error) {
      relay.onResponseError(undefined, error instanceof Error ? error : new Error(String(error)));
    }
    return promise;
  }

  /** Forgets the connections of scopes that `keep` does not want; calls in flight on them end undisturbed. */
  prune(keep: (scope: string) => boolean): void {
    for (const [scope, agent] of this.#agents) {
      if (keep(scope)) continue;
      this.#agents.delete(scope);
      void agent.close().catch(() => undefined);
    }
  }

  /** Ends all connections, those with calls in flight too. */
  async close(): Promise<void> {
    const agents = [...this.#agents.values()];
    this.#agents.clear();
    await Promise.all(agents.map((agent) => agent.destroy()));
  }

  #agentOf(scope: string, lookup: LookupFunction): Agent {
    let agent = this.#agents.get(scope);
    if (agent === undefined) {
      agent = new Agent({ connect: { lookup, timeout: this.#timeouts.connectMs }, pipelining: 1 });
      this.#agents.set(scope, agent);
    }
    return agent;
  }
}

/** One call: undici's events on one side, the client's response on the other. */
class Relay implements Dispatcher.DispatchHandler {
  readonly #response: ServerResponse;
  readonly #answerHeaders: AnswerHeaders;
  readonly #finish: (end: UpstreamEnd) => void;
  #controller: Dispatcher.DispatchController | undefined;
  #status: number | undefined;
  #reached = false;
  #clientLeft = false;
  readonly #onClose = (): void => {
    if (this.#response.writableFinished) return;
    this.#clientLeft = true;
    if (this.#controller === undefined) this.#end();
    else this.#controller.abort(new Error('the client left'));
  };

  constructor(response: ServerResponse, answerHeaders: AnswerHeaders, finish: (end: UpstreamEnd) => void) {
    this.#response = response;
    this.#answerHeaders = answerHeaders;
    this.#finish = finish;
    response.once('close', this.#onClose);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#clientLeft || this.#response.destroyed) {
      this.#clientLeft = true;
      controller.abort(new Error('the client left'));
    } else this.#reached = true;
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
    statusMessage?: string,
  ): void {
    if (status < 200) return;
    const out = this.#answerHeaders(status, headers);
    this.#response.writeHead(status, statusMessage ?? '', out);
    this.#status = status;
    // Headers go out at once even if the body pauses; a body that is already here shares their packet.
    setImmediate(() => {
      if (!this.#response.writableEnded) this.#response.flushHeaders();
    });
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#response.write(chunk)) return;
    controller.pause();
    this.#response.once('drain', () => {
      controller.resume();
    });
  }

  onResponseEnd(): void {
    this.#response.end();
    this.#end();
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, error: Error): void {
    // An answer cut off in the middle must look cut off: the connection ends without the closing chunk.
    if (this.#response.headersSent) this.#response.destroy();
    this.#end(this.#clientLeft ? undefined : errorOf(error));
  }

  #end(error?: WeirError): void {
    this.#response.off('close', this.#onClose);
    this.#finish({
      reached: this.#reached,
      clientLeft: this.#clientLeft,
      ...(this.#status === undefined ? {} : { status: this.#status }),
      ...(error === undefined ? {} : { error }),
    });
  }
}

function errorOf(error: Error): WeirError {
  if (error instanceof WeirError) return error;
  const code = 'code' in error ? String(error.code) : '';
  if (code === 'UND_ERR_HEADERS_TIMEOUT') return new WeirError('upstream_timeout');
  if (code === 'UND_ERR_CONNECT_TIMEOUT')
    return new WeirError('upstream_timeout', 'the upstream does not accept connections');
  return new WeirError('upstream_unreachable');
}
