// Limiter, proxy: the connections to upstreams, and calls over them. In: a request with its whole body and the
// client's response; out: how it ended.
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { LookupFunction } from 'node:net';
import type { Readable } from 'node:stream';
import { Agent, type Dispatcher } from 'undici';
import type { Dial } from './dialer.ts';
import type { LimiterSettings } from '../settings.ts';
import type { AnswerMeter } from '../meter/answer-meter.ts';
import { Relay, type RelayObserver, type UpstreamEnd } from './relay.ts';

/** What goes to an upstream. */
export interface UpstreamRequest {
  /** The target's base: scheme, host, port and a path that is put before `path`. */
  readonly url: string;
  /** Path and query below the base. */
  readonly path: string;
  readonly method: string;
  /** Flat: name, value, name, value … */
  readonly headers: string[];
  readonly body: Buffer | Readable | null;
}

export type UpstreamTimeouts = Pick<
  LimiterSettings,
  'connectTimeoutMs' | 'headersTimeoutMs' | 'streamIdleTimeoutMs' | 'upstreamIdleTimeoutMs'
>;

/** Beyond it the answer is no answer. */
const MAX_ANSWER_HEAD_BYTES = 64 * 1024;

/** The connections to upstreams, pooled per origin and per lookup (what one object may dial, another may not). */
export class Upstreams {
  readonly #timeouts: UpstreamTimeouts;
  readonly #agents = new Map<string, Agent>();

  constructor(timeouts: UpstreamTimeouts) {
    this.#timeouts = timeouts;
  }

  /**
   * Sends a request and relays the answer into `response`.
   * @param meter reads the answer, of this call alone
   * @param observer is asked for the headers of the answer; what it throws ends the call
   * @returns when the answer is complete, failed or cancelled; never rejects
   */
  relay(
    request: UpstreamRequest,
    response: ServerResponse,
    meter: AnswerMeter,
    observer: RelayObserver,
    { scope, lookup }: Dial,
  ): Promise<UpstreamEnd> {
    const { promise, resolve } = Promise.withResolvers<UpstreamEnd>();
    const relay = new Relay(response, observer, meter, this.#timeouts.streamIdleTimeoutMs, resolve);
    try {
      this.#agentOf(scope, lookup).dispatch(this.#optionsOf(request), relay);
    } catch (error) {
      relay.failed(error);
    }
    return promise;
  }

  /**
   * Sends a request, and takes the headers of its answer alone.
   * @returns undefined when none came within `deadlineMs`; never rejects
   */
  ask(request: UpstreamRequest, deadlineMs: number, { scope, lookup }: Dial): Promise<IncomingHttpHeaders | undefined> {
    const { promise, resolve } = Promise.withResolvers<IncomingHttpHeaders | undefined>();
    const question = new Question(deadlineMs, resolve);
    try {
      this.#agentOf(scope, lookup).dispatch(this.#optionsOf(request), question);
    } catch {
      question.onResponseError();
    }
    return promise;
  }

  #optionsOf(request: UpstreamRequest): Dispatcher.DispatchOptions {
    const base = new URL(request.url);
    const basePath = base.pathname === '/' ? '' : base.pathname.replace(/\/$/, '');
    return {
      origin: base.origin,
      path: `${basePath}${request.path}`,
      method: request.method,
      headers: request.headers,
      body: request.body,
      headersTimeout: this.#timeouts.headersTimeoutMs,
      bodyTimeout: 0,
    };
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
      const { connectTimeoutMs, upstreamIdleTimeoutMs } = this.#timeouts;
      agent = new Agent({
        connect: { lookup, timeout: connectTimeoutMs },
        pipelining: 1,
        keepAliveTimeout: upstreamIdleTimeoutMs,
        maxHeaderSize: MAX_ANSWER_HEAD_BYTES,
      });
      this.#agents.set(scope, agent);
    }
    return agent;
  }
}

/** A deadline is waited for in so many steps: a process that stood still for a moment has lost one of them, not all. */
const DEADLINE_STEPS = 10;

/** One question: the headers of its answer count, the body is dropped, within bounds. */
class Question implements Dispatcher.DispatchHandler {
  readonly #answer: (headers: IncomingHttpHeaders | undefined) => void;
  #deadline: NodeJS.Timeout | undefined;
  #controller: Dispatcher.DispatchController | undefined;
  #bytes = 0;
  #isOver = false;

  constructor(deadlineMs: number, answer: (headers: IncomingHttpHeaders | undefined) => void) {
    this.#answer = answer;
    this.#wait(deadlineMs / DEADLINE_STEPS, DEADLINE_STEPS);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#isOver) controller.abort(new Error('no answer in time'));
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    if (status >= 200) this.#answer(headers);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.#bytes > MAX_ANSWER_HEAD_BYTES) controller.abort(new Error('the answer is too large'));
  }

  onResponseEnd(): void {
    clearTimeout(this.#deadline);
  }

  onResponseError(): void {
    clearTimeout(this.#deadline);
    this.#answer(undefined);
  }

  #wait(stepMs: number, steps: number): void {
    this.#deadline = setTimeout(() => {
      if (steps > 1) this.#wait(stepMs, steps - 1);
      else this.#giveUp();
    }, stepMs);
  }

  #giveUp(): void {
    this.#isOver = true;
    this.#controller?.abort(new Error('no answer in time'));
    this.onResponseError();
  }
}
