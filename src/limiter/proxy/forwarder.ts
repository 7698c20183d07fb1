// Limiter, proxy: sends an admitted request to its upstream and settles its reservation by how that went. In: a routed
// request; out: the upstream's answer with the limiter's headers, or an error of the limiter.
import type { IncomingHttpHeaders } from 'node:http';
import type { Admission } from '../decide/admission.ts';
import type { RouteMatch } from '../decide/decision.ts';
import type { RuntimeInForce } from '../config/config-applier.ts';
import { REFUND } from '../decide/usage.ts';
import { UNMETERED } from '../meter/answer-meter.ts';
import type { Dialer } from './dialer.ts';
import type { AnswerEnd } from '../record/request-record.ts';
import type { Exchange } from './exchange.ts';
import { authorityOf, requestHeaders, responseHeaders, type HostRule } from './http-headers.ts';
import type { Incoming } from './incoming.ts';
import { outgoingBody, releaseSent } from './outgoing.ts';
import type { PageRequest } from '../cors/cors-mirror.ts';
import type { CheckedHead } from './answer-head.ts';
import type { RelayObserver, UpstreamEnd, UpstreamFault } from './relay.ts';
import { endingOf } from './settlement.ts';
import type { ConnectionFault } from './upstream-errors.ts';
import type { Upstreams } from './upstream.ts';

/** An admitted request. */
export interface Forwarding {
  readonly exchange: Exchange;
  readonly incoming: Incoming;
  readonly match: RouteMatch;
  /** Of the object; what it may dial depends on it. Absent: no object claims the request. */
  readonly namespace?: string;
  /** Flat; absent: those of the request. */
  readonly rawHeaders?: readonly string[];
  /** Lower case: headers that the caller may not pass on. */
  readonly strip: readonly string[];
  /** What the peer says of the original request is believed. */
  readonly isTrustedProxy: boolean;
  readonly inForce: RuntimeInForce;
  /** The limiter's headers on the answer. */
  readonly ownHeaders: Readonly<Record<string, string>>;
  /** Absent: nothing was taken. */
  readonly admission?: Pick<Admission, 'settle'>;
  /** Told when the answer opens an MCP session. */
  readonly onSession?: (session: string) => void;
}

/** A page's request that the limiter answers, and where it would have gone. */
export interface CorsQuestion extends Pick<Forwarding, 'match' | 'namespace' | 'inForce'> {
  readonly page: Pick<PageRequest, 'request' | 'requestId'>;
}

/** The answer to a page waits for it. */
const CORS_DEADLINE_MS = 1_000;

/** Told how calls to an object's upstreams end. */
export interface UpstreamObserver {
  answered(object: string, url: string): void;
  unreachable(object: string, url: string, trouble: ConnectionFault): void;
  /** Of any upstream, a sidecar's own pod included. */
  faulted(fault: UpstreamFault): void;
  /** The limiter's own code threw. */
  threw(error: unknown): void;
}

export class Forwarder {
  readonly #upstreams: Upstreams;
  readonly #dialer: Dialer;
  readonly #observer: UpstreamObserver;

  /** @param observer must not throw */
  constructor(upstreams: Upstreams, dialer: Dialer, observer: UpstreamObserver) {
    this.#upstreams = upstreams;
    this.#dialer = dialer;
    this.#observer = observer;
  }

  /**
   * Forwards, relays, settles as {@link endingOf} says.
   * Notes for the record of the request how its answer ended.
   * @throws WeirError when there is no answer of the upstream to relay
   */
  async forward(forwarding: Forwarding): Promise<void> {
    const { exchange, admission } = forwarding;
    try {
      if (exchange.response.destroyed) {
        exchange.notes.answered({ ending: 'client_left' });
        return;
      }
      const end = await this.#relay(forwarding);
      this.#observe(forwarding, end);
      await admission?.settle(endingOf(end));
      if (end.error !== undefined && end.status === undefined) throw end.error;
      exchange.notes.answered(answerEndOf(end));
    } finally {
      await admission?.settle(REFUND);
    }
  }

  #observe({ exchange, match }: Forwarding, { status, trouble }: UpstreamEnd): void {
    const object = exchange.object?.resourceName;
    if (object === undefined) return;
    if (status !== undefined) this.#observer.answered(object, match.target.url);
    else if (trouble !== undefined) this.#observer.unreachable(object, match.target.url, trouble);
  }

  #relay(forwarding: Forwarding): Promise<UpstreamEnd> {
    const { exchange, incoming, match, namespace, strip, inForce } = forwarding;
    const { request, response, requestId } = exchange;
    const dial = this.#dialer.dial(inForce, namespace ?? '', match.target);
    const body = outgoingBody(incoming.body, request.headers, namespace !== undefined);
    const headers = requestHeaders(forwarding.rawHeaders ?? request.rawHeaders, request.headers, {
      peerAddress: incoming.wire.peerAddress,
      requestId,
      host: this.#hostRule(forwarding),
      authority: authorityOf(request.url ?? '', request.headers.host),
      strip: new Set([...strip, ...body.untrue]),
    });
    headers.push(...body.lengthHeader);
    const upstream = {
      url: match.target.url,
      path: `${match.upstreamPath}${incoming.search}`,
      method: incoming.wire.method,
      headers,
      body: body.content,
    };
    const observer: RelayObserver = {
      answered: (head, answered, isRewritten) => {
        releaseSent(incoming.body, body);
        return this.#answered(forwarding, head, answered, isRewritten);
      },
      faulted: (fault) => {
        this.#observer.faulted(fault);
      },
      threw: (error) => {
        this.#observer.threw(error);
      },
    };
    return this.#upstreams.relay(upstream, response, UNMETERED, observer, dial);
  }

  /**
   * Asks an upstream, by a preflight, what it grants a page for a request that goes there.
   * @returns the headers of its answer; undefined when none came in time, or the target may not be dialled; never
   * rejects
   */
  async askCors({ page, match, namespace = '', inForce }: CorsQuestion): Promise<IncomingHttpHeaders | undefined> {
    const { request, requestId } = page;
    const isKept = this.#dialer.isOwn(match.target) && match.target.url.startsWith('http:');
    const asked = ['Origin', request.headers.origin ?? '', 'Access-Control-Request-Method', request.method ?? 'GET'];
    const headers = requestHeaders(
      asked,
      {},
      {
        peerAddress: request.socket.remoteAddress ?? '',
        requestId,
        host: isKept ? 'kept' : 'stated',
        authority: authorityOf(request.url ?? '', request.headers.host),
        strip: new Set(),
      },
    );
    const question = {
      url: match.target.url,
      path: match.upstreamPath,
      method: 'OPTIONS',
      headers,
      body: null,
    };
    try {
      const dial = this.#dialer.dial(inForce, namespace, match.target);
      return await this.#upstreams.ask(question, CORS_DEADLINE_MS, dial);
    } catch {
      return undefined;
    }
  }

  /** A server behind TLS has a certificate for its own name, and is called by it. */
  #hostRule({ isTrustedProxy, match: { target } }: Forwarding): HostRule {
    if (this.#dialer.isOwn(target) && target.url.startsWith('http:')) return 'kept';
    return isTrustedProxy ? 'believed' : 'stated';
  }

  /** Before the first byte of the answer goes out: who reads a refusal and tries again finds the refund there. */
  #answered(
    { exchange, admission, onSession, ownHeaders }: Forwarding,
    { status, headers }: CheckedHead,
    answered: IncomingHttpHeaders,
    isRewritten: boolean,
  ): string[] {
    const { 'mcp-session-id': session } = answered;
    if (status >= 400) void admission?.settle(REFUND);
    if (typeof session === 'string' && status < 300) onSession?.(session);
    const own = exchange.sawAnswer(answered, { ...ownHeaders, 'x-request-id': exchange.requestId });
    return responseHeaders(headers, status, own, isRewritten);
  }
}

function answerEndOf({ status, error, clientLeft }: UpstreamEnd): AnswerEnd {
  const ending = clientLeft ? 'client_left' : error === undefined ? 'answered' : 'cut';
  return status === undefined ? { ending } : { status, ending };
}
