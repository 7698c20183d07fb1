// Limiter, proxy: reads an MCP message (streamable HTTP). In: the JSON body and headers of a request; out: which
// tools it calls, or the JSON-RPC error that answers it.
import { ERRORS } from '../../lib/errors.ts';
import type { JsonBody } from './json-body.ts';
import type { JsonObject } from './json-members.ts';
import { MAX_READ_ELEMENTS, type JsonRoot } from './json-scan.ts';

/** JSON-RPC id as its source text (`7`, `"a"`, `1e2`): an answer repeats it as it was written. */
export type JsonRpcId = string;

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

/** Why a request is answered by the limiter. */
export interface McpFault {
  /** Of HTTP; default 400. */
  readonly status?: number;
  /** Of JSON-RPC. */
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
  if (body.kind === 'ambiguous') {
    const status = ERRORS[body.code ?? 'invalid_request'].status;
    return { status, code: PARSE_ERROR, message: `Parse error: ${body.problem}` };
  }
  if (body.kind === 'other') return { code: PARSE_ERROR, message: 'Parse error: the body is not JSON' };
  const { length, objects } = body.root;
  return length === undefined ? readMessages(objects, false, headers) : readBatch(body.root, headers, sessionVersion);
}

function readBatch(
  { length = 0, objects }: JsonRoot,
  headers: McpHeaders,
  sessionVersion: string | undefined,
): McpRequest | McpFault {
  const version = headers['mcp-protocol-version'] ?? sessionVersion ?? BATCH_VERSION;
  if (length === 0) return invalid('the batch is empty');
  if (version !== BATCH_VERSION) {
    return invalid('this protocol version has no batches');
  }
  if (length > MAX_READ_ELEMENTS) {
    return invalid(`a batch has at most ${MAX_READ_ELEMENTS} messages`);
  }
  return readMessages(objects, true, headers);
}

/** True for what {@link readMcpRequest} answers when the limiter refuses a body. */
export function isMcpFault(value: McpRequest | McpFault): value is McpFault {
  return 'code' in value;
}

/** What a body says before anybody knows whether an MCP server takes it. */
export interface JsonRpcFacts {
  /** It is a JSON-RPC message, or a batch that begins with one. */
  readonly isJsonRpc: boolean;
  readonly isBatch: boolean;
  /** Of its messages, those that have one. */
  readonly ids: readonly JsonRpcId[];
  /** The tool of the first tools/call. */
  readonly tool?: string;
}

/** What routing and the limiter's own answers ask of a body. */
export function jsonRpcFacts(body: JsonBody): JsonRpcFacts {
  if (body.kind !== 'json') return { isJsonRpc: false, isBatch: false, ids: [] };
  const { length, objects } = body.root;
  const messages = objects.flatMap((object) => (object === undefined ? [] : [readMessage(object)]));
  const tool = messages.find(({ method }) => method === TOOLS_CALL)?.name;
  return {
    isJsonRpc: objects[0]?.members.has('jsonrpc') === true,
    isBatch: length !== undefined,
    ids: messages.flatMap(({ id }) => (id === undefined ? [] : [id])),
    ...(tool === undefined ? {} : { tool }),
  };
}

function readMessages(
  objects: readonly (JsonObject | undefined)[],
  isBatch: boolean,
  headers: McpHeaders,
): McpRequest | McpFault {
  const messages: McpMessage[] = [];
  for (const object of objects) {
    if (object === undefined) return invalid('a message is not an object');
    const message = readMessage(object);
    if (message.id === undefined && object.members.has('id')) return invalid('an id is a string, a number or null');
    const problem = headerProblem(message, headers);
    if (problem !== undefined) {
      return { code: HEADER_MISMATCH, message: problem, ...(message.id === undefined ? {} : { id: message.id }) };
    }
    messages.push(message);
  }
  return { isBatch, messages, calls: messages.filter((message) => message.method === TOOLS_CALL) };
}

function invalid(problem: string): McpFault {
  return { code: INVALID_REQUEST, message: `Invalid Request: ${problem}` };
}

function readMessage({ members }: JsonObject): McpMessage {
  const method = textOf(members, 'method');
  const id = idOf(members);
  const params = members.get('params')?.object?.members ?? NO_MEMBERS;
  const name = textOf(params, 'name') ?? textOf(params, 'uri');
  const protocolVersion = method === 'initialize' ? textOf(params, 'protocolVersion') : undefined;
  return {
    ...(method === undefined ? {} : { method }),
    ...(id === undefined ? {} : { id }),
    ...(name === undefined ? {} : { name }),
    ...(protocolVersion === undefined ? {} : { protocolVersion }),
  };
}

const NO_MEMBERS: JsonObject['members'] = new Map();

function textOf(members: JsonObject['members'], name: string): string | undefined {
  const value = members.get(name)?.value;
  return typeof value === 'string' ? value : undefined;
}

function idOf(members: JsonObject['members']): JsonRpcId | undefined {
  const id = members.get('id');
  return id === undefined || id.kind === 'boolean' ? undefined : id.source;
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
