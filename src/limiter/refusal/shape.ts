// Limiter, refuse stage: dialect of the object + path and headers of the request -> the shape that the client understands.
import type { Dialect } from '../../contract/limiter-config.ts';
import type { RefusalContext, WireRequest } from '../decide/decision.ts';
import { pathForms } from '../../lib/path.ts';

const FIXED: Readonly<Record<Exclude<Dialect, 'Auto'>, RefusalContext['shape']>> = {
  OpenAI: 'openai',
  Anthropic: 'anthropic',
  MCP: 'mcp',
  Problem: 'problem',
};
const ANTHROPIC_PATH = /\/v1\/messages(\/|$)/;
/** KServe's V1 protocol lives below the same `/v1/models`. */
const KSERVE_PATH = /:(predict|explain)$/;
const OPENAI_PATH =
  /\/v1\/(chat\/completions|completions|embeddings|responses|models|files|batches|images|audio)(\/|$)/;

/** What is looked at. `path` in its normal form; `isJsonRpc`: the body is a JSON-RPC message. */
export interface ShapeRequest extends Pick<WireRequest, 'path' | 'headers' | 'tool'> {
  readonly isJsonRpc?: boolean;
}

/**
 * The shape of the limiter's own answers. Auto: a JSON-RPC message is MCP; `/v1/messages` or an `anthropic-version`
 * header is Anthropic; the paths of the OpenAI API are OpenAI; everything else is a problem document. Dialect MCP falls
 * back to a problem document where the request is no JSON-RPC message: there is nothing to reply to.
 */
export function shapeOf(dialect: Dialect, request: ShapeRequest): RefusalContext['shape'] {
  const isJsonRpc = request.isJsonRpc === true || request.tool !== undefined;
  if (dialect === 'MCP') return isJsonRpc ? 'mcp' : 'problem';
  if (dialect !== 'Auto') return FIXED[dialect];
  if (isJsonRpc) return 'mcp';
  const [path] = pathForms(request.path);
  if (ANTHROPIC_PATH.test(path) || request.headers['anthropic-version'] !== undefined) return 'anthropic';
  return OPENAI_PATH.test(path) && !KSERVE_PATH.test(path) ? 'openai' : 'problem';
}
