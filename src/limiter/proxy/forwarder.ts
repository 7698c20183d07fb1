// Limiter, proxy: sends an admitted request to its upstream and settles its reservation by how that went. In: a routed
// request; out: the upstream's answer with the limiter's headers, or an error of the limiter.
import type { IncomingHttpHeaders } from 'node:http';
import type { RouteMatch } from '../decide/decision.ts';
import type { InForce } from '../config/config-applier.ts';
import type { Dialer } from './dialer.ts';
import type { Exchange } from './exchange.ts';
import { requestHeaders, responseHeaders } from './http-headers.ts';
import type { Incoming } from './incoming.ts';
import { outgoingBody } from './outgoing-body.ts';
import type { UpstreamEnd, Upstreams } from './upstream.ts';

/** What was reserved for a request. `nothing` refunds it. */
export interface Reservable {
  settle(actual: 'claimed' | 'nothing'): Promise<unknown>;
}

/** An admitted request. */
export interface Forwarding {
  readonly exchange: Exchange;
  readonly incoming: Incoming;
  readonly match: RouteMatch;
  /** Of the object; what it may dial depends on it. Absent: no object claims the request. */
  readonly namespace?: string;
  /** Lower case: headers that the caller may not pass on. */
  readonly strip: readonly string[];
  readonly inForce: InForce;
  /** The limiter's headers on the answer. */
  readonly ownHeaders: Readonly<Record<string, string>>;
  readonly reservation?: Reservable;
  /** Told when the answer opens an MCP session. */
  readonly onSession?: (session: string) => void;
}

/** Told how calls to an object's upstreams end. */
export interface UpstreamObserver {
  answered(object: string, url: string): void;
  unreachable(object: string, url: string): void;
}

export class Forwarder {
  readonly #upstreams: Upstreams;
  readonly #dialer: Dialer;
  readonly #observer: UpstreamObserver | undefined;

  constructor(upstreams: Upstreams, dialer: Dialer, observer?: UpstreamObserver) {
    this.#upstreams = upstreams;
    this.#dialer = dialer;
    this.#observer = observer;
  }

  /**
   * Forwards, relays, settles. Refunded: what the upstream never got, what it answered with 4xx or 5xx, and a connection
   * that broke before any answer. Charged: every other answer, a client that left once the upstream had the request, and
   * an upstream that took the request and did not answer in time.
   * @returns the upstream's status; undefined when it gave none
   * @throws WeirError when there is no answer of the upstream to relay
   */
  async forward(forwarding: Forwarding): Promise<number | undefined> {
    const { reservation } = forwarding;
    let isSettled = false;
    const settle = async (actual: 'claimed' | 'nothing'): Promise<void> => {
      if (isSettled) return;
      isSettled = true;
      await reservation?.settle(actual);
    };
    try {
      if (forwarding.exchange.response.destroyed) return undefined;
      const end = await this.#relay(forwarding, (status, headers) => {
        // Before the first byte of the answer goes out: who reads a refusal and tries again finds the refund there.
        if (status >= 400) void settle('nothing');
        const session = headers['mcp-session-id'];
        if (typeof session === 'string' && status < 300) forwarding.onSession?.(session);
      });
      this.#observe(forwarding, end);
      await settle(isCharged(end) ? 'claimed' : 'nothing');
      if (end.error !== undefined && end.status === undefined) throw end.error;
      return end.status;
    } finally {
      await settle('nothing');
    }
  }

  #observe({ exchange, match }: Forwarding, { reached, status, error }: UpstreamEnd): void {
    const object = exchange.object?.resourceName;
    if (object === undefined || this.#observer === undefined) return;
    if (status !== undefined) this.#observer.answered(object, match.target.url);
    else if (!reached && isUnreachable(error?.code)) this.#observer.unreachable(object, match.target.url);
  }

  #relay(
    { exchange, incoming, match, namespace, strip, inForce, ownHeaders }: Forwarding,
    onAnswer: (status: number, headers: IncomingHttpHeaders) => void,
  ): Promise<UpstreamEnd> {
    const { request, response, requestId } = exchange;
    const dial = this.#dialer.dial(inForce, namespace ?? '', match.target);
    const body = outgoingBody(incoming.body, request.headers, namespace !== undefined);
    const headers = requestHeaders(request.rawHeaders, request.headers, {
      peerAddress: incoming.wire.peerAddress,
      requestId,
      strip: new Set([...strip, ...body.untrue]),
    });
    const upstream = {
      url: match.target.url,
      path: `${match.upstreamPath}${incoming.search}`,
      method: incoming.wire.method,
      headers,
      body: body.bytes,
    };
    return this.#upstreams.relay(
      upstream,
      response,
      (status, answered) => {
        onAnswer(status, answered);
        return responseHeaders(answered, status, { ...ownHeaders, 'x-request-id': requestId });
      },
      dial.scope,
      dial.lookup,
    );
  }
}

/** No connection came about; what may not be dialled at all is no trouble of the upstream. */
function isUnreachable(code: string | undefined): boolean {
  return code === 'upstream_unreachable' || code === 'upstream_timeout';
}

function isCharged({ reached, status, error, clientLeft }: UpstreamEnd): boolean {
  if (!reached) return false;
  if (status !== undefined) return status < 400;
  return clientLeft || error?.code === 'upstream_timeout';
}
