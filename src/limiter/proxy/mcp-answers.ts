// Limiter, proxy: the limiter's own answers to MCP bodies that are faulty, and to batches that are refused. In: a
// fault or a decision; out: a reply.
import type { Decision, LocalReply, RefusalContext } from '../decide/decision.ts';
import { jsonRpcText } from '../refusal/mcp.ts';
import { renderRefusal } from '../refusal/render.ts';
import type { McpFault, McpMessage, McpRequest } from '../request/mcp-request.ts';

type Refusal = Exclude<Decision, { kind: 'allowed' }>;

/** A JSON-RPC error; the id is left out when the message has none. */
export function faultReply(fault: McpFault, requestId: string): LocalReply {
  const { status = 400, id, code, message } = fault;
  return {
    status,
    headers: { 'content-type': 'application/json', 'x-request-id': requestId },
    body: jsonRpcText(id, 'error', { code, message }),
  };
}

/** The refusal of a body: of its one message, or of a batch, where every request in it is answered in order. */
export function mcpRefusalReply(
  decision: Refusal,
  request: McpRequest,
  context: RefusalContext,
  nowMicros: number,
): LocalReply {
  const render = (message: McpMessage | undefined): LocalReply =>
    renderRefusal(decision, contextOf(message, context, request.calls), nowMicros);
  if (!request.isBatch) return render(request.calls[0]);
  const answered = request.messages.filter((message) => message.id !== undefined && message.method !== undefined);
  const replies = answered.map(render);
  const first = render(answered.find((message) => request.calls.includes(message)) ?? request.calls[0]);
  if (replies.length === 0) return first;
  return { ...first, body: `[${replies.map(({ body }) => body).join(',')}]` };
}

/** Of a batch only calls can be answered by a tool's result; the others were not executed either: an error says so. */
function contextOf(
  message: McpMessage | undefined,
  context: RefusalContext,
  calls: readonly McpMessage[],
): RefusalContext {
  const isCall = message !== undefined && calls.includes(message);
  const { mcp } = context.response;
  const response =
    isCall || mcp.form !== 'ToolResult'
      ? context.response
      : { ...context.response, mcp: { ...mcp, form: 'JSONRPCError' as const } };
  const isNotification = message?.id === undefined;
  return { ...context, response, isNotification, ...(message?.id === undefined ? {} : { jsonRpcId: message.id }) };
}
