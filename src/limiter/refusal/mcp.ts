// Limiter, refuse stage: the MCP dialect (JSON-RPC 2.0). In: a refusal; out: status and message in the form that the
// object configures.
import type { RefusalContext } from '../decide/decision.ts';
import type { RefusalDialect } from './dialect.ts';
import type { Refusal } from './refusal.ts';

/** Protocol versions are dates: they compare as texts. */
const NO_SERVER_CODES_SINCE = '2026-07-28';
const SERVER_CODE = -32029;

const JSON_RPC_CODES: Readonly<Partial<Record<Refusal['code'], number>>> = {
  header_mismatch: -32020,
  invalid_request: -32600,
  body_too_large: -32600,
  body_timeout: -32600,
  unsupported_encoding: -32700,
  unsupported_media_type: -32700,
  over_capacity: -32603,
  upstream_unreachable: -32603,
  upstream_timeout: -32603,
  invalid_upstream_answer: -32603,
  egress_refused: -32603,
};

/**
 * A refusal by a limit takes the configured form. ToolResult: HTTP 200 with a result that the model can read;
 * JSONRPCError: HTTP 200 with an error; HTTP429: the status itself with an error. An outage (503) is never a result.
 * Every other error (404, 401, malformed) has its own status whatever the form. Notifications have no body.
 */
export const MCP: RefusalDialect = {
  id: 'mcp',
  contentType: 'application/json',
  family: 'IETF',
  detects: ({ isJsonRpc }) => isJsonRpc,
  body: (refusal, context) => {
    const { form } = context.response.mcp;
    if (context.isNotification === true) return { status: refusal.status, body: '' };
    if (!refusal.isByLimit || refusal.status >= 500 || form === 'HTTP429')
      return { status: refusal.status, body: errorBody(refusal, context) };
    return { status: 200, body: form === 'ToolResult' ? resultBody(refusal, context) : errorBody(refusal, context) };
  },
  headers: () => ({}),
  streamError: (refusal, context) => `event: message\ndata: ${errorBody(refusal, context)}\n\n`,
};

/**
 * A JSON-RPC answer. @param id source text of the request's id, repeated as it was written; undefined: there is none
 */
export function jsonRpcText(id: string | undefined, member: 'result' | 'error', value: object): string {
  const idMember = id === undefined ? '' : `"id":${id},`;
  return `{"jsonrpc":"2.0",${idMember}"${member}":${JSON.stringify(value)}}`;
}

function resultBody(refusal: Refusal, context: RefusalContext): string {
  const result = { content: [{ type: 'text', text: refusal.message }], isError: true, _meta: metaOf(refusal) };
  return jsonRpcText(context.jsonRpcId, 'result', result);
}

function errorBody(refusal: Refusal, context: RefusalContext): string {
  const data = dataOf(refusal);
  return jsonRpcText(context.jsonRpcId, 'error', {
    code: jsonRpcCode(refusal, context),
    message: refusal.message,
    ...(Object.keys(data).length === 0 ? {} : { data }),
  });
}

function jsonRpcCode({ code, status }: Refusal, { response, mcpProtocolVersion }: RefusalContext): number {
  if (status !== 429) return JSON_RPC_CODES[code] ?? status;
  const isNew = mcpProtocolVersion !== undefined && mcpProtocolVersion >= NO_SERVER_CODES_SINCE;
  return response.mcp.code === SERVER_CODE && isNew ? 429 : response.mcp.code;
}

function dataOf({ wait, limit }: Refusal): Record<string, unknown> {
  return {
    ...(wait === undefined ? {} : { retryAfterSeconds: wait.seconds }),
    ...(limit === undefined ? {} : { limit }),
  };
}

function metaOf(refusal: Refusal): Record<string, unknown> {
  return Object.fromEntries(Object.entries(dataOf(refusal)).map(([name, value]) => [`weir.dev/${name}`, value]));
}
