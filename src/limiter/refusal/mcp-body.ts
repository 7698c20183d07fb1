// Limiter, refuse stage: what went wrong with an MCP message -> status and JSON-RPC body in the configured form.
import type { RefusalContext } from '../decide/decision.ts';
import type { Fault } from './bodies.ts';

/** Protocol versions are dates: they compare as texts. */
const NO_SERVER_CODES_SINCE = '2026-07-28';
const SERVER_CODE = -32029;

const JSON_RPC_CODES: Readonly<Partial<Record<Fault['code'], number>>> = {
  header_mismatch: -32020,
  invalid_request: -32600,
  upstream_unreachable: -32603,
  upstream_timeout: -32603,
  egress_refused: -32603,
};

/**
 * A refusal of a tools/call. ToolResult: HTTP 200 with a result that the model can read; JSONRPCError: HTTP 200 with an
 * error; HTTP429: the status itself with an error. An outage (503) is never a result. Notifications have no body.
 */
export function mcpRefusal(fault: Fault, context: RefusalContext): { status: number; body: string } {
  const { form } = context.response.mcp;
  if (context.isNotification === true) return { status: fault.status, body: '' };
  if (fault.status >= 500 || form === 'HTTP429') return { status: fault.status, body: errorBody(fault, context) };
  return { status: 200, body: form === 'ToolResult' ? resultBody(fault, context) : errorBody(fault, context) };
}

/** An error that is no refusal (404, 401, malformed): its own status whatever the form. */
export function mcpError(fault: Fault, context: RefusalContext): { status: number; body: string } {
  return { status: fault.status, body: context.isNotification === true ? '' : errorBody(fault, context) };
}

function resultBody(fault: Fault, context: RefusalContext): string {
  return JSON.stringify({
    jsonrpc: '2.0',
    ...idMember(context),
    result: { content: [{ type: 'text', text: fault.message }], isError: true, _meta: metaOf(fault) },
  });
}

function errorBody(fault: Fault, context: RefusalContext): string {
  const data = dataOf(fault);
  return JSON.stringify({
    jsonrpc: '2.0',
    ...idMember(context),
    error: {
      code: jsonRpcCode(fault, context),
      message: fault.message,
      ...(Object.keys(data).length === 0 ? {} : { data }),
    },
  });
}

function jsonRpcCode(fault: Fault, { response, mcpProtocolVersion }: RefusalContext): number {
  if (fault.status !== 429) return JSON_RPC_CODES[fault.code] ?? fault.status;
  const isNew = mcpProtocolVersion !== undefined && mcpProtocolVersion >= NO_SERVER_CODES_SINCE;
  return response.mcp.code === SERVER_CODE && isNew ? 429 : response.mcp.code;
}

function dataOf(fault: Fault): Record<string, unknown> {
  return {
    ...(fault.retryAfterSeconds === undefined ? {} : { retryAfterSeconds: fault.retryAfterSeconds }),
    ...(fault.limit === undefined ? {} : { limit: fault.limit }),
  };
}

function metaOf(fault: Fault): Record<string, unknown> {
  return Object.fromEntries(Object.entries(dataOf(fault)).map(([name, value]) => [`weir.dev/${name}`, value]));
}

function idMember({ jsonRpcId }: RefusalContext): { id?: string | number } {
  return jsonRpcId === undefined ? {} : { id: jsonRpcId };
}
