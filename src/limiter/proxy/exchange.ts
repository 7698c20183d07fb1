// Limiter, proxy: one request and its answer while they last. In: node's message pair; out: replies of the limiter, in the
// shape that the caller's client understands.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ErrorName } from '../../lib/errors.ts';
import { sendAnswer } from '../../lib/http-listener.ts';
import type { LocalReply, RefusalContext, WireRequest } from '../decide/decision.ts';
import { DEFAULT_RESPONSE } from '../refusal/default-response.ts';
import { renderError } from '../refusal/render.ts';
import { shapeOf } from '../refusal/shape.ts';
import type { RuntimeObject } from '../compile/runtime-object.ts';
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

  constructor(request: IncomingMessage, response: ServerResponse, requestId: string) {
    this.request = request;
    this.response = response;
    this.requestId = requestId;
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
  fail(code: ErrorName, message?: string, headers: Readonly<Record<string, string>> = {}): number {
    const context = this.context();
    const reply = renderError(code, context, message);
    const bodyFor = (jsonRpcId: JsonRpcId): string => renderError(code, { ...context, jsonRpcId }, message).body;
    const isBatch = context.shape === 'mcp' && this.#rpc.isBatch && this.#rpc.ids.length > 0;
    const body = isBatch ? `[${this.#rpc.ids.map(bodyFor).join(',')}]` : reply.body;
    return this.reply({ ...reply, body, headers: { ...reply.headers, ...headers } });
  }

  /** Answers, unless an answer has begun: that one is cut. Never throws. */
  reply(answer: LocalReply): number {
    sendAnswer(this.request, this.response, answer);
    return answer.status;
  }
}
