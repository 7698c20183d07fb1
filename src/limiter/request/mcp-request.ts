// Limiter, proxy: reads an MCP message (streamable HTTP). In: the JSON body and headers of a request; out: which tools it
// calls, or the JSON-RPC error that answers it.
import { asRecord, type JsonBody } from './json-body.ts';

/** JSON-RPC id of a request; null where there is none. Its type is kept in the answer. */
export type JsonRpcId = string | number;

/** One JSON-RPC message of a body. */
export interface McpMessage {
  readonly method?: string;
  /** Absent: a notification. */
  readonly id?: JsonRpcId;
  /** `params.name` or `params.uri`: what Mcp-Name repeats. */
  readonly name?: string;
  /** Of an initialize: the protocol version that the client asks for. */
  readonly protocolVersion?: string;
}

/** A body as the limiter sees it. `calls` are its tools/call messages, notifications included, in order. */
export interface McpRequest {
  readonly isBatch: boolean;
  readonly messages: readonly McpMessage[];
  readonly calls: readonly McpMessage[];
}

/** Why a request is answered by the limiter, with HTTP 400. */
export interface McpFault {
  readonly code: number;
  readonly message: string;
  readonly id?: JsonRpcId;
}

export const PARSE_ERROR = -32700;
export const INVALID_REQUEST = -32600;
const HEADER_MISMATCH = -32020;
/** The one protocol version that has batches; also what a request without a version speaks. */
export const BATCH_VERSION = '2025-03-26';

const TOOLS_CALL = 'tools/call';
const BASE64_NAME = /^=\?base64\?([A-Za-z0-9+/_=-]*)\?=$/;

/** Headers that matter here; names are lower case. */
export type McpHeaders = Readonly<Record<string, string | undefined>>;

/**
 * Reads a body whatever its Content-Type says.
 * @param sessionVersion protocol version that the request's session agreed on, when it is known
 */
export function readMcpRequest(
  body: JsonBody,
  headers: McpHeaders,
  sessionVersion: string | undefined,
): McpRequest | McpFault {
  if (body.kind === 'empty') return { isBatch: false, messages: [], calls: [] };
  if (body.kind === 'ambiguous') return { code: PARSE_ERROR, message: `Parse error: ${body.problem}` };
  if (body.kind === 'other') return { code: PARSE_ERROR, message: 'Parse error: the body is not JSON' };
  if (!Array.isArray(body.value)) return readSingle(body.value, headers);
  const version = headers['mcp-protocol-version'] ?? sessionVersion ?? BATCH_VERSION;
  if (body.value.length === 0) return { code: INVALID_REQUEST, message: 'Invalid Request: the batch is empty' };
  if (version !== BATCH_VERSION) {
    return { code: INVALID_REQUEST, message: 'Invalid Request: batches are not part of this protocol version' };
  }
  return readMessages(body.value as readonly unknown[], true, headers);
}

/** True for what {@link readMcpRequest} answers when the limiter refuses a body. */
export function isMcpFault(value: McpRequest | McpFault): value is McpFault {
  return 'code' in value;
}

/** The tool of the first tools/call of a JSON value: what routing asks to tell MCP from models. */
export function toolNameOf(value: unknown): string | undefined {
  const values: readonly unknown[] = Array.isArray(value) ? value : [value];
  return values.map(readMessage).find((message) => message?.method === TOOLS_CALL)?.name;
}

function readSingle(value: unknown, headers: McpHeaders): McpRequest | McpFault {
  return readMessages([value], false, headers);
}

function readMessages(values: readonly unknown[], isBatch: boolean, headers: McpHeaders): McpRequest | McpFault {
  const messages: McpMessage[] = [];
  for (const value of values) {
    const message = readMessage(value);
    if (message === undefined) return { code: INVALID_REQUEST, message: 'Invalid Request: a message is not an object' };
    const problem = headerProblem(message, headers);
    if (problem !== undefined) {
      return { code: HEADER_MISMATCH, message: problem, ...(message.id === undefined ? {} : { id: message.id }) };
    }
    messages.push(message);
  }
  return { isBatch, messages, calls: messages.filter((message) => message.method === TOOLS_CALL) };
}

function readMessage(value: unknown): McpMessage | undefined {
  const record = asRecord(value);
  if (record === undefined) return undefined;
  const { method, id } = record;
  const params = asRecord(record['params']) ?? {};
  const name = textOf(params['name'] ?? params['uri']);
  const protocolVersion = method === 'initialize' ? textOf(params['protocolVersion']) : undefined;
  return {
    ...(typeof method === 'string' ? { method } : {}),
    ...(typeof id === 'string' || typeof id === 'number' ? { id } : {}),
    ...(name === undefined ? {} : { name }),
    ...(protocolVersion === undefined ? {} : { protocolVersion }),
  };
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

/** Mcp-Method and Mcp-Name, where present, must say what the body says: a gateway in front decides by them. */
function headerProblem(message: McpMessage, headers: McpHeaders): string | undefined {
  const method = headers['mcp-method'];
  if (method !== undefined && method !== message.method) return 'Header mismatch: Mcp-Method differs from the body';
  const name = headers['mcp-name'];
  const isNamed = message.name !== undefined || message.method === TOOLS_CALL;
  if (name === undefined || !isNamed) return undefined;
  return decodeName(name) === message.name ? undefined : 'Header mismatch: Mcp-Name differs from the body';
}

/** Names that are not plain ASCII travel as `=?base64?…?=` (UTF-8); undefined for one that cannot be decoded. */
function decodeName(name: string): string | undefined {
  const encoded = BASE64_NAME.exec(name)?.[1];
  if (encoded === undefined) return name;
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(encoded, 'base64'));
  } catch {
    return undefined;
  }
}
