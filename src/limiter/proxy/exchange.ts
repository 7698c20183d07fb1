// Limiter, proxy: one request and its answer while they last. In: node's message pair; out: replies of the limiter,
// in the shape that the caller's client understands.
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { ErrorName } from '../../lib/errors.ts';
import { attempt } from '../../lib/guarded.ts';
import { sendAnswer } from '../../lib/http/http-listener.ts';
import type { LocalReply, RefusalContext, RouteMatch, WireRequest } from '../decide/decision.ts';
import { DEFAULT_RESPONSE, shapeOf } from '../refusal/dialects.ts';
import { renderError } from '../refusal/render.ts';
import type { RuntimeObject } from '../compile/runtime-object.ts';
import type { CorsMirror } from '../cors/cors-mirror.ts';
import { RequestNotes, type RequestRecord } from '../record/request-record.ts';
import type { JsonRpcFacts, JsonRpcId } from '../request/mcp-request.ts';

/** One request on its way; what is learned of it is noted here. */
export class Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly requestId: string;
  wire: Pick<WireRequest, 'path' | 'headers' | 'tool'> = { path: '', headers: {} };
  #rpc: JsonRpcFacts = { isJsonRpc: false, isBatch: false, ids: [] };
  mcpVersion: string | undefined;
  /** The object that takes the request, once it is routed. */
  object: RuntimeObject | undefined;
  /** Where it goes, once it is routed. */
  match: RouteMatch | undefined;
  /** What its record will say. */
  readonly notes = new RequestNotes();
  readonly #cors: CorsMirror | undefined;

  /** @param cors lets pages of other origins read the replies; absent: they cannot */
  constructor(request: IncomingMessage, response: ServerResponse, requestId: string, cors?: CorsMirror) {
    this.request = request;
    this.response = response;
    this.requestId = requestId;
    this.#cors = cors;
  }

  /** Notes what the body says, once it is read. */
  noteBody(wire: WireRequest, rpc: JsonRpcFacts): void {
    this.wire = wire;
    this.#rpc = rpc;
  }

  /** What the rendering of an answer needs to know. */
  context(): RefusalContext {
    const response = this.object?.config.response ?? DEFAULT_RESPONSE;
    const isJsonRpc = this.#rpc.isJsonRpc || this.object?.routing.kind === 'mcp';
    const jsonRpcId = this.#rpc.isBatch ? undefined : this.#rpc.ids[0];
    return {
      response,
      shape: shapeOf(response.dialect, { ...this.wire, isJsonRpc }),
      requestId: this.requestId,
      ...(jsonRpcId === undefined ? {} : { jsonRpcId }),
      ...(this.mcpVersion === undefined ? {} : { mcpProtocolVersion: this.mcpVersion }),
    };
  }

  /** Answers with an error of the table; every request of a JSON-RPC batch gets its own. */
  fail(code: ErrorName, message?: string, headers: Readonly<Record<string, string>> = {}): void {
    this.notes.failed(code);
    const context = this.context();
    const reply = renderError(code, context, message);
    const bodyFor = (jsonRpcId: JsonRpcId): string => renderError(code, { ...context, jsonRpcId }, message).body;
    const isBatch = context.shape === 'mcp' && this.#rpc.isBatch && this.#rpc.ids.length > 0;
    const body = isBatch ? `[${this.#rpc.ids.map(bodyFor).join(',')}]` : reply.body;
    this.reply({ ...reply, body, headers: { ...reply.headers, ...headers } });
  }

  /**
   * Answers, unless an answer has begun: that one is cut. A page of another origin is answered once it is known what
   * the upstream grants it. Never throws.
   */
  reply(answer: LocalReply): void {
    const { headersSent, destroyed } = this.response;
    this.notes.refused(answer.status, destroyed ? 'client_left' : headersSent ? 'cut' : 'refused');
    const send = (more: Readonly<Record<string, string>>): void => {
      sendAnswer(this.request, this.response, { ...answer, headers: { ...answer.headers, ...more } });
    };
    const more = attempt(() => this.#cors?.headersFor(this, Object.keys(answer.headers))) ?? {};
    if (more instanceof Promise) void more.then(send);
    else send(more);
  }

  /** What is known of the request, once it has ended. */
  record(durationMs: number): RequestRecord {
    const { requestId, object, request, wire } = this;
    const { method = '' } = request;
    return this.notes.record({ requestId, object: object?.resourceName, method, path: wire.path, durationMs });
  }

  /** Notes the headers of the upstream's answer. @returns `own`, with what lets a page read them */
  sawAnswer(upstream: IncomingHttpHeaders, own: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
    this.#cors?.saw(this, upstream);
    return this.#cors?.exposing(this, own, upstream) ?? own;
  }
}
