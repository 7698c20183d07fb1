// Limiter, refuse stage: dialect of the object + path and headers of the request -> the shape that the client
// understands.
import type { Dialect } from '../../contract/limiter-config.ts';
import type { RefusalContext, WireRequest } from '../decide/decision.ts';
import { dialectOf, type EndpointDialect } from '../request/endpoints.ts';

const FIXED: Readonly<Record<Exclude<Dialect, 'Auto'>, RefusalContext['shape']>> = {
  OpenAI: 'openai',
  Anthropic: 'anthropic',
  MCP: 'mcp',
  Problem: 'problem',
};
/** KServe, Ollama and TGI clients read a text `error`, which a problem document of ours has. */
const BY_ENDPOINT: Readonly<Record<EndpointDialect, RefusalContext['shape']>> = {
  openai: 'openai',
  anthropic: 'anthropic',
  google: 'openai',
  kserve: 'problem',
  ollama: 'problem',
  tgi: 'problem',
};

/** What is looked at. `path` in its normal form; `isJsonRpc`: the body is a JSON-RPC message. */
export interface ShapeRequest extends Pick<WireRequest, 'path' | 'headers' | 'tool'> {
  readonly isJsonRpc?: boolean;
}

/**
 * The shape of the limiter's own answers. Auto: a JSON-RPC message is MCP; an `anthropic-version` header is
 * Anthropic; else the endpoint's dialect (request/endpoints.ts) decides; what is no endpoint gets a problem document.
 * Dialect MCP falls back to a problem document where the request is no JSON-RPC message: there is nothing to reply
 * to.
 */
export function shapeOf(dialect: Dialect, request: ShapeRequest): RefusalContext['shape'] {
  const isJsonRpc = request.isJsonRpc === true || request.tool !== undefined;
  if (dialect === 'MCP') return isJsonRpc ? 'mcp' : 'problem';
  if (dialect !== 'Auto') return FIXED[dialect];
  if (isJsonRpc) return 'mcp';
  if (request.headers['anthropic-version'] !== undefined) return 'anthropic';
  const dialectOfPath = dialectOf(request.path);
  return dialectOfPath === undefined ? 'problem' : BY_ENDPOINT[dialectOfPath];
}
