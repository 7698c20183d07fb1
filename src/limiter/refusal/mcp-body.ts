// Limiter, refuse stage: what went wrong with an MCP message -> status and JSON-RPC body in the configured form.
import type { RefusalContext } from '../decide/decision.ts';
import type { Fault } from './bodies.ts';

/** Protocol versions are dates: they compare as texts. */
const NO_SERVER_CODES_SINCE = '2026-07-28';
const SERVER_CODE = -32029;

const JSON_RPC_CODES: Readonly<Partial<Record<Fault['code'], number>>> = {
  header_mismatch: -32020,
  invalid_request: -32600,
  body_too_large: -32600,
  body_timeout: -32600,
  unsupported_encoding: -32700,
  unsupported_media_type: -32700,
  over_capacity: -32603,
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
  const result = { content: [{ type: 'text', text: fault.message }], isError: true, _meta: metaOf(fault) };
  return jsonRpcText(context.jsonRpcId, 'result', result);
}

function errorBody(fault: Fault, context: RefusalContext): string {
  const data = dataOf(fault);
  return jsonRpcText(context.jsonRpcId, 'error', {
    code: jsonRpcCode(fault, context),
    message: fault.message,
    ...(Object.keys(data).length === 0 ? {} : { data }),
  });
}

/**
 * A JSON-RPC answer. @param id source text of the request's id, repeated as it was written; undefined: there is none
 */
export function jsonRpcText(id: string | undefined, member: 'result' | 'error', value: object): string {
  const idMember = id === undefined ? '' : `"id":${id},`;
  return `{"jsonrpc":"2.0",${idMember}"${member}":${JSON.stringify(value)}}`;
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
