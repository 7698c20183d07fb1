// Limiter, proxy: the path of a request, in this order and no other: read -> route (once) -> identity -> limits and
// keys -> reserve (one step) -> upstream -> settle. In: HTTP requests; out: answers of the upstream, or of the
// limiter.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { WeirError } from '../../lib/errors.ts';
import { requestIdOf } from '../../lib/http/request-id.ts';
import type { RuntimeInForce } from '../config/config-applier.ts';
import type { Decided } from '../decide/decide.ts';
import type { Decision, RequestFacts, RouteMatch } from '../decide/decision.ts';
import { ONE_REQUEST, REFUND } from '../decide/usage.ts';
import { establishIdentity, factsOf, type SeenCaller } from '../identity/identity.ts';
import { allowedHeaders, renderRefusal } from '../refusal/render.ts';
import type { RuntimeObject } from '../compile/runtime-object.ts';
import { Browsers } from './browsers.ts';
import { isPreflight } from '../cors/cors.ts';
import { Exchange } from './exchange.ts';
import { readHead, readIncoming, type Incoming, type RequestHead } from './incoming.ts';
import { faultReply, mcpRefusalReply } from './mcp-answers.ts';
import type { BodyHold } from '../request/body-budget.ts';
import { endpointOf, isNamedByPathAlone } from '../request/endpoints.ts';
import { isMcpFault, readMcpRequest, type McpRequest } from '../request/mcp-request.ts';
import { headerSource, unclearText } from '../request/one-value.ts';
import { inTime } from '../request/reading-deadline.ts';
import type { ProxyOptions } from './proxy-options.ts';
import type { Resolution } from '../route/route-index.ts';
import { McpSessions } from './sessions.ts';
import { closingResponse } from './unclaimed.ts';
import { isTunnel, offeredProtocols } from './wire-headers.ts';

/** A request that an object takes. */
interface Routed {
  readonly exchange: Exchange;
  readonly incoming: Incoming;
  readonly object: RuntimeObject;
  readonly match: RouteMatch;
  readonly seen: SeenCaller;
}

/** A routed request whose caller is known. */
interface Identified extends Routed {
  readonly facts: RequestFacts;
  /** Lower case: headers that spoke of the caller to the limiter alone. */
  readonly strip: readonly string[];
}

/** Paths where MCP clients learn how to authenticate: free, and open to callers without an identity. */
const OAUTH_METADATA = /^\/\.well-known\/(oauth-|openid-configuration)/;

const CONTENT_TYPE = headerSource('content-type');

export class Proxy {
  readonly #options: ProxyOptions;
  readonly #sessions = new McpSessions();
  readonly #browsers: Browsers;
  #inFlight = 0;

  constructor(options: ProxyOptions) {
    this.#options = options;
    this.#browsers = new Browsers(options);
  }

  /** Serves one request; never rejects. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const exchange = new Exchange(request, response, requestIdOf(request), this.#browsers.cors);
    this.#options.unclaimed?.started(exchange);
    await this.#run(exchange, (hold) => this.#serve(exchange, hold));
  }

  /** true: this request asks for an upgrade that no limit is in the way of; then `upgrade` takes it. */
  mayUpgrade(request: IncomingMessage): boolean {
    return this.#options.unclaimed?.mayUpgrade(request) ?? false;
  }

  /** Serves a request that asks for an upgrade, on the connection that node has handed over; never rejects. */
  async upgrade(request: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    const { unclaimed } = this.#options;
    socket.on('error', () => undefined);
    const response = closingResponse(request, socket);
    if (response === undefined || unclaimed === undefined) {
      socket.destroy();
      return;
    }
    const exchange = new Exchange(request, response, requestIdOf(request), this.#browsers.cors);
    await this.#run(exchange, () => unclaimed.upgrade(exchange, socket, head));
  }

  async #run(exchange: Exchange, serve: (hold: BodyHold) => Promise<void>): Promise<void> {
    const { metrics, errors, bodyBudget, clock, observed } = this.#options;
    const startMs = clock.monotonicMs();
    const hold = bodyBudget.open();
    this.#inFlight += 1;
    metrics.requestsInFlight(this.#inFlight);
    exchange.response.once('close', () => {
      this.#inFlight -= 1;
      metrics.requestsInFlight(this.#inFlight);
      hold.release();
    });
    try {
      await serve(hold);
    } catch (error) {
      if (error instanceof WeirError) exchange.fail(error.code, error.message);
      else {
        errors.note('traffic', error, { requestId: exchange.requestId });
        exchange.fail('internal_error');
      }
    } finally {
      // An answered request may stay open a while for the rest of what its client sends.
      hold.release();
      observed(exchange.record(clock.monotonicMs() - startMs));
    }
  }

  async #serve(exchange: Exchange, hold: BodyHold): Promise<void> {
    const { unclaimed } = this.#options;
    if (unclaimed?.isAll === true) {
      await unclaimed.pass(exchange);
      return;
    }
    const head = readHead(exchange.request);
    exchange.wire = head.wire;
    if (asksForUpgrade(exchange.request)) {
      this.#claimPlace(exchange, head);
      exchange.fail('upgrade_required', undefined, { upgrade: 'HTTP/1.1', connection: 'upgrade' });
      return;
    }
    if (await unclaimed?.passes(exchange, head.wire)) return;
    if (isPreflight(exchange.request) && (await this.#browsers.pass(exchange, head, hold))) return;
    const incoming = await inTime(this.#read(exchange, head, hold), this.#options.requestTimeoutMs);
    await this.#options.configured.whenDecided();
    await this.#route(exchange, incoming);
  }

  async #read(exchange: Exchange, head: RequestHead, hold: BodyHold): Promise<Incoming> {
    try {
      const incoming = await readIncoming(exchange.request, head, this.#options.bodyBounds, hold);
      exchange.noteBody(incoming.wire, incoming.rpc);
      return incoming;
    } catch (error) {
      // Who claims the place says in which form a body that cannot be read is answered.
      this.#claimPlace(exchange, head);
      throw error;
    }
  }

  #claimPlace(exchange: Exchange, head: RequestHead): void {
    const claimed = this.#options.inForce().set.index.claim(head.wire);
    if (claimed.kind !== 'unclaimed') exchange.object = claimed.object;
  }

  async #route(exchange: Exchange, incoming: Incoming): Promise<void> {
    const inForce = this.#options.inForce();
    const resolution = this.#resolve(exchange, incoming, inForce);
    if (resolution.kind === 'matched') {
      const { object, match, seen } = resolution;
      exchange.object = object;
      exchange.match = match;
      const routed: Routed = { exchange, incoming, object, match, seen };
      await (object.routing.kind === 'mcp' ? this.#serveMcp(routed) : this.#serveModel(routed));
      return;
    }
    if (this.#options.configured.state === 'unconfigured' && !this.#passesUnconfigured(exchange)) {
      exchange.fail('unconfigured', undefined, { 'retry-after': '1' });
    } else if (resolution.kind === 'unclaimed' && this.#options.unclaimed !== undefined) {
      if (inForce.set.index.hasModels) rejectHiddenModel(incoming);
      await this.#options.unclaimed.pass(exchange, { read: incoming.body.raw, wire: incoming.wire });
    } else this.#notFound(exchange, resolution);
  }

  #notFound(exchange: Exchange, resolution: Resolution): void {
    exchange.notes.placing ??= 'not_found';
    const near = resolution.kind === 'notFound' ? resolution : undefined;
    exchange.object = near?.object;
    exchange.fail(near?.code ?? 'not_found');
  }

  /** @throws WeirError for a request that could belong to one object or another */
  #resolve(
    exchange: Exchange,
    { wire, json }: Incoming,
    { set }: RuntimeInForce,
  ): Exclude<Resolution, { kind: 'unclear' }> {
    const resolution = set.index.resolve(wire, this.#options.random);
    if (resolution.kind !== 'unclear') return resolution;
    exchange.object = resolution.object;
    // A body that cannot be read names nothing: that is what is wrong with it.
    rejectUnreadable({ json });
    throw new WeirError(resolution.code, resolution.message);
  }

  #passesUnconfigured({ notes }: Exchange): boolean {
    const passes = this.#options.unconfiguredPolicy === 'Pass' && this.#options.ownTarget !== undefined;
    notes.placing = passes ? 'unconfigured_passed' : 'unconfigured_refused';
    return passes;
  }

  async #serveModel(routed: Routed): Promise<void> {
    const { incoming, exchange } = routed;
    // Binary tensors stand behind the JSON of KServe's protocol: where the path alone names the model, the body cannot.
    if (!isNamedByPathAlone(endpointOf(incoming.wire.method, incoming.wire.path))) rejectUnreadable(incoming);
    const identified = this.#identify(routed);
    if (identified === undefined) return;
    const decided = await this.#decide(identified, [identified.facts]);
    const { decision } = decided;
    if (decision.kind === 'allowed') await this.#forward(identified, decided);
    else exchange.reply(renderRefusal(decision, exchange.context(), this.#now()));
  }

  async #serveMcp(routed: Routed): Promise<void> {
    const { exchange, incoming, object } = routed;
    const { headers, session } = incoming.wire;
    const sessionVersion = this.#sessions.versionOf(object.resourceName, session);
    exchange.mcpVersion = headers['mcp-protocol-version'] ?? sessionVersion;
    const mcp = readMcpRequest(incoming.json, headers, sessionVersion);
    if (isMcpFault(mcp)) {
      exchange.reply(faultReply(mcp, exchange.requestId));
      return;
    }
    const isMetadata = mcp.calls.length === 0 && OAUTH_METADATA.test(routed.match.upstreamPath);
    const identified = this.#identify(routed, isMetadata);
    if (identified === undefined) return;
    const decided = await this.#decideCalls(identified, mcp);
    const decision = decided?.decision;
    if (decision !== undefined && decision.kind !== 'allowed') {
      exchange.reply(mcpRefusalReply(decision, mcp, exchange.context(), this.#now()));
      return;
    }
    await this.#forward(identified, decided, this.#sessionWatch(object, mcp));
  }

  /** Counts tools/call alone; undefined: there is none in the body, so nothing is asked. */
  async #decideCalls(identified: Identified, mcp: McpRequest): Promise<Decided | undefined> {
    if (mcp.calls.length === 0) return undefined;
    const calls = mcp.calls.map(({ name }) => ({ ...identified.facts, tool: name }));
    return this.#decide(identified, calls);
  }

  #sessionWatch(object: RuntimeObject, mcp: McpRequest): ((session: string) => void) | undefined {
    const version = mcp.messages.find(({ protocolVersion }) => protocolVersion !== undefined)?.protocolVersion;
    if (version === undefined) return undefined;
    return (session) => {
      this.#sessions.opened(object.resourceName, session, version);
    };
  }

  /** Who calls; undefined when the answer was 401. `isOpen`: nobody needs to be somebody here. */
  #identify(routed: Routed, isOpen = false): Identified | undefined {
    const { exchange, incoming, object, match, seen } = routed;
    const result = establishIdentity(object, seen);
    if (result.kind === 'unauthenticated' && !isOpen) {
      exchange.fail('unauthenticated', result.problem);
      return undefined;
    }
    exchange.notes.identity = result.identity;
    return { ...routed, facts: factsOf(incoming.wire, match, result), strip: result.strip };
  }

  async #decide({ exchange, object }: Routed, facts: readonly RequestFacts[]): Promise<Decided> {
    const { decider, clock } = this.#options;
    const start = clock.monotonicMs();
    const asks = facts.map((of) => ({ facts: of, estimate: ONE_REQUEST }));
    const decided = await decider.decide([object.limitSet], asks);
    exchange.notes.decided(decided.decision, clock.monotonicMs() - start);
    return decided;
  }

  async #forward(
    { exchange, incoming, object, match, seen, strip }: Identified,
    { decision, admission }: Partial<Decided> = {},
    onSession?: (session: string) => void,
  ): Promise<void> {
    try {
      await this.#options.forwarder.forward({
        exchange,
        incoming,
        match,
        namespace: object.config.namespace,
        strip,
        isTrustedProxy: seen.isTrustedProxy,
        inForce: this.#options.inForce(),
        ownHeaders: this.#ownHeaders(exchange, decision),
        ...(admission === undefined ? {} : { admission }),
        ...(onSession === undefined ? {} : { onSession }),
      });
    } finally {
      // Settled by the forwarder, unless it was never reached.
      await admission?.settle(REFUND);
    }
  }

  #ownHeaders(exchange: Exchange, decision: Decision | undefined): Record<string, string> {
    return decision?.kind === 'allowed' ? allowedHeaders(decision, exchange.context(), this.#now()) : {};
  }

  #now(): number {
    return this.#options.clock.nowMicros();
  }
}

/** @throws WeirError for a body that the limiter and an upstream could read differently */
function rejectUnreadable({ json }: Pick<Incoming, 'json'>): void {
  if (json.kind === 'ambiguous') throw new WeirError(json.code ?? 'invalid_request', json.problem);
}

/** Refuses a body that could name a model to the upstream and does not to the limiter; routing saw to the others. */
function rejectHiddenModel(incoming: Incoming): void {
  rejectUnreadable(incoming);
  const { wire } = incoming;
  if (wire.unclear?.has(CONTENT_TYPE) === true) throw new WeirError('invalid_request', unclearText(CONTENT_TYPE));
}

/** true: a protocol that is not HTTP; an offer of another HTTP is one that a server may pass over. */
function asksForUpgrade(request: IncomingMessage): boolean {
  const { upgrade, connection } = request.headers;
  if (upgrade === undefined || !/(^|,)\s*upgrade\s*(,|$)/i.test(connection ?? '')) return false;
  return !offeredProtocols(upgrade).every(isTunnel);
}
