// Limiter, proxy: relays the answer of one call as it comes, through a meter. In: undici's events; out: the client's
// response, and how the call ended. Never buffers an answer; backpressure goes both ways; a client that leaves cancels
// the call. No event makes it throw.
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { Dispatcher } from 'undici';
import { WeirError } from '../../lib/errors.ts';
import { attempt } from '../../lib/guarded.ts';
import { checkHead, type CheckedHead } from './answer-head.ts';
import type { AnswerMeter, Reading } from '../meter/answer-meter.ts';
import { failureOf, type ConnectionFault } from './upstream-errors.ts';

/** How a call ended. `reached`: the request was sent, at least in part. `status`: absent when no answer came. */
export interface UpstreamEnd {
  readonly reached: boolean;
  readonly status?: number;
  /** Why no answer, or not all of it, came; nothing was written to the client if `status` is absent. */
  readonly error?: WeirError;
  /** Set when no connection came about, or it broke before a byte of the answer. */
  readonly trouble?: ConnectionFault;
  readonly clientLeft: boolean;
  /** What the answer said of what was used, as far as it came. */
  readonly reading?: Reading;
}

/** What an upstream did wrong without its answer being lost; and answers that were. */
export type UpstreamFault = 'invalid_answer' | 'mended_answer' | 'idle_answer';

export interface RelayObserver {
  /**
   * Called once, with a checked head; returns the headers for the client, flat (name, value, name, value …).
   * `isRewritten`: the client may get other bytes than the upstream sent.
   */
  answered(head: CheckedHead, headers: IncomingHttpHeaders, isRewritten: boolean): string[];
  /** Must not throw. */
  faulted(fault: UpstreamFault): void;
  /** The limiter's own code threw; the call is ended. Must not throw. */
  threw(error: unknown): void;
}

/** 1xx before an answer: more of them keep a call alive that never answers. */
const MAX_INFORMATIONAL = 32;

/** One call: undici's events on one side, the client's response on the other. */
export class Relay implements Dispatcher.DispatchHandler {
  readonly #response: ServerResponse;
  readonly #observer: RelayObserver;
  readonly #meter: AnswerMeter;
  readonly #idleMs: number;
  readonly #finish: (end: UpstreamEnd) => void;
  #controller: Dispatcher.DispatchController | undefined;
  #idle: NodeJS.Timeout | undefined;
  #status: number | undefined;
  #informational = 0;
  #reached = false;
  #clientLeft = false;
  #isOver = false;
  readonly #onClose = (): void => {
    if (this.#response.writableFinished) return;
    this.#clientLeft = true;
    this.#cancel(new Error('the client left'));
  };

  /** @param idleMs how long the answer may pause; 0: as long as it likes */
  constructor(
    response: ServerResponse,
    observer: RelayObserver,
    meter: AnswerMeter,
    idleMs: number,
    finish: (end: UpstreamEnd) => void,
  ) {
    this.#response = response;
    this.#observer = observer;
    this.#meter = meter;
    this.#idleMs = idleMs;
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
    reason?: string,
  ): void {
    this.#guard(() => {
      if (status >= 100 && status < 200) this.#countInformational();
      else this.#begin(status, reason ?? '', headers);
    });
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#guard(() => {
      this.#idle?.refresh();
      if (this.#write(this.#meter.chunk(chunk))) return;
      controller.pause();
      this.#response.once('drain', () => {
        this.#idle?.refresh();
        controller.resume();
      });
    });
  }

  onResponseEnd(): void {
    this.#guard(() => {
      this.#write(this.#meter.end());
      this.#response.end();
      this.#end({});
    });
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, error: Error): void {
    this.failed(error);
  }

  /** No more will come. Never throws. */
  failed(thrown: unknown): void {
    if (this.#isOver) return;
    // An answer cut off in the middle must look cut off: the connection ends without the closing chunk.
    if (this.#status !== undefined) this.#response.destroy();
    if (this.#clientLeft) {
      this.#end({});
      return;
    }
    const { error, trouble, isUnforeseen } = failureOf(thrown);
    if (isUnforeseen === true) this.#observer.threw(thrown);
    if (error.code === 'invalid_upstream_answer') this.#observer.faulted('invalid_answer');
    this.#end({ error, ...(trouble === undefined ? {} : { trouble }) });
  }

  /** false: the client is behind. */
  #write(chunks: readonly Buffer[]): boolean {
    let isReady = true;
    for (const chunk of chunks) isReady = this.#response.write(chunk);
    return isReady;
  }

  #begin(status: number, reason: string, headers: IncomingHttpHeaders): void {
    const head = checkHead(status, reason, headers);
    if ('problem' in head) {
      this.#cancel(new WeirError('invalid_upstream_answer', `the upstream sent ${head.problem}`));
      return;
    }
    if (this.#response.headersSent || this.#response.destroyed) {
      this.#clientLeft = true;
      this.#cancel(new Error('the client was answered'));
      return;
    }
    if (head.isMended) this.#observer.faulted('mended_answer');
    const isRewritten = this.#meter.start(head) === 'rewrite';
    const out = this.#observer.answered(head, headers, isRewritten);
    this.#response.writeHead(head.status, head.reason, out);
    this.#status = head.status;
    this.#watchIdle();
    // Headers go out at once even if the body pauses; a body that is already here shares their packet.
    setImmediate(() => {
      if (!this.#response.writableEnded && !this.#response.destroyed) this.#response.flushHeaders();
    });
  }

  #countInformational(): void {
    this.#informational += 1;
    if (this.#informational > MAX_INFORMATIONAL)
      this.#cancel(new WeirError('invalid_upstream_answer', 'the upstream sent only informational answers'));
  }

  #watchIdle(): void {
    if (this.#idleMs === 0) return;
    this.#idle = setTimeout(() => {
      this.#observer.faulted('idle_answer');
      this.#cancel(new WeirError('upstream_timeout', 'the answer paused for too long'));
    }, this.#idleMs);
  }

  #cancel(reason: Error): void {
    attempt(() => {
      this.#controller?.abort(reason);
    });
    this.failed(reason);
  }

  /** Runs a step of the relay: what it throws ends the call, and nothing else. */
  #guard(step: () => void): void {
    attempt(step, (error) => {
      this.#observer.threw(error);
      this.#cancel(new WeirError('internal_error'));
    });
  }

  #end(how: Pick<UpstreamEnd, 'error' | 'trouble'>): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#idle);
    this.#response.off('close', this.#onClose);
    const { reading } = this.#meter;
    this.#finish({
      reached: this.#reached,
      clientLeft: this.#clientLeft,
      ...(this.#status === undefined ? {} : { status: this.#status }),
      ...(reading === undefined ? {} : { reading }),
      ...how,
    });
  }
}
