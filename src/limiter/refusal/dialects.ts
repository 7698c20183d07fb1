// Limiter, refuse stage: the dialects in the order in which they are looked for. In: the dialect of the object, path,
// headers and body of the request; out: the dialect that the client reads.
import type { Dialect, ResponseConfig } from '../../contract/limiter-config.ts';
import type { RefusalContext, WireRequest } from '../decide/decision.ts';
import { dialectOf } from '../request/endpoints.ts';
import { ANTHROPIC } from './anthropic.ts';
import type { RefusalDialect } from './dialect.ts';
import { MCP } from './mcp.ts';
import { OPENAI } from './openai.ts';
import { PROBLEM } from './problem.ts';

type Shape = RefusalContext['shape'];

/** How answers look where no object says so. */
export const DEFAULT_RESPONSE: ResponseConfig = {
  dialect: 'Auto',
  headers: [],
  resetFormat: 'Delta',
  mcp: { form: 'ToolResult', code: 429 },
};

/** The first that detects a request answers it; the last one detects every request. */
const IN_ORDER: readonly RefusalDialect[] = [MCP, ANTHROPIC, OPENAI, PROBLEM];
const FIXED: Readonly<Record<Exclude<Dialect, 'Auto' | 'MCP'>, Shape>> = {
  OpenAI: 'openai',
  Anthropic: 'anthropic',
  Problem: 'problem',
};
export const DIALECTS: Readonly<Record<Shape, RefusalDialect>> = {
  openai: OPENAI,
  anthropic: ANTHROPIC,
  mcp: MCP,
  problem: PROBLEM,
};

/** What is looked at. `path` in its normal form; `isJsonRpc`: the body is a JSON-RPC message. */
export interface ShapeRequest extends Pick<WireRequest, 'path' | 'headers' | 'tool'> {
  readonly isJsonRpc?: boolean;
}

/**
 * The dialect of the limiter's own answers. Auto: a JSON-RPC message is MCP; an `anthropic-version` header is
 * Anthropic; otherwise the endpoint's dialect (request/endpoints.ts) decides; what is no endpoint gets a problem
 * document. Dialect MCP falls back to a problem document where the request is no JSON-RPC message: there is nothing to
 * reply to.
 */
export function shapeOf(dialect: Dialect, { path, headers, tool, isJsonRpc = false }: ShapeRequest): Shape {
  if (dialect !== 'Auto' && dialect !== 'MCP') return FIXED[dialect];
  const signs = { headers, isJsonRpc: isJsonRpc || tool !== undefined, endpoint: dialectOf(path) };
  if (dialect === 'MCP') return MCP.detects(signs) ? MCP.id : PROBLEM.id;
  return (IN_ORDER.find((each) => each.detects(signs)) ?? PROBLEM).id;
}
